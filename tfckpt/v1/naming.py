"""The names of the files of a V1 checkpoint.

::

    PREFIX                                the one table of an unsharded checkpoint
    BASE-SSSSS-of-NNNNN                   shard S of N; five digits at least
    BASE-?????-of-NNNNN                   the prefix of a sharded one: TensorFlow takes it as a pattern
    PREFIX.meta, BASE.meta                the graph, beside checkpoints that a Saver wrote
"""

from __future__ import annotations

import re

META_SUFFIX = ".meta"
_SHARD = re.compile(r"(?s)(?P<base>.+)-(?P<shard>\d{5,9})-of-(?P<count>\d{5,9})")
_PATTERN = re.compile(r"(?s)(?P<base>.+)-\?{5,9}-of-(?P<count>\d{5,9})")


def shard_name(base: str, shard_id: int, num_shards: int) -> str:
    """The file of one shard."""
    return f"{base}-{shard_id:05d}-of-{num_shards:05d}"


def pattern_name(base: str, num_shards: int) -> str:
    """The prefix of a sharded checkpoint, as state files have it."""
    return f"{base}-?????-of-{num_shards:05d}"


def parse_shard(path: str) -> tuple[str, int, int] | None:
    """Base, shard number and number of shards of a shard's name; None for other names."""
    match = _SHARD.fullmatch(path)
    return (match["base"], int(match["shard"]), int(match["count"])) if match else None


def parse_pattern(path: str) -> tuple[str, int] | None:
    """Base and number of shards of a sharded checkpoint's prefix; None for other names."""
    match = _PATTERN.fullmatch(path)
    return (match["base"], int(match["count"])) if match else None


def meta_name(prefix: str) -> str:
    """The graph file of a prefix; shards share one."""
    parts = parse_pattern(prefix) or parse_shard(prefix)
    return (prefix if parts is None else parts[0]) + META_SUFFIX
