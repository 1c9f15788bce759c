"""Walk a whole checkpoint, compare every checksum, and collect all that is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, CheckpointNotFoundError, CorruptionError


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    """What a walk through a checkpoint found.

    `whole` names the tensors that read right.
    `errors` holds one error for each damaged block, entry and tensor and for each missing file,
    with the file, the offset and the tensor as far as they are known.
    `nbytes` counts the payload bytes of the whole tensors.
    """

    whole: tuple[str, ...]
    nbytes: int
    errors: tuple[CheckpointError, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.errors


def verify(checkpoint: Checkpoint, *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Read every block of the index and every tensor, and compare every checksum; goes on past damage.

    Two tensors that claim the same bytes are reported too; TensorFlow accepts them and never writes them.
    `progress(done, total)` is called after each tensor with numbers of tensors.
    """
    names, errors = checkpoint.reader.salvage()
    whole: list[str] = []
    places: list[tuple[int, int, int, str]] = []
    absent: dict[str | None, CheckpointError] = {}
    nbytes = 0
    for number, name in enumerate(names, 1):
        try:
            checkpoint.read(name)
            info = checkpoint.info(name)
        except CheckpointNotFoundError as error:
            absent.setdefault(error.path, error)
        except CheckpointError as error:
            errors.append(error)
        else:
            whole.append(name)
            nbytes += info.nbytes
            if info.shard is not None and info.offset is not None and info.nbytes:
                places.append((info.shard, info.offset, info.nbytes, name))
        if progress is not None:
            progress(number, len(names))
    errors.extend(absent.values())
    errors.extend(_overlaps(places))
    return Verification(tuple(whole), nbytes, tuple(errors))


def _overlaps(places: list[tuple[int, int, int, str]]) -> list[CorruptionError]:
    """An error for each tensor that begins before the one before it in its shard has ended."""
    found = []
    last_shard, last_end, last_name = -1, 0, ""
    for shard, offset, nbytes, name in sorted(places):
        if shard == last_shard and offset < last_end:
            found.append(
                CorruptionError(f"shares bytes of the data shard with {last_name!r}", tensor=name, offset=offset)
            )
        if shard != last_shard or offset + nbytes > last_end:
            last_shard, last_end, last_name = shard, offset + nbytes, name
    return found
