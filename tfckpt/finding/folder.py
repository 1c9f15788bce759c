"""The checkpoints of a folder: which is the latest by the state file, and which there are.

TensorFlow's rules hold: only the state file says which checkpoint is the latest, and no number in a name does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
import re
from collections.abc import Iterator

from .._typing import PathLike
from ..errors import CorruptionError
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import Storage
from ..storage.locate import Options, locate
from . import detect
from .only_one import only_folder
from .state_file import STATE_NAME, CheckpointState, read_state

_DIGITS = re.compile(r"(\d+)")


@dataclasses.dataclass(frozen=True, slots=True)
class KnownCheckpoint:
    """A checkpoint that the state file names or that stands in the folder.

    `prefix` is what `tfckpt.open` takes; of one that is named and not there it is the path as the state file means it.
    `timestamp` is when it was written, in seconds since 1970, as far as the state file says.
    `notes` says how it was found where that is not plain, such as beside the state file of a folder that was moved.
    """

    prefix: str
    timestamp: float | None
    exists: bool
    is_latest: bool
    in_state_file: bool
    notes: tuple[str, ...] = ()


def latest_checkpoint(
    directory: PathLike, latest_filename: str | None = None, *, limits: Limits = DEFAULT_LIMITS
) -> str | None:
    """The prefix of the latest checkpoint of a folder, as its state file names it.

    None when there is no state file, or when what it names is not there: other checkpoints are no substitute.
    A relative path is joined to `directory`.
    `latest_filename` is the state file's name where it is not `checkpoint`.

    Three things differ from `tf.train.latest_checkpoint`.
    A state file that does not parse is a `CorruptionError` and not None, which would read as "start from nothing".
    A path is a path and no pattern.
    Of a folder that was moved, an absolute path that is gone means the same name beside the state file.
    """
    with _opened(directory, limits) as (storage, folder):
        state = _state(storage, folder, latest_filename, limits)
        if state is None:
            return None
        if not state.model_checkpoint_path:
            raise CorruptionError(
                "the state file names no checkpoint", path=storage.join(folder, latest_filename or STATE_NAME)
            )
        found = detect.follow(storage, folder, state.model_checkpoint_path, limits)
        return None if found is None else found.prefix


def checkpoints(
    directory: PathLike, latest_filename: str | None = None, *, limits: Limits = DEFAULT_LIMITS
) -> list[KnownCheckpoint]:
    """Every checkpoint that the state file names or that stands in the folder, from the oldest to the newest.

    First come those that only stand there, by name with numbers as numbers, since their age is not known;
    then those of the state file, in its order; the latest last if the list there leaves it out.
    """
    with _opened(directory, limits) as (storage, folder):
        state = _state(storage, folder, latest_filename, limits)
        named = [] if state is None else _named(storage, folder, state, limits)
        known = {posixpath.normpath(one.prefix) for one in named}
        found = detect.prefixes_in(storage, folder, limits)
    others = [one for one in found if posixpath.normpath(one.prefix) not in known]
    others.sort(key=lambda one: _natural(one.prefix))
    return [KnownCheckpoint(one.prefix, None, True, False, False, one.notes) for one in others] + named


@contextlib.contextmanager
def _opened(directory: PathLike, limits: Limits) -> Iterator[tuple[Storage, str]]:
    """The storage of a folder, which may stand in an archive or at an address, and its path there.

    Of an archive the folder that holds everything is meant.
    """
    place = locate(directory, Options(limits=limits))
    try:
        yield place.storage, place.path if place.tree is None else only_folder(place.tree)
    finally:
        place.storage.close()


def _state(storage: Storage, folder: str, name: str | None, limits: Limits) -> CheckpointState | None:
    return read_state(storage, folder, limits, name=name or STATE_NAME)


def _named(storage: Storage, folder: str, state: CheckpointState, limits: Limits) -> list[KnownCheckpoint]:
    """The checkpoints of a state file, in its order."""
    paths = list(state.all_model_checkpoint_paths)
    latest = state.model_checkpoint_path
    if latest and latest not in paths:
        paths.append(latest)
    times: tuple[float, ...] = state.all_model_checkpoint_timestamps
    known_times = dict(zip(paths, times, strict=False)) if len(times) == len(state.all_model_checkpoint_paths) else {}
    records = []
    for path in paths:
        found = detect.follow(storage, folder, path, limits) if path else None
        prefix = storage.join(folder, path) if found is None else found.prefix
        notes = () if found is None else found.notes
        records.append(KnownCheckpoint(prefix, known_times.get(path), found is not None, path == latest, True, notes))
    return records


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that orders runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(text) if part]
