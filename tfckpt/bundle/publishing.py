"""Putting the finished files of a bundle in place, so that a whole checkpoint stands under the prefix at any moment.

Every file is on the disk before the first is renamed; data shards come first, the index comes last.
That alone is enough where no checkpoint stands yet, or one with another number of data shards.
Over one with as many data shards, the first rename would already take a shard from under the old index.
So the old one is set aside first: its shards get second names, by hard links, as shards of a bundle with one shard
more, and its index is replaced by one that says so; both are whole all the time.
What is then no longer needed is removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence

from ..errors import CheckpointError, CheckpointExistsError, WriteError
from ..files.atomic import TEMPORARY_MARK, PendingFile, check_folder, sync_folder, writing
from ..files.lock import FileLock
from ..limits import DEFAULT_LIMITS
from ..sstable.table import Table
from ..sstable.writer import TableWriter
from ..storage.local import LocalStorage
from . import naming
from .entry import BundleHeader

LOCK_SUFFIX = ".lock-writing"
_SHARD_SUFFIX = re.compile(r"\.data-\d{5,}-of-(\d{5,})")


class PrefixLock(FileLock):
    """The right to write under one prefix, which one writer has at a time."""

    def __init__(self, prefix: str) -> None:
        """Take it; `WriteError` if another writer has it."""
        super().__init__(prefix + LOCK_SUFFIX, path=prefix, busy="another writer is at work under this prefix")


def check_prefix(prefix: str) -> None:
    """Refuse a text that is no prefix, or one in a folder that is not there."""
    if not os.path.basename(prefix):
        raise ValueError(f"the prefix {prefix!r} has no name after the folder")
    if naming.prefix_of_member(prefix) is not None:
        raise ValueError(f"{prefix!r} is the name of a checkpoint's file, expected its prefix")
    check_folder(prefix)


def check_free(prefix: str, num_shards: int, *, overwrite: bool) -> None:
    """Refuse a prefix under which something stands that would be overwritten, unless that was asked for."""
    names = [naming.index_name(prefix), *(naming.shard_name(prefix, i, num_shards) for i in range(num_shards))]
    for path in names:
        if os.path.isdir(path):
            raise WriteError("a folder stands where a file of the checkpoint belongs", path=path)
    for path in (prefix, *names):
        if os.path.lexists(path) and not os.path.isdir(path) and not overwrite:
            raise CheckpointExistsError(
                "the file exists already; it is overwritten only with --force (overwrite=True)", path=path
            )


def remove_leftovers(prefix: str) -> None:
    """Remove the temporary files that a killed writer of this prefix left; only for the holder of its lock."""
    member = re.compile(r"\.(?:index|data-\d{5,}-of-\d{5,})" + re.escape(TEMPORARY_MARK) + r"[0-9a-f]{16}")
    for path, suffix in _files_of(prefix):
        if member.fullmatch(suffix):
            _remove(path)


def publish(prefix: str, shards: Sequence[PendingFile], index: PendingFile, *, overwrite: bool, durable: bool) -> None:
    """Give the files of a new bundle their names, in place of the bundle that stands there if `overwrite`."""
    folder = os.path.dirname(prefix)
    for file in (*shards, index):
        file.sync()
    is_set_aside = _shard_count(prefix) == len(shards) and _set_aside(prefix, len(shards))
    try:
        for file in shards:
            file.commit()
        if durable:
            sync_folder(folder)
        index.commit()
    except BaseException:
        # No index names these files: the old one, if there is any, has its shards elsewhere.
        for file in shards:
            if is_set_aside or not os.path.lexists(file.temporary):
                _remove(file.path)
        raise
    if durable:
        sync_folder(folder)
    if overwrite:
        _remove_other_shards(prefix, len(shards))


def _remove_other_shards(prefix: str, num_shards: int) -> None:
    """Remove the data shards of another number than the index counts, which nothing names any more."""
    for path, suffix in _files_of(prefix):
        match = _SHARD_SUFFIX.fullmatch(suffix)
        if match and int(match[1]) != num_shards:
            _remove(path)


def _files_of(prefix: str) -> list[tuple[str, str]]:
    """Path and suffix of every file whose name begins with the prefix."""
    folder, name = os.path.split(prefix)
    try:
        names = os.listdir(folder or os.curdir)
    except OSError:
        return []
    return [(os.path.join(folder, other), other[len(name) :]) for other in names if other.startswith(name)]


def _shard_count(prefix: str) -> int | None:
    """Number of data shards of the bundle that stands under a prefix; None if there is none that can be read."""
    try:
        header, _ = _open_index(prefix)
    except CheckpointError:
        return None
    return header.num_shards


def _open_index(prefix: str) -> tuple[BundleHeader, Table]:
    table = Table(LocalStorage().open(naming.index_name(prefix)))
    value = table.get(b"")
    if value is None:
        raise CheckpointError("table without a bundle header", path=naming.index_name(prefix))
    return BundleHeader.decode(value, DEFAULT_LIMITS), table


def _set_aside(prefix: str, num_shards: int) -> bool:
    """Turn the bundle under a prefix into one with more data shards, the added ones empty.

    False if its index is damaged: then there is nothing whole to protect.
    """
    folder = os.path.dirname(prefix)
    more = num_shards + 1
    while any(os.path.lexists(naming.shard_name(prefix, shard_id, more)) for shard_id in range(more)):
        more += 1
    made: list[str] = []
    try:
        for shard_id in range(more):
            target = naming.shard_name(prefix, shard_id, more)
            made.append(target)
            with writing(target):
                if shard_id < num_shards:
                    _second_name(naming.shard_name(prefix, shard_id, num_shards), target)
                else:
                    open(target, "xb").close()
        sync_folder(folder)
        with PendingFile(naming.index_name(prefix)) as index:
            header, table = _open_index(prefix)
            writer = TableWriter(index.file.write)
            for key, value in table:
                writer.add(
                    key, bytes(value) if key else BundleHeader(more, header.big_endian, header.producer).encode()
                )
            writer.finish()
            index.commit()
    except BaseException as error:
        for path in made:
            _remove(path)
        if isinstance(error, CheckpointError) and not isinstance(error, WriteError):
            return False
        raise
    sync_folder(folder)
    return True


def _second_name(path: str, other: str) -> None:
    """The same file under another name, or a copy where there are no hard links; nothing for a missing file."""
    try:
        os.link(path, other)
    except FileNotFoundError:
        return
    except OSError:
        import shutil

        with open(path, "rb") as source, open(other, "xb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
