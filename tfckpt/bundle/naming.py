"""The names of the files of one bundle.

::

    PREFIX.index                          the table of entries
    PREFIX.data-SSSSS-of-NNNNN            data shard S of N; five digits at least
    PREFIX.meta                           the graph, beside checkpoints that a TF1 Saver wrote
"""

from __future__ import annotations

import re

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
_MEMBER = re.compile(r"(?s)(?P<prefix>.*)\.(?:index|meta|data-\d{5,}-of-\d{5,})")


def index_name(prefix: str) -> str:
    """The index file of a prefix."""
    return prefix + INDEX_SUFFIX


def meta_name(prefix: str) -> str:
    """The graph file of a prefix."""
    return prefix + META_SUFFIX


def shard_name(prefix: str, shard_id: int, num_shards: int) -> str:
    """The file of one data shard."""
    return f"{prefix}.data-{shard_id:05d}-of-{num_shards:05d}"


def prefix_of_member(path: str) -> str | None:
    """The prefix a path would have as a member file of a bundle; None for other names."""
    match = _MEMBER.fullmatch(path)
    return match["prefix"] if match else None
