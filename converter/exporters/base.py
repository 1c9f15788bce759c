"""What every output format offers: a writer and the reader beside it."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple, Protocol

from ..conversion import ConversionResult, PathLike, Progress
from ..mapping.layout import Array

CONFIG_KEY = "tf2torch.config"
PROVENANCE_KEY = "tf2torch.provenance"


class TensorFile(NamedTuple):
    """What an output holds: tensors by target name, read-only where they are views, and metadata if it has any."""

    tensors: dict[str, Array]
    metadata: dict[str, str]


class Writer(Protocol):
    """Write a whole result into an open file, telling `progress` as it goes."""

    def __call__(self, result: ConversionResult, file: BinaryIO, *, progress: Progress | None = None) -> None:
        """Write it; `ExportError` when this format cannot hold it, `OSError` when the file cannot take it."""


class Reader(Protocol):
    """Read a whole file of this format."""

    def __call__(self, path: PathLike) -> TensorFile:
        """Read it; `CheckpointNotFoundError` when it is not there, `CorruptionError` when it is no such file."""


class Format(NamedTuple):
    """One output format."""

    write: Writer
    read: Reader
