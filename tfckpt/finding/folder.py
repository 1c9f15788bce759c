"""The checkpoints of a folder, and the latest one according to its state file.

As in TensorFlow, only the state file determines which checkpoint is the latest; numbers in names do not.
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
from .state_file import STATE_NAME, CheckpointState, read_state

_DIGITS = re.compile(r"(\d+)")


@dataclasses.dataclass(frozen=True, slots=True)
class KnownCheckpoint:
    """A checkpoint that is in a folder or in its state file.

    `prefix` is what `tfckpt.open` accepts; if the checkpoint does not exist, it is the path in the state file,
    joined to the folder.
    `timestamp` is the time of writing in the state file, in seconds since 1970, or None.
    `notes` explains how the checkpoint was found, for example next to the state file of a folder that was moved.
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
    """Return the prefix of the latest checkpoint of a folder, according to its state file.

    Returns None if there is no state file, or if the checkpoint it names does not exist: no other checkpoint is a
    substitute. So it returns None for a folder of Keras files, for which Keras writes no state file.
    A relative path is joined to `directory`.
    `latest_filename` is the name of the state file, `checkpoint` by default.

    There are three differences from `tf.train.latest_checkpoint`.
    A state file that does not parse raises `CorruptionError` instead of returning None, which a training script would
    take for "start from scratch".
    A path is not a glob pattern.
    If an absolute path does not exist, because the folder was moved, the same name next to the state file is used.
    """
    with _open_folder(directory, limits) as (storage, folder):
        state = _read_state(storage, folder, latest_filename, limits)
        if state is None:
            return None
        if not state.model_checkpoint_path:
            raise CorruptionError(
                "the state file names no checkpoint", path=storage.join(folder, latest_filename or STATE_NAME)
            )
        match = detect.find_named(storage, folder, state.model_checkpoint_path, limits)
        return None if match is None else match.prefix


def checkpoints(
    directory: PathLike, latest_filename: str | None = None, *, limits: Limits = DEFAULT_LIMITS
) -> list[KnownCheckpoint]:
    """Return every checkpoint in a folder or in its state file, from the oldest to the newest.

    Keras files, which are recognized by their names, are checkpoints too; shards belong to their `.weights.json` file.
    Those that are only in the folder come first, since their age is unknown, sorted by name with numbers as numbers.
    Those of the state file follow in its order; the latest is last if the list in the file leaves it out.
    """
    with _open_folder(directory, limits) as (storage, folder):
        state = _read_state(storage, folder, latest_filename, limits)
        named = [] if state is None else _list_named(storage, folder, state, limits)
        named_prefixes = {posixpath.normpath(known.prefix) for known in named}
        matches = detect.list_checkpoints(storage, folder, limits) + detect.list_keras_files(storage, folder)
    others = [match for match in matches if posixpath.normpath(match.prefix) not in named_prefixes]
    others.sort(key=lambda match: _natural_key(match.prefix))
    return [KnownCheckpoint(match.prefix, None, True, False, False, match.notes) for match in others] + named


@contextlib.contextmanager
def _open_folder(directory: PathLike, limits: Limits) -> Iterator[tuple[Storage, str]]:
    """Yield the storage of a folder, which may be in an archive or remote, and its path there.

    For an archive the path is that of its top folder.
    """
    place = locate(directory, Options(limits=limits))
    try:
        yield place.storage, place.path if place.tree is None else place.tree.top_folder()
    finally:
        place.storage.close()


def _read_state(storage: Storage, folder: str, name: str | None, limits: Limits) -> CheckpointState | None:
    return read_state(storage, folder, limits, name=name or STATE_NAME)


def _list_named(storage: Storage, folder: str, state: CheckpointState, limits: Limits) -> list[KnownCheckpoint]:
    """Return the checkpoints of a state file, in its order."""
    paths = list(state.all_model_checkpoint_paths)
    latest = state.model_checkpoint_path
    if latest and latest not in paths:
        paths.append(latest)
    times: tuple[float, ...] = state.all_model_checkpoint_timestamps
    known_times = dict(zip(paths, times, strict=False)) if len(times) == len(state.all_model_checkpoint_paths) else {}
    records = []
    for path in paths:
        match = detect.find_named(storage, folder, path, limits) if path else None
        prefix = storage.join(folder, path) if match is None else match.prefix
        notes = () if match is None else match.notes
        records.append(KnownCheckpoint(prefix, known_times.get(path), match is not None, path == latest, True, notes))
    return records


def _natural_key(text: str) -> list[tuple[int, str]]:
    """Return a sort key that orders runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(text) if part]
