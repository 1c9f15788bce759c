"""Verification of a whole checkpoint: every checksum is compared and all errors are collected."""

from __future__ import annotations

import array
import collections
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, CheckpointNotFoundError, CorruptionError, ResourceError
from ..tensors.reading import CONNECTIONS
from .undecoded import is_variant, read_bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying a checkpoint.

    `whole` are the names of the intact tensors, and `nbytes` is their size in bytes.
    `errors` has one error for each damaged block, entry or tensor and for each missing file,
    with the file, the offset and the tensor if they are known.
    `checksums` is False for a Keras file, which has none: then a tensor is intact if its bytes are in the file.
    """

    whole: tuple[str, ...]
    nbytes: int
    errors: tuple[CheckpointError, ...]
    checksums: bool = True

    @property
    def ok(self) -> bool:
        """True if there are no errors."""
        return not self.errors


class Extents:
    """Where tensors are stored, in 32 bytes each, since there may be millions."""

    def __init__(self) -> None:
        self._columns = tuple(array.array("q") for _ in range(4))

    def add(self, shard: int, offset: int, nbytes: int, number: int) -> None:
        """Add the place of the tensor with this number."""
        for column, value in zip(self._columns, (shard, offset, nbytes, number), strict=True):
            column.append(value)

    def extend(self, other: Extents, first: int) -> None:
        """Add places of tensors whose numbers count from `first`."""
        for column, values in zip(self._columns[:3], other._columns[:3], strict=True):
            column.extend(values)
        self._columns[3].extend(number + first for number in other._columns[3])

    def find_overlaps(self, names: Sequence[str]) -> list[CorruptionError]:
        """Return an error for each tensor that begins before the end of an earlier one in its shard."""
        errors = []
        last_shard, last_end, last_number = -1, 0, 0
        shards, offsets, sizes, numbers = self._columns
        for at in np.lexsort((sizes, offsets, shards)):
            shard, offset, nbytes, number = shards[at], offsets[at], sizes[at], numbers[at]
            if shard == last_shard and offset < last_end:
                message = f"overlaps {names[last_number]!r} in the data shard"
                errors.append(CorruptionError(message, tensor=names[number], offset=offset))
            if shard != last_shard or offset + nbytes > last_end:
                last_shard, last_end, last_number = shard, offset + nbytes, number
        return errors


@dataclasses.dataclass(slots=True)
class Part:
    """What was found out about some tensors of a checkpoint; `missing` has one error for each missing file."""

    whole: list[str] = dataclasses.field(default_factory=list)
    nbytes: int = 0
    errors: list[CheckpointError] = dataclasses.field(default_factory=list)
    missing: dict[str | None, CheckpointError] = dataclasses.field(default_factory=dict)
    extents: Extents = dataclasses.field(default_factory=Extents)


def verify(checkpoint: Checkpoint, *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Read every block of the index and every tensor, compare every checksum, and continue after damage.

    Variants are not decoded, but their checksums are compared too.
    Tensors that share bytes are errors as well: TensorFlow reads them, but it never writes them.
    `progress(done, total)` is called after each tensor with numbers of tensors.
    """
    names, errors = checkpoint.reader.salvage()
    return join_parts([check_tensors(checkpoint, names, progress=progress)], errors, checkpoint.reader.has_checksums)


def check_tensors(
    checkpoint: Checkpoint,
    names: Sequence[str],
    *,
    connections: int = CONNECTIONS,
    progress: Callable[[int, int], None] | None = None,
) -> Part:
    """Read these tensors, compare their checksums, and continue after damage."""
    part = Part()
    with checkpoint.reader.read_ahead(names, connections):
        for number, name in enumerate(names, 1):
            try:
                info = checkpoint.reader.info(name)
                if is_variant(info):
                    read_bytes(checkpoint, name)
                else:
                    collections.deque(checkpoint.reader.iterate_values(name), maxlen=0)
            except ResourceError:
                raise
            except CheckpointNotFoundError as error:
                part.missing.setdefault(error.path, error)  # one error a file, not one a tensor
            except CheckpointError as error:
                part.errors.append(error)
            else:
                part.whole.append(name)
                part.nbytes += info.nbytes
                if info.shard is not None and info.offset is not None and info.nbytes:
                    part.extents.add(info.shard, info.offset, info.nbytes, len(part.whole) - 1)
            if progress is not None:
                progress(number, len(names))
    return part


def join_parts(parts: Sequence[Part], errors: Sequence[CheckpointError], has_checksums: bool) -> Verification:
    """Return the result for a checkpoint whose index has these errors, and whose tensors are in these parts."""
    whole: list[str] = []
    found = list(errors)
    missing: dict[str | None, CheckpointError] = {}
    extents = Extents()
    for part in parts:
        extents.extend(part.extents, len(whole))
        whole += part.whole
        found += part.errors
        for path, error in part.missing.items():
            missing.setdefault(path, error)
    found += missing.values()
    found += extents.find_overlaps(whole)
    return Verification(tuple(whole), sum(part.nbytes for part in parts), tuple(found), has_checksums)
