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


def verify(checkpoint: Checkpoint, *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Read every block of the index and every tensor, compare every checksum, and continue after damage.

    Variants are not decoded, but their checksums are compared too.
    Tensors that share bytes are errors as well: TensorFlow reads them, but it never writes them.
    `progress(done, total)` is called after each tensor with numbers of tensors.
    """
    names, errors = checkpoint.reader.salvage()
    whole: list[str] = []
    extents = _Extents()
    missing: dict[str | None, CheckpointError] = {}
    nbytes = 0
    with checkpoint.reader.read_ahead(names, CONNECTIONS):
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
                missing.setdefault(error.path, error)  # one error a file, not one a tensor
            except CheckpointError as error:
                errors.append(error)
            else:
                whole.append(name)
                nbytes += info.nbytes
                if info.shard is not None and info.offset is not None and info.nbytes:
                    extents.add(info.shard, info.offset, info.nbytes, len(whole) - 1)
            if progress is not None:
                progress(number, len(names))
    errors.extend(missing.values())
    errors.extend(extents.find_overlaps(whole))
    return Verification(tuple(whole), nbytes, tuple(errors), checkpoint.reader.has_checksums)


class _Extents:
    """Where tensors are stored, in 32 bytes each, since there may be millions."""

    def __init__(self) -> None:
        self._columns = tuple(array.array("q") for _ in range(4))

    def add(self, shard: int, offset: int, nbytes: int, number: int) -> None:
        """Add the place of the tensor with this number."""
        for column, value in zip(self._columns, (shard, offset, nbytes, number), strict=True):
            column.append(value)

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
