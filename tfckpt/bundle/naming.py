"""The names of a bundle's files.

::

    PREFIX.index                          the table of entries
    PREFIX.data-SSSSS-of-NNNNN            data shard S of N, with at least five digits
    PREFIX.meta                           the graph, if a TF1 Saver wrote the checkpoint
"""

from __future__ import annotations

import re

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
_MEMBER = re.compile(r"(?s)(?P<prefix>.*)\.(?:index|meta|data-\d{5,}-of-\d{5,})")


def index_name(prefix: str) -> str:
    """Return the path of the index file."""
    return prefix + INDEX_SUFFIX


def meta_name(prefix: str) -> str:
    """Return the path of the graph file."""
    return prefix + META_SUFFIX


def shard_name(prefix: str, shard_id: int, num_shards: int) -> str:
    """Return the path of one data shard."""
    return f"{prefix}.data-{shard_id:05d}-of-{num_shards:05d}"


def prefix_of_member(path: str) -> str | None:
    """Return the prefix of a bundle that contains a file of this name; None if it is not the name of such a file."""
    match = _MEMBER.fullmatch(path)
    return match["prefix"] if match else None
