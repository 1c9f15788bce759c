"""Moving the finished files of a bundle into place, so that the prefix always refers to a complete checkpoint.

All files are flushed to disk before the first rename. The data shards are renamed first, the index last.
This is enough if there is no checkpoint yet, or one with a different number of data shards.
If the old checkpoint has as many data shards, the first rename would replace a shard that the old index refers to.
Therefore the old checkpoint is set aside first: its shards get additional names (hard links) as shards of a bundle
with one more shard, and its index is replaced by an index of that bundle.
Both versions are complete at all times. Unused files are removed at the end.
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
    """An exclusive lock for writing a prefix."""

    def __init__(self, prefix: str) -> None:
        """Acquire the lock; `WriteError` if another writer holds it."""
        super().__init__(prefix + LOCK_SUFFIX, path=prefix, busy="another process is writing this checkpoint")


def check_prefix(prefix: str) -> None:
    """Raise `ValueError` if the text is not a valid prefix, and `WriteError` if its folder does not exist."""
    if not os.path.basename(prefix):
        raise ValueError(f"the prefix {prefix!r} has no name after the folder")
    if naming.prefix_of_member(prefix) is not None:
        raise ValueError(f"{prefix!r} is the name of a checkpoint file, expected a prefix")
    check_folder(prefix)


def check_free(prefix: str, num_shards: int, *, overwrite: bool) -> None:
    """Raise `CheckpointExistsError` if a file would be overwritten without `overwrite`.

    Raises `WriteError` if a directory has the name of one of the files.
    """
    names = [naming.index_name(prefix), *(naming.shard_name(prefix, i, num_shards) for i in range(num_shards))]
    for path in names:
        if os.path.isdir(path):
            raise WriteError("is a directory, expected a file", path=path)
    for path in (prefix, *names):
        if os.path.lexists(path) and not os.path.isdir(path) and not overwrite:
            raise CheckpointExistsError("file exists; use --force (overwrite=True) to overwrite it", path=path)


def remove_leftovers(prefix: str) -> None:
    """Remove temporary files that a killed writer of this prefix left behind; the caller must hold the lock."""
    member = re.compile(r"\.(?:index|data-\d{5,}-of-\d{5,})" + re.escape(TEMPORARY_MARK) + r"[0-9a-f]{16}")
    for path, suffix in _list_files(prefix):
        if member.fullmatch(suffix):
            _remove(path)


def publish(prefix: str, shards: Sequence[PendingFile], index: PendingFile, *, overwrite: bool, durable: bool) -> None:
    """Rename the files of a new bundle to their final names, replacing an existing bundle if `overwrite`."""
    folder = os.path.dirname(prefix)
    for file in (*shards, index):
        file.sync()
    is_set_aside = _count_shards(prefix) == len(shards) and _set_aside(prefix, len(shards))
    try:
        for file in shards:
            file.commit()
        if durable:
            sync_folder(folder)
        index.commit()
    except BaseException:
        # No index refers to these files: the old one, if any, has been set aside or has other shards.
        for file in shards:
            if is_set_aside or not os.path.lexists(file.temporary):
                _remove(file.path)
        raise
    if durable:
        sync_folder(folder)
    if overwrite:
        _remove_other_shards(prefix, len(shards))


def _remove_other_shards(prefix: str, num_shards: int) -> None:
    """Remove data shards of bundles with another number of shards, which the index does not refer to."""
    for path, suffix in _list_files(prefix):
        match = _SHARD_SUFFIX.fullmatch(suffix)
        if match and int(match[1]) != num_shards:
            _remove(path)


def _list_files(prefix: str) -> list[tuple[str, str]]:
    """Return path and suffix of every file whose name begins with the prefix."""
    folder, name = os.path.split(prefix)
    try:
        names = os.listdir(folder or os.curdir)
    except OSError:
        return []
    return [(os.path.join(folder, other), other[len(name) :]) for other in names if other.startswith(name)]


def _count_shards(prefix: str) -> int | None:
    """Return the number of data shards of an existing bundle; None if there is none or its header is unreadable."""
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
    """Convert an existing bundle to one with more data shards, where the additional shards are empty.

    Returns False if its index is damaged, since then there is no complete checkpoint to preserve.
    """
    folder = os.path.dirname(prefix)
    more = num_shards + 1
    while any(os.path.lexists(naming.shard_name(prefix, shard_id, more)) for shard_id in range(more)):
        more += 1
    created: list[str] = []
    try:
        for shard_id in range(more):
            target = naming.shard_name(prefix, shard_id, more)
            created.append(target)
            with writing(target):
                if shard_id < num_shards:
                    _link_or_copy(naming.shard_name(prefix, shard_id, num_shards), target)
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
        for path in created:
            _remove(path)
        if isinstance(error, CheckpointError) and not isinstance(error, WriteError):
            return False
        raise
    sync_folder(folder)
    return True


def _link_or_copy(path: str, other: str) -> None:
    """Create a hard link to a file, or a copy if links are not supported; does nothing if the file is missing."""
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
