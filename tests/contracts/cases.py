"""The checkpoints of TensorFlow that every place is tried with: one of each format and of each way to lay a tensor out.

What is expected of them is what TensorFlow read, as tests/data/tensorflow/README.md describes it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

DATA = pathlib.Path(__file__).parents[1] / "data" / "tensorflow"


@dataclasses.dataclass(frozen=True)
class Case:
    """A checkpoint: its folder below the data, and its prefix below the folder.

    `sub` is the folder below the first that holds all its files; `inside` is what to open there, empty for the folder
    itself and the prefix if None.
    """

    folder: str
    prefix: str
    format: str = "V2"
    sub: str = ""
    inside: str | None = None
    needs_listing: bool = False

    @property
    def path(self) -> str:
        """What to open inside the folder."""
        return self.prefix if self.inside is None else self.inside

    def files(self) -> dict[str, bytes]:
        """Every file of the checkpoint by its name in the folder."""
        root = DATA / self.folder / self.sub
        if self.inside is None:
            paths = [path for pattern in (self.prefix, f"{self.prefix}.*") for path in root.glob(pattern)]
        else:
            paths = [path for path in root.rglob("*") if path.is_file() and path.name != "expected.json"]
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(paths)}

    def tensors(self) -> dict[str, dict[str, Any]]:
        """The records of the tensors by name; those without a digest are only listed."""
        records = json.loads((DATA / self.folder / "expected.json").read_text())["checkpoints"]
        record = next(r for r in records if self.prefix in (r["prefix"], *r.get("also", ())))
        return {tensor["name"]: tensor for tensor in record["tensors"]}


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
    "V1-sharded": Case("v1", "spread-?????-of-00003", "V1", needs_listing=True),
}
