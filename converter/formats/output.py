"""What is written, and what every output format offers: a writer and the reader beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias

import numpy as np

from tfckpt.errors import abridged, printable

from .._typing import Array, PathLike, Progress
from ..errors import ExportError, Shape
from ..images.recipes import Preprocessing
from ..libraries.models import TargetName
from ..mapping.report import ConversionReport
from ..model.config import EfficientNetConfig

CONFIG_KEY = "tf2torch.config"
PROVENANCE_KEY = "tf2torch.provenance"
PREPROCESSING_KEY = "tf2torch.preprocessing"
LABELS_KEY = "tf2torch.labels"
#: The library whose names the tensors have; an output with our own names does not say it.
TARGET_KEY = "tf2torch.target"
#: What stands for the metadata among the names of tensors.
METADATA_NAME = "__metadata__"


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """A tensor that is made when its turn to be written comes; `make` gives an array of this shape and dtype."""

    shape: Shape
    dtype: np.dtype[Any]
    make: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """Size in bytes once it is made."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


Writable: TypeAlias = Array | Pending


def made(tensor: Writable) -> Array:
    """Give the array itself."""
    return tensor.make() if isinstance(tensor, Pending) else tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A conversion as it will be written: tensors by the target's names, and what is known of them.

    `config` is None for what is no network of ours, `changes` says, one a line, what was changed after the conversion.
    `model` is the target's own name of the network, `names` its names of our tensors, empty for our own.
    """

    tensors: Mapping[str, Writable]
    config: EfficientNetConfig | None
    report: ConversionReport
    target: TargetName = "native"
    model: str | None = None
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None

    def metadata(self) -> dict[str, str]:
        """Give what a file keeps beside the tensors, as strings."""
        provenance = self.report.provenance()
        if self.changes:
            provenance["changes"] = list(self.changes)
        metadata = {"format": "pt"}  # what the format's own tools expect of weights for PyTorch
        if self.config is not None:
            metadata[CONFIG_KEY] = json.dumps(self.config.to_dict())
        metadata[PROVENANCE_KEY] = json.dumps(provenance)
        if self.preprocessing is not None:
            metadata[PREPROCESSING_KEY] = json.dumps(self.preprocessing.to_dict())
        if self.labels is not None:
            metadata[LABELS_KEY] = json.dumps(self.labels)
        if self.target != "native":
            metadata[TARGET_KEY] = json.dumps({"target": self.target, "model": self.model})
        return metadata

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class TensorFile(NamedTuple):
    """What an output holds: tensors by target name, read-only where they are views, and metadata if it has any."""

    tensors: dict[str, Array]
    metadata: dict[str, str]


def require_names(names: Iterable[str], kind: str, *, longest: int | None = None) -> None:
    """Raise `ExportError` for names that a format cannot hold beside its metadata: not UTF-8, or too long for it.

    With `longest`, in bytes, it is a zip archive, which ends a name at its first NUL.
    """
    for name in names:
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            encoded = None
        is_short = encoded is None or longest is None or (len(encoded) <= longest and b"\0" not in encoded)
        if encoded is None or name == METADATA_NAME or not is_short:
            raise ExportError(f"{kind} cannot hold a tensor of the name {printable(abridged(name))!r}")


class Writer(Protocol):
    """Write a whole output into an open file, telling `progress` as it goes."""

    def __call__(self, output: Output, file: BinaryIO, *, progress: Progress | None = None) -> None:
        """Write it; `ExportError` when this format cannot hold it, `OSError` when the file cannot take it."""


class Reader(Protocol):
    """Read a whole file of this format."""

    def __call__(self, path: PathLike) -> TensorFile:
        """Read it; `CheckpointNotFoundError` when it is not there, `CorruptionError` when it is no such file."""


class Format(NamedTuple):
    """One output format."""

    write: Writer
    read: Reader
