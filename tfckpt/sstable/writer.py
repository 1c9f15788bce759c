"""The writer of tables, byte for byte identical to TensorFlow 2.21.

These rules determine the bytes (TensorFlow `lib/io/table_builder.cc`, `block_builder.cc`, `table_options.h`):

- A data block ends when it reaches 256 KiB, including its restart points, and before an entry of 512 KiB or more,
  which begins a new block.
- Every 16th entry of a data block is a restart point, and every entry of the index block.
- The key of an index entry is the shortest key that separates its block from the next.
- No block is compressed, and the metaindex block is empty.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..coding.crc32c import crc32c, mask
from ..coding.varint import encode_fixed32, encode_varint
from .format import UNCOMPRESSED, BlockHandle, Footer

BLOCK_SIZE = 256 << 10
RESTART_INTERVAL = 16
_LARGE_ENTRY = 2 * BLOCK_SIZE


class TableWriter:
    """A table being written to a sink, block by block; at most one data block is held in memory."""

    def __init__(
        self,
        sink: Callable[[bytes], object],
        *,
        block_size: int = BLOCK_SIZE,
        restart_interval: int = RESTART_INTERVAL,
    ) -> None:
        """Create a writer; `sink` is called with the bytes of the file in order, like the `write` of an open file."""
        self._sink = sink
        self._block_size = block_size
        self._block = BlockWriter(restart_interval)
        self._index = BlockWriter(1)
        self._offset = 0
        self._last_key: bytes | None = None
        #: The last block written; its separator depends on the first key of the next block.
        self._pending: BlockHandle | None = None

    def add(self, key: bytes, value: bytes) -> None:
        """Append an entry; `ValueError` unless the key comes after the previous key."""
        if self._last_key is not None:
            if key <= self._last_key:
                raise ValueError(f"key {key!r} does not come after the previous key, {self._last_key!r}")
            if len(key) + len(value) >= _LARGE_ENTRY:
                self._flush()
            if self._pending is not None:
                self._index.add(separator(self._last_key, key), self._pending.encode())
                self._pending = None
        self._block.add(key, value)
        self._last_key = key
        if self._block.size >= self._block_size:
            self._flush()

    def finish(self) -> int:
        """Write the last data block, metaindex block, index block and footer; return the size of the file in bytes."""
        self._flush()
        metaindex = self._write_block(BlockWriter(RESTART_INTERVAL))
        if self._pending is not None and self._last_key is not None:
            self._index.add(successor(self._last_key), self._pending.encode())
            self._pending = None
        index = self._write_block(self._index)
        self._write(Footer(metaindex, index).encode())
        return self._offset

    def _flush(self) -> None:
        if not self._block.is_empty:
            self._pending = self._write_block(self._block)

    def _write_block(self, block: BlockWriter) -> BlockHandle:
        contents = block.finish()
        handle = BlockHandle(self._offset, len(contents))
        tagged = contents + bytes([UNCOMPRESSED])
        self._write(tagged + encode_fixed32(mask(crc32c(tagged))))
        return handle

    def _write(self, data: bytes) -> None:
        self._sink(data)
        self._offset += len(data)


class BlockWriter:
    """The contents of a block being written; reusable for one block after the other."""

    def __init__(self, restart_interval: int) -> None:
        """Create an empty block with a restart point every `restart_interval` entries."""
        self._restart_interval = restart_interval
        self._contents = bytearray()
        self._restarts = [0]
        self._since_restart = 0
        self._last_key = b""

    @property
    def is_empty(self) -> bool:
        """Whether no entry has been added since the last `finish`."""
        return not self._contents

    @property
    def size(self) -> int:
        """The size of the contents in bytes, including restart points and their count."""
        return len(self._contents) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        """Append an entry; the caller ensures the order of the keys."""
        if self._since_restart == self._restart_interval:
            self._restarts.append(len(self._contents))
            self._since_restart = 0
        shared = 0 if self._since_restart == 0 else _shared_length(self._last_key, key)
        self._contents += encode_varint(shared) + encode_varint(len(key) - shared) + encode_varint(len(value))
        self._contents += key[shared:]
        self._contents += value
        self._last_key = key
        self._since_restart += 1

    def finish(self) -> bytes:
        """Return the contents, and start an empty block."""
        self._contents += struct.pack(f"<{len(self._restarts) + 1}I", *self._restarts, len(self._restarts))
        contents = bytes(self._contents)
        self._contents.clear()
        self._restarts = [0]
        self._since_restart = 0
        return contents


def separator(low: bytes, high: bytes) -> bytes:
    """Return a short key S with low <= S < high, given low < high (LevelDB `util/comparator.cc`)."""
    shared = _shared_length(low, high)
    if shared < min(len(low), len(high)) and low[shared] + 1 < high[shared]:
        return low[:shared] + bytes([low[shared] + 1])
    return low


def successor(key: bytes) -> bytes:
    """Return a short key that is not less than `key`: one byte, unless `key` begins with 0xff."""
    for position, byte in enumerate(key):
        if byte != 0xFF:
            return key[:position] + bytes([byte + 1])
    return key


def _shared_length(a: bytes, b: bytes) -> int:
    """Return the length of the common prefix."""
    for position, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return position
    return min(len(a), len(b))
