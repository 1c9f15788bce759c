"""The structure of a table file (LevelDB `table/format.h`, TensorFlow `lib/io/format.cc`).

::

    file      = data block* | metaindex block | index block | footer
    block     = contents (n bytes) | compression tag, 1 byte | masked crc32c, fixed32
    footer    = handle of the metaindex | handle of the index | zero padding up to byte 40 | magic, fixed64
    handle    = offset, varint64 | size, varint64      (the size is n, without the 5 bytes of the trailer)

All numbers are little-endian.
The checksum of a block covers the stored contents and the tag.
Tag 0 means uncompressed, tag 1 raw Snappy without framing; TensorFlow supports no others.
"""

from __future__ import annotations

import dataclasses

from .._typing import ByteSource, ByteView
from ..coding import varint
from ..coding.crc32c import crc32c, unmask
from ..errors import CorruptionError, checksum_mismatch, past_end, pluralize
from ..limits import Limits, check_limit

FOOTER_SIZE = 48
TRAILER_SIZE = 5
MAGIC = 0xDB4775248B80FB57
UNCOMPRESSED = 0
SNAPPY = 1

_PADDED_HANDLES = 40
#: A Snappy element of 3 bytes yields at most 64 bytes, so this is the largest possible expansion.
_SNAPPY_EXPANSION = 22


@dataclasses.dataclass(frozen=True, slots=True)
class BlockHandle:
    """The location of a block: `offset` and `size` in bytes, without the trailer."""

    offset: int
    size: int

    def encode(self) -> bytes:
        """Encode the handle as two varints."""
        return varint.encode_varint(self.offset) + varint.encode_varint(self.size)

    @classmethod
    def decode(cls, view: bytes | memoryview, position: int) -> tuple[BlockHandle, int]:
        """Decode the handle at `position`; return it and the next position."""
        offset, position = varint.decode_varint64(view, position)
        size, position = varint.decode_varint64(view, position)
        return cls(offset, size), position


@dataclasses.dataclass(frozen=True, slots=True)
class Footer:
    """The last 48 bytes of the file."""

    metaindex: BlockHandle
    index: BlockHandle

    def encode(self) -> bytes:
        """Encode the handles, the padding and the magic number."""
        handles = self.metaindex.encode() + self.index.encode()
        return handles.ljust(_PADDED_HANDLES, b"\0") + varint.encode_fixed64(MAGIC)

    @classmethod
    def decode(cls, view: bytes | memoryview) -> Footer:
        """Decode a footer of exactly 48 bytes; `CorruptionError` if the padding is not zero, which no writer does."""
        magic, _ = varint.decode_fixed64(view, _PADDED_HANDLES)
        if magic != MAGIC:
            raise CorruptionError(f"not a table file: it ends in {magic:#018x} instead of the magic {MAGIC:#018x}")
        handles = bytes(view[:_PADDED_HANDLES])
        metaindex, position = BlockHandle.decode(handles, 0)
        index, position = BlockHandle.decode(handles, position)
        if any(handles[position:]):
            raise CorruptionError("footer padding is not zero")
        return cls(metaindex, index)


def is_table(source: ByteSource) -> bool:
    """Return whether the file ends with the magic number of a table."""
    return source.size >= FOOTER_SIZE and source.read(source.size - 8, 8) == varint.encode_fixed64(MAGIC)


def read_footer(source: ByteSource) -> Footer:
    """Read the footer of a file, and check that both blocks are inside the file."""
    start = source.size - FOOTER_SIZE
    if start < 0:
        raise past_end("footer of a table file", needed=FOOTER_SIZE, available=source.size, offset=0)
    try:
        footer = Footer.decode(source.read(start, FOOTER_SIZE))
    except CorruptionError as error:
        error.offset = start + (error.offset or 0)
        raise
    for name, handle in (("metaindex", footer.metaindex), ("index", footer.index)):
        check_handle(handle, file_size=source.size, what=f"{name} block", offset=start)
    return footer


def check_handle(handle: BlockHandle, *, file_size: int, what: str, offset: int | None = None) -> None:
    """Raise `TruncatedError` if a block extends into the footer or past the end of the file."""
    end = handle.offset + handle.size + TRAILER_SIZE
    limit = file_size - FOOTER_SIZE
    if end > limit:
        raise past_end(f"{what} from byte {handle.offset}", needed=end, available=limit, offset=offset)


def read_block(source: ByteSource, handle: BlockHandle, limits: Limits, *, what: str = "block") -> ByteView:
    """Return the verified, uncompressed contents of a block, as a copy.

    A copy stays what was verified, even if the file is changed or truncated afterwards.
    The caller has checked the handle with `check_handle`.
    """
    check_limit(limits, "max_block_bytes", handle.size, f"{what} is too large", offset=handle.offset)
    raw = memoryview(bytes(source.read(handle.offset, handle.size + TRAILER_SIZE)))
    stored = unmask(varint.decode_fixed32(raw, handle.size + 1)[0])
    computed = crc32c(raw[: handle.size + 1])
    if stored != computed:
        raise checksum_mismatch(
            f"{what} of {pluralize(handle.size, 'byte')}", stored=stored, computed=computed, offset=handle.offset
        )
    tag, contents = raw[handle.size], raw[: handle.size]
    if tag == UNCOMPRESSED:
        return contents
    if tag == SNAPPY:
        return _uncompress(contents, limits, what=what, offset=handle.offset)
    raise CorruptionError(
        f"{what} has the compression tag {tag}, expected 0 (none) or 1 (snappy)", offset=handle.offset + handle.size
    )


def _uncompress(contents: ByteView, limits: Limits, *, what: str, offset: int) -> ByteView:
    try:
        claimed, _ = varint.decode_varint32(contents, 0)
    except CorruptionError as error:
        error.offset = offset + (error.offset or 0)
        raise
    possible = _SNAPPY_EXPANSION * len(contents) + 64
    if claimed > possible:
        raise CorruptionError(
            f"snappy {what} of {len(contents)} bytes claims {claimed} uncompressed; at most {possible} are possible",
            offset=offset,
        )
    check_limit(limits, "max_block_bytes", claimed, f"{what} is too large uncompressed", offset=offset)
    import snappy

    try:
        plain: bytes = snappy.uncompress(bytes(contents))
    except snappy.UncompressError as error:
        raise CorruptionError(f"{what} is not valid snappy", offset=offset) from error
    if len(plain) != claimed:
        raise CorruptionError(f"snappy {what} has {len(plain)} uncompressed bytes but claims {claimed}", offset=offset)
    return memoryview(plain)
