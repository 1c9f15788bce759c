"""The names of a V1 checkpoint's files.

::

    PREFIX                                the one table of an unsharded checkpoint
    BASE-SSSSS-of-NNNNN                   shard S of N, with at least five digits
    BASE-?????-of-NNNNN                   the prefix of a sharded checkpoint, which TensorFlow uses as a pattern
    PREFIX.meta, BASE.meta                the graph, if a Saver wrote the checkpoint
"""

from __future__ import annotations

import re

META_SUFFIX = ".meta"
_SHARD = re.compile(r"(?s)(?P<base>.+)-(?P<shard>\d{5,9})-of-(?P<count>\d{5,9})")
_PATTERN = re.compile(r"(?s)(?P<base>.+)-\?{5,9}-of-(?P<count>\d{5,9})")


def shard_name(base: str, shard_id: int, num_shards: int) -> str:
    """Return the path of one shard."""
    return f"{base}-{shard_id:05d}-of-{num_shards:05d}"


def pattern_name(base: str, num_shards: int) -> str:
    """Return the prefix of a sharded checkpoint, in the form that state files contain."""
    return f"{base}-?????-of-{num_shards:05d}"


def parse_shard(path: str) -> tuple[str, int, int] | None:
    """Return base, shard number and number of shards from the path of a shard; None for other paths."""
    match = _SHARD.fullmatch(path)
    return (match["base"], int(match["shard"]), int(match["count"])) if match else None


def parse_pattern(path: str) -> tuple[str, int] | None:
    """Return base and number of shards from the prefix of a sharded checkpoint; None for other paths."""
    match = _PATTERN.fullmatch(path)
    return (match["base"], int(match["count"])) if match else None


def meta_name(prefix: str) -> str:
    """Return the path of the graph file; all shards share one."""
    parts = parse_pattern(prefix) or parse_shard(prefix)
    return (prefix if parts is None else parts[0]) + META_SUFFIX
