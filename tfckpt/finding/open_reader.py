"""From what the user passed to the reader of one checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .._typing import Buffer, PathLike
from ..addresses import hide_secrets
from ..bundle import naming
from ..bundle.reader import BundleReader
from ..errors import CheckpointError, CheckpointNotFoundError, CorruptionError
from ..limits import Limits
from ..storage.base import Storage
from ..storage.locate import Options, Place, locate, open_as_archive
from ..storage.memory import TreeStorage
from ..tensors.reading import TensorReader
from ..v1.reader import V1Reader
from . import detect
from .file_kinds import describe_wrong_download
from .folder_advice import describe_renamed
from .only_one import find_anywhere


@dataclasses.dataclass(frozen=True, slots=True)
class OpenedReader:
    """A reader, the storage it reads from, and how the checkpoint was found; the owner closes both."""

    storage: Storage
    reader: TensorReader
    prefix: str
    notes: tuple[str, ...]


def open_reader(path_or_files: PathLike | Mapping[str, Buffer], options: Options) -> OpenedReader:
    """Return a reader for the checkpoint that a path or files refer to; nothing stays open on an error."""
    place = locate(path_or_files, options)
    match: detect.Match | None
    try:
        match = _find(place, options.limits)
    except CheckpointNotFoundError as error:
        try:
            archive = open_as_archive(place, options)
        finally:
            place.storage.close()
        if archive is None:
            raise _add_refused(error, place.storage) from None
        place, match = archive, None
    except BaseException:
        place.storage.close()
        raise
    try:
        if match is None:
            match = _find(place, options.limits)
        reader, prefix = _open(place.storage, match, options.limits)
    except BaseException:
        place.storage.close()
        raise
    return OpenedReader(place.storage, reader, prefix, tuple(map(hide_secrets, match.notes)))


def _find(place: Place, limits: Limits) -> detect.Match:
    if place.tree is not None:
        return find_anywhere(place.tree, limits)
    return detect.find(place.storage, place.path, limits)


def _add_refused(error: CheckpointNotFoundError, storage: Storage) -> CheckpointNotFoundError:
    """Return the error with the archive members that were skipped, and why."""
    if not isinstance(storage, TreeStorage) or not storage.refused:
        return error
    name, reason = next(iter(storage.refused.items()))
    more = len(storage.refused) - 1
    others = f" (and {more} more)" if more else ""
    message = f"{error.message}; skipped member {name!r}{others}: {reason}"
    return CheckpointNotFoundError(message, path=error.path, tensor=error.tensor, offset=error.offset)


def _open(storage: Storage, match: detect.Match, limits: Limits) -> tuple[TensorReader, str]:
    """Open a reader for the format of the match; return it and the prefix that it reads."""
    if match.format == detect.KERAS:
        from ..keras.reader import KerasReader

        return KerasReader(storage, match.prefix, limits), match.prefix
    if match.format == detect.V1:
        return V1Reader(storage, match.prefix, limits), match.prefix
    try:
        return BundleReader(storage, match.prefix, limits, explain=_explain_shard), match.prefix
    except CorruptionError as error:
        index = naming.index_name(match.prefix)
        if detect.is_v1_file(storage, index, limits):
            return V1Reader(storage, index, limits), index
        raise detect.explain_bad_index(storage, match.prefix, error) from None


def _explain_shard(storage: Storage, path: str) -> str:
    """Return why a data shard is missing or too short, and what to do; nothing if its folder does not show it."""
    folder, name = storage.split(path)
    try:
        if storage.find_files([path]):
            source = storage.open(path)
            content = describe_wrong_download(source)
            source.close()
            return f"the file is {content}" if content else ""
        return describe_renamed(storage.list(folder)).get(name, "")
    except CheckpointError:
        return ""
