"""Named maxima that a hostile or damaged file runs into before it can cost memory or time.

They are far above what real checkpoints need.
A caller who trusts a larger file raises the one that the error names: `tfckpt.open(path, limits=Limits(...))`.
"""

from __future__ import annotations

import dataclasses

from .errors import LimitExceededError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may claim at most. All sizes are in bytes."""

    #: One block of a table, as stored. TensorFlow writes blocks of 256 KiB and gives a larger entry its own.
    max_block_bytes: int = 1 << 30
    #: Entries of one table. Listed, each costs some 400 bytes of memory and 4 in the file.
    max_entries: int = 150_000
    #: Keys of one table together, spelled out. In the file each key leaves out what it shares with the one before it,
    #: so that a small file can claim any amount.
    max_key_bytes: int = 32 << 20
    #: One entry of a bundle's index. The largest are those of partitioned variables, with some 20 bytes a slice.
    max_entry_bytes: int = 4 << 20
    #: Data shards of one bundle. The largest published checkpoints have some thousands.
    max_shards: int = 100_000
    #: Tensor slices of one partitioned variable, and slices of a whole bundle that have no entry of their own.
    max_slices: int = 100_000
    #: Elements of one string tensor: each costs about 60 bytes of memory and only 1 in the file.
    max_string_elements: int = 5_000_000
    #: One constant of a graph: a few bytes can claim any shape, since a last value stands for all that follow it.
    max_constant_bytes: int = 1 << 30
    #: A small text or graph file that is read whole: the `checkpoint` state file, a `.meta` or `saved_model.pb`.
    max_graph_bytes: int = 2 << 30
    #: Members of one archive: each costs about 500 bytes of memory and, in a zip archive, only 46 in the file.
    max_archive_members: int = 100_000
    #: What the members of one compressed archive take unpacked. They go to a temporary file without a name.
    max_unpacked_bytes: int = 64 << 30
    #: Times that a compressed archive may grow when unpacked, once it is past 256 MiB. Weights hardly shrink, slot
    #: variables that are still zero shrink by as much as 1000; the latter are rare enough to be allowed by the caller.
    max_expansion: int = 100
    #: An archive on a server is fetched whole into a temporary file before it is opened.
    max_download_bytes: int = 16 << 30
    #: The `checkpoint` state file. Training jobs that keep thousands of checkpoints write some hundred KB.
    max_state_bytes: int = 16 << 20


DEFAULT_LIMITS = Limits()


def check_limit(
    limits: Limits, name: str, claimed: int, message: str, *, path: str | None = None, offset: int | None = None
) -> None:
    """Raise `LimitExceededError` if what a file claims is over the named limit; `message` says what is too large."""
    maximum: int = getattr(limits, name)
    if claimed > maximum:
        raise LimitExceededError(message, limit=name, maximum=maximum, claimed=claimed, path=path, offset=offset)
