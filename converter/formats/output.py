"""An output before it is written, and the writer and the reader of each format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias

import numpy as np

from tfckpt.errors import abridged, printable

from .._typing import Array, PathLike, Progress
from ..errors import ExportError, Shape
from ..images.recipes import Preprocessing
from ..libraries.models import TargetName
from ..mapping.report import ConversionReport
from ..mapping.rules import RuleSet
from ..mapping.rules_file import to_toml
from ..model.config import EfficientNetConfig
from ..networks.ready import ReadyNetwork

CONFIG_KEY = "tf2torch.config"
PROVENANCE_KEY = "tf2torch.provenance"
PREPROCESSING_KEY = "tf2torch.preprocessing"
LABELS_KEY = "tf2torch.labels"
#: The library whose names the tensors have; not present in an output with our own names.
TARGET_KEY = "tf2torch.target"
#: Which ready network the tensors form, if it is not an EfficientNet.
NETWORK_KEY = "tf2torch.network"
#: The rules of a conversion, as TOML, if the network is not an EfficientNet.
RULES_KEY = "tf2torch.rules"
#: What was proved about the output before it was published.
PROOF_KEY = "tf2torch.proof"
#: The name of the metadata among the names of tensors.
METADATA_NAME = "__metadata__"


@dataclasses.dataclass(frozen=True, slots=True)
class LazyArray:
    """A tensor that is computed when it is written; `make` returns an array of this shape and dtype.

    `iterate` yields arrays whose elements in C order are those of the tensor, if it need not be in memory as a whole.
    """

    shape: Shape
    dtype: np.dtype[Any]
    make: Callable[[], Array]
    iterate: Callable[[], Iterable[Array]] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the computed array in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


Writable: TypeAlias = Array | LazyArray


def find_dtype(tensors: Iterable[Writable]) -> str:
    """Return the name of the floating-point dtype of tensors, the narrowest if there are several."""
    names = {tensor.dtype.name for tensor in tensors}
    return next((name for name in ("bfloat16", "float16") if name in names), "float32")


def materialize(tensor: Writable) -> Array:
    """Return the array, computed now if it is lazy."""
    return tensor.make() if isinstance(tensor, LazyArray) else tensor


class Materialized(Mapping[str, Array]):
    """Tensors as arrays; those that are lazy are computed whenever they are looked up."""

    def __init__(self, tensors: Mapping[str, Writable]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Array:
        return materialize(self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A network to be written: tensors by the target's names, and metadata.

    `report` is that of the conversion, or None for weights that were trained afterwards.
    `config` is None if the network is not an EfficientNet; `changes` are sentences about changes after the conversion.
    `model` is the target's name of the network; `names` maps our names to the target's, and is empty for our own.
    `network` describes a network that has ready rules and is not an EfficientNet. `tied` maps names to the names of the
    tensors that they are tied to, which a folder of such a network does not repeat. `rules` are those of such a network
    or the user's own, for the way back.
    """

    tensors: Mapping[str, Writable]
    config: EfficientNetConfig | None
    report: ConversionReport | None
    target: TargetName = "native"
    model: str | None = None
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    network: ReadyNetwork | None = None
    tied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rules: RuleSet | None = None

    def metadata(self) -> dict[str, str]:
        """Return the metadata that a file stores with the tensors, as strings."""
        metadata = {"format": "pt"}  # tools of the safetensors format expect this for PyTorch
        if self.config is not None:
            metadata[CONFIG_KEY] = json.dumps(self.config.to_dict())
        if self.network is not None:
            config = self.network.build_config(find_dtype(self.tensors.values()))
            metadata[NETWORK_KEY] = json.dumps(
                {"name": self.network.name, "model": self.network.title, "config": config}
            )
        if self.rules is not None:
            metadata[RULES_KEY] = to_toml(self.rules)
        if self.report is not None:
            provenance = self.report.provenance()
            if self.changes:
                provenance["changes"] = list(self.changes)
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
    """Tensors by target name, read-only if they are views, and metadata, empty if there are none."""

    tensors: dict[str, Array]
    metadata: dict[str, str]


def check_names(names: Iterable[str], kind: str, *, longest: int | None = None) -> None:
    """Raise `ExportError` if a name cannot be stored next to the metadata, is not UTF-8, or is too long.

    `longest`, in bytes, is the limit of zip archives, which also end a name at its first NUL.
    """
    for name in names:
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            encoded = None
        is_short = encoded is None or longest is None or (len(encoded) <= longest and b"\0" not in encoded)
        if encoded is None or name == METADATA_NAME or not is_short:
            raise ExportError(f"{kind} cannot store a tensor with the name {printable(abridged(name))!r}")


#: Proves the tensors that were written, and returns the metadata that are known only then.
Seal: TypeAlias = Callable[[], Mapping[str, str]]


class Writer(Protocol):
    """A function that writes an output to an open file and reports progress."""

    def __call__(
        self, output: Output, file: BinaryIO, *, seal: Seal | None = None, progress: Progress | None = None
    ) -> None:
        """Write the output; raise `ExportError` if the format does not support it, `OSError` if writing fails.

        `seal` is called when the file can be read with all its tensors; what it returns is added to the metadata.
        """


class Reader(Protocol):
    """A function that reads a file of one format."""

    def __call__(self, path: PathLike) -> TensorFile:
        """Read the file; raise `CheckpointNotFoundError` if it does not exist, `CorruptionError` if it is not valid."""


class Format(NamedTuple):
    """The writer and the reader of an output format."""

    write: Writer
    read: Reader
