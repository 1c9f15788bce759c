"""Limits that stop a malicious or damaged file before it can cost much memory or time.

The defaults are far above what real checkpoints need.
Callers who trust a larger file can raise the limit that the error names: `tfckpt.open(path, limits=Limits(...))`.
"""

from __future__ import annotations

import dataclasses

from .errors import LimitExceededError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest numbers accepted from a file. All sizes are in bytes."""

    #: One block of a table, stored and uncompressed. TensorFlow's blocks have 256 KiB, or more for one large entry.
    max_block_bytes: int = 1 << 30
    #: Entries of one table, including the slices of partitioned variables. Unless the limit is changed, the size of
    #: the file is a limit too: 150,000 entries, and one more for every 8 bytes. An entry takes 15 bytes or more.
    max_entries: int = 5_000_000
    #: All keys of one table together, uncompressed. In the file each key omits the bytes it shares with the key before
    #: it, so a small file can claim any amount. Unless the limit is changed, the size of the file is a limit too:
    #: 32 MiB, and 8 times the size.
    max_key_bytes: int = 512 << 20
    #: One entry of a bundle's index. Partitioned variables have the largest ones, with about 20 bytes per slice.
    max_entry_bytes: int = 4 << 20
    #: Data shards of one bundle. The largest published checkpoints have a few thousand.
    max_shards: int = 100_000
    #: Slices of one partitioned variable, and all slices of a bundle beyond the number of its entries.
    max_slices: int = 100_000
    #: Elements of one string tensor. Each takes about 60 bytes of memory but can take only 1 byte in the file.
    max_string_elements: int = 5_000_000
    #: One constant of a graph. Its last value fills all remaining elements, so a few bytes can claim any shape.
    max_constant_bytes: int = 1 << 30
    #: A graph file that is read in one go: a `.meta` file or `saved_model.pb`.
    max_graph_bytes: int = 2 << 30
    #: Nodes of one graph, including those of its functions. Each takes about 1 KB of memory, and more to plan a run,
    #: but can take 2 bytes of the file. The largest graphs of training programs have some hundred thousand nodes.
    max_graph_nodes: int = 500_000
    #: Members of one archive. Each takes about 500 bytes of memory but, in a zip archive, only 46 bytes in the file.
    max_archive_members: int = 100_000
    #: All members of one compressed archive together, unpacked into an unnamed temporary file.
    max_unpacked_bytes: int = 64 << 30
    #: Ratio of unpacked to compressed size of an archive, checked beyond 256 MiB. Weights hardly compress; slot
    #: variables that are still zero compress by up to 1000, but are rare enough to require a higher limit.
    max_expansion: int = 100
    #: An archive on a server, which is downloaded to a temporary file before it is opened.
    max_download_bytes: int = 16 << 30
    #: The `checkpoint` state file. Training jobs that keep thousands of checkpoints write a few hundred KB.
    max_state_bytes: int = 16 << 20


DEFAULT_LIMITS = Limits()


def limits_of_table(limits: Limits, nbytes: int) -> Limits:
    """Return the limits for a table of `nbytes` bytes: defaults for large files would let a small one claim much."""
    changes = {
        name: maximum
        for name, maximum in (("max_entries", 150_000 + nbytes // 8), ("max_key_bytes", (32 << 20) + 8 * nbytes))
        if maximum < getattr(limits, name) == getattr(DEFAULT_LIMITS, name)
    }
    return dataclasses.replace(limits, **changes)


def check_limit(
    limits: Limits, name: str, claimed: int, message: str, *, path: str | None = None, offset: int | None = None
) -> None:
    """Raise `LimitExceededError` if `claimed` exceeds the named limit; `message` says what is too large."""
    maximum: int = getattr(limits, name)
    if claimed > maximum:
        raise LimitExceededError(message, limit=name, maximum=maximum, claimed=claimed, path=path, offset=offset)
