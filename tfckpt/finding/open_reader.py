"""From what the user gave to the reader of the checkpoint that it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .._typing import Buffer, PathLike
from ..bundle import naming
from ..bundle.reader import BundleReader
from ..errors import CheckpointNotFoundError, CorruptionError
from ..limits import Limits
from ..storage.base import Storage
from ..storage.locate import Options, Place, as_archive, locate
from ..storage.memory import TreeStorage
from ..tensors.reading import TensorReader
from ..v1.reader import V1Reader
from . import detect
from .only_one import find_anywhere


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A reader, the storage it reads from, and how the checkpoint was found; whoever has it closes both."""

    storage: Storage
    reader: TensorReader
    prefix: str
    notes: tuple[str, ...]


def open_reader(given: PathLike | Mapping[str, Buffer], options: Options) -> Opened:
    """The reader of the checkpoint that is meant; nothing stays open when there is none."""
    place = locate(given, options)
    found: detect.Found | None
    try:
        found = _find(place, options.limits)
    except CheckpointNotFoundError as error:
        try:
            archive = as_archive(place, options)
        finally:
            place.storage.close()
        if archive is None:
            raise _with_refused(error, place.storage) from None
        place, found = archive, None
    except BaseException:
        place.storage.close()
        raise
    try:
        if found is None:
            found = _find(place, options.limits)
        reader, prefix = _read(place.storage, found, options.limits)
    except BaseException:
        place.storage.close()
        raise
    return Opened(place.storage, reader, prefix, found.notes)


def _find(place: Place, limits: Limits) -> detect.Found:
    if place.tree is not None:
        return find_anywhere(place.tree, limits)
    return detect.find(place.storage, place.path, limits)


def _with_refused(error: CheckpointNotFoundError, storage: Storage) -> CheckpointNotFoundError:
    """The error with the members of an archive that were not looked at, and why."""
    if not isinstance(storage, TreeStorage) or not storage.refused:
        return error
    name, reason = next(iter(storage.refused.items()))
    more = len(storage.refused) - 1
    others = f" (and {more} more like it)" if more else ""
    message = f"{error.message}; the member {name!r}{others} was left out: {reason}"
    return CheckpointNotFoundError(message, path=error.path, tensor=error.tensor, offset=error.offset)


def _read(storage: Storage, found: detect.Found, limits: Limits) -> tuple[TensorReader, str]:
    """The reader of the format that was found, and the prefix that it reads."""
    if found.format == detect.V1:
        return V1Reader(storage, found.prefix, limits), found.prefix
    try:
        return BundleReader(storage, found.prefix, limits), found.prefix
    except CorruptionError as error:
        index = naming.index_name(found.prefix)
        if detect.is_v1_file(storage, index, limits):
            return V1Reader(storage, index, limits), index
        raise detect.explain_index(storage, found.prefix, error) from None
