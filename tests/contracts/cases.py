"""Checkpoints written by TensorFlow and Keras: one for each format and each layout of tensors.

The tests open each of them in every place and compare the tensors with what TensorFlow read, which
tests/data/tensorflow/README.md describes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from typing import Any

from tests import keras_files

DATA = pathlib.Path(__file__).parents[1] / "data" / "tensorflow"


@dataclasses.dataclass(frozen=True)
class Case:
    """A checkpoint: its folder in the data, and its prefix in that folder.

    `sub` is the subfolder with all its files. `inside` is the path to open in the subfolder: "" for the subfolder
    itself, and None for the prefix.
    """

    folder: str
    prefix: str
    format: str = "V2"
    sub: str = ""
    inside: str | None = None
    needs_listing: bool = False

    @property
    def path(self) -> str:
        """The path to open in the folder."""
        return self.prefix if self.inside is None else self.inside

    def files(self) -> dict[str, bytes]:
        """Return all files of the checkpoint by their names in the folder."""
        root = DATA / self.folder / self.sub
        if self.inside is None:
            paths = [path for pattern in (self.prefix, f"{self.prefix}.*") for path in root.glob(pattern)]
        else:
            paths = [path for path in root.rglob("*") if path.is_file() and path.name != "expected.json"]
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(paths)}

    @functools.cache  # noqa: B019  # the cases are constants
    def tensors(self) -> dict[str, dict[str, Any]]:
        """Return the records of the tensors by name; TensorFlow could not read those without a digest."""
        records = json.loads((DATA / self.folder / "expected.json").read_text())["checkpoints"]
        record = next(r for r in records if self.prefix in (r["prefix"], *r.get("also", ())))
        return {tensor["name"]: tensor for tensor in record["tensors"]}


@dataclasses.dataclass(frozen=True)
class KerasCase(Case):
    """A Keras file, and its shards if it has any."""

    format: str = "Keras"

    def files(self) -> dict[str, bytes]:
        """Return the file, and its shards, by name."""
        return keras_files.files_of(self.prefix)

    @functools.cache  # noqa: B019  # the cases are constants
    def tensors(self) -> dict[str, dict[str, Any]]:
        """Return the records of the tensors by name."""
        return {tensor["name"]: tensor for tensor in keras_files.expected()[self.prefix]["tensors"]}


CASES = {
    "V2": Case("dtypes", "ckpt"),
    "sliced": Case("slices", "ckpt"),
    "partitioned": Case("partitioned", "model.ckpt-12"),
    "sharded": Case("sharded", "twelve"),
    "big-endian": Case("bigendian", "ckpt"),
    "snappy": Case("snappy", "one"),
    "object-based": Case("objects-more", "legacy_optimizer/ckpt-1", sub="legacy_optimizer", inside=""),
    "SavedModel": Case("savedmodel-tf2", "variables/variables", inside=""),
    "V1": Case("v1", "sliced", "V1"),
    "Keras-legacy": KerasCase("keras-files", "tf_keras-legacy.h5"),
    "Keras-whole": KerasCase("keras-files", "keras3-float16.h5"),
    "Keras-weights": KerasCase("keras-files", "keras3-bfloat16.weights.h5"),
    "Keras-archive": KerasCase("keras-files", "tf_keras-bfloat16.keras"),
    "Keras-sharded": KerasCase("keras-files", "keras3-sharded.weights.json"),
    "V1-sharded": Case("v1", "spread-?????-of-00003", "V1", needs_listing=True),
}
