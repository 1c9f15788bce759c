"""A whole table: an index block and the data blocks it points to (LevelDB `table/table.cc`).

::

    index block: one entry per data block, in order
        key   = a separator S: last key of that block <= S < first key of the next
        value = the block's handle

Looking up a key reads the index block and checks one whole data block. Iterating reads and checks everything:
TensorFlow silently lists fewer keys if a later block is damaged, which is an error here.
"""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterator

from .._threads import Lock
from .._typing import ByteSource, ByteView
from ..errors import CorruptionError, error_context, format_key
from ..limits import DEFAULT_LIMITS, Limits, limits_of_table
from .block import Batch, Block, Budget
from .format import BlockHandle, check_handle, read_block, read_footer

#: Total size of the verified blocks in the cache; the blocks of a bundle's index have 256 KiB each.
_CACHE_BYTES = 16 << 20


class Table:
    """A table file as a mapping from keys to values; reads lazily and is thread-safe.

    The caller closes the source.
    """

    def __init__(self, source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> None:
        """Read and check the footer and the index block."""
        self._source = source
        self._limits = limits_of_table(limits, source.size)
        self._cache: dict[int, Block] = {}
        self._checked: set[int] = set()
        self._cached_bytes = 0
        self._lock = Lock()
        with error_context(path=source.name):
            self._footer = read_footer(source)
            self._separators, self._handles = self._read_index()

    @property
    def limits(self) -> Limits:
        """The limits for a table of this size."""
        return self._limits

    @property
    def block_count(self) -> int:
        """The number of data blocks."""
        return len(self._handles)

    def get(self, key: bytes) -> ByteView | None:
        """Return the value of a key; None if the table does not contain it."""
        entry = self.seek(key)
        return entry[1] if entry is not None and entry[0] == key else None

    def seek(self, target: bytes) -> tuple[bytes, ByteView] | None:
        """Return the first (key, value) whose key is not less than `target`; None if there is none."""
        number = bisect.bisect_left(self._separators, target)
        for candidate in (number, number + 1):  # the target may lie between a block's last key and its separator
            if candidate < len(self._handles):
                with error_context(path=self._source.name):
                    block = self._block(candidate)
                    if candidate not in self._checked:
                        collections.deque(self._batches(candidate, block, Budget(self._limits)), maxlen=0)
                    entry = block.seek(target)
                if entry is not None:
                    return entry
        return None

    def __iter__(self) -> Iterator[tuple[bytes, ByteView]]:
        """Yield every (key, value) in key order; checks every block, the order across blocks, and the separators."""
        for batch in self.batches():
            yield from batch.pairs()

    def batches(self) -> Iterator[Batch]:
        """Yield every entry like `__iter__`, thousands at a time."""
        with error_context(path=self._source.name):
            self.check_metaindex()
            budget = Budget(self._limits)
            for number in range(len(self._handles)):
                yield from self._batches(number, self._block(number), budget)

    def block_entries(self, number: int) -> Iterator[tuple[bytes, ByteView]]:
        """Yield every (key, value) of one data block, checking its keys against the separators on both sides."""
        with error_context(path=self._source.name):
            for batch in self._batches(number, self._block(number), Budget(self._limits)):
                yield from batch.pairs()

    def first(self) -> tuple[bytes, ByteView] | None:
        """Return the first (key, value) of the table; None if the table is empty.

        The rest of its block is not checked, since damage there cannot change which entry is first.
        This makes opening a bundle fast, which needs only the header.
        """
        if not self._handles:
            return None
        with error_context(path=self._source.name):
            return self._block(0).first()

    def check_metaindex(self) -> None:
        """Read the metaindex block and check its checksum and entries; TensorFlow never reads it."""
        with error_context(path=self._source.name):
            handle = self._footer.metaindex
            contents = read_block(self._source, handle, self._limits, what="metaindex block")
            block = Block(contents, what="metaindex block", offset=handle.offset)
            collections.deque(block.batches(Budget(self._limits)), maxlen=0)

    def _read_index(self) -> tuple[list[bytes], list[BlockHandle]]:
        separators: list[bytes] = []
        handles: list[BlockHandle] = []
        index = self._footer.index
        contents = read_block(self._source, index, self._limits, what="index block")
        block = Block(contents, what="index block", offset=index.offset)
        for separator, value in block.entries(Budget(self._limits)):
            what = f"data block {len(handles)}"
            try:
                handle, _ = BlockHandle.decode(value, 0)
            except CorruptionError as error:
                raise CorruptionError(f"bad handle of {what}: {error.message}", offset=index.offset) from error
            check_handle(handle, file_size=self._source.size, what=what, offset=index.offset)
            separators.append(separator)
            handles.append(handle)
        return separators, handles

    def _batches(self, number: int, block: Block, budget: Budget) -> Iterator[Batch]:
        low = self._separators[number - 1] if number else None
        high = self._separators[number]
        is_empty = True
        for batch in block.batches(budget):
            first, last = batch.keys[0], batch.keys[-1]
            if is_empty and low is not None and first <= low:
                raise self._misplaced(
                    f"key {format_key(first)} is not after the separator {format_key(low)} of the previous block",
                    number,
                )
            is_empty = False
            if last > high:
                count = bisect.bisect_right(batch.keys, high)
                if count:
                    yield batch.part(0, count)
                raise self._misplaced(
                    f"key {format_key(batch.keys[count])} is after its block's separator {format_key(high)}", number
                )
            yield batch
        if is_empty:
            raise self._misplaced("it has no entries", number)
        self._checked.add(number)

    def _block(self, number: int) -> Block:
        with self._lock:
            block = self._cache.get(number)
        if block is None:
            handle, what = self._handles[number], f"data block {number}"
            block = Block(read_block(self._source, handle, self._limits, what=what), what=what, offset=handle.offset)
            with self._lock:
                if self._cached_bytes + block.nbytes > _CACHE_BYTES:
                    self._cache.clear()
                    self._cached_bytes = 0
                self._cache[number] = block
                self._cached_bytes += block.nbytes
        return block

    def _misplaced(self, message: str, number: int) -> CorruptionError:
        return CorruptionError(f"data block {number} is damaged: {message}", offset=self._handles[number].offset)
