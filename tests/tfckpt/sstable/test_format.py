"""The structure of a table file: handles, footer, block trailers, compression."""

from __future__ import annotations

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import MemorySource
from tfckpt.errors import ChecksumError, CorruptionError, LimitExceededError, TruncatedError
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.sstable.format import FOOTER_SIZE, BlockHandle, Footer, check_handle, is_table, read_block, read_footer

uint64 = st.integers(0, (1 << 64) - 1)


def contents_of(framed: bytes, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return what `read_block` reads from a block at byte 3 of a file."""
    source = MemorySource(b"..." + framed + bytes(FOOTER_SIZE))
    return bytes(read_block(source, BlockHandle(3, len(framed) - 5), limits))


@given(uint64, uint64)
def test_block_handle_round_trips(offset: int, size: int) -> None:
    """A handle consists of two varints."""
    data = BlockHandle(offset, size).encode()

    assert data == builders.handle(offset, size)
    assert BlockHandle.decode(data + b"more", 0) == (BlockHandle(offset, size), len(data))


@given(uint64, uint64, uint64, uint64)
def test_footer_round_trips(a: int, b: int, c: int, d: int) -> None:
    """The longest handles fill exactly 40 bytes."""
    footer = Footer(BlockHandle(a, b), BlockHandle(c, d))

    assert footer.encode() == builders.footer((a, b), (c, d))
    assert Footer.decode(footer.encode()) == footer


@pytest.mark.parametrize("place", range(8))
def test_footer_with_wrong_magic_is_not_a_table(place: int) -> None:
    """Every byte of the magic number matters."""
    sound = builders.footer((0, 8), (13, 8))
    magic = bytearray(builders.MAGIC)
    magic[place] ^= 0x20
    broken = builders.footer((0, 8), (13, 8), magic=bytes(magic))

    assert is_table(MemorySource(sound))
    assert not is_table(MemorySource(broken))
    with pytest.raises(CorruptionError):
        Footer.decode(broken)


@pytest.mark.parametrize("size", [0, 1, 8, 47])
def test_file_shorter_than_a_footer_is_truncated(size: int) -> None:
    """A table has at least 48 bytes, and the magic number alone is not enough."""
    source = MemorySource((b"\0" * 47 + builders.MAGIC)[-size:] if size else b"")

    assert not is_table(source)
    with pytest.raises(TruncatedError) as caught:
        read_footer(source)

    assert (caught.value.needed, caught.value.available, caught.value.offset) == (48, size, 0)


def test_file_that_is_only_a_footer_has_no_room_for_blocks() -> None:
    """Its handles point outside the file."""
    with pytest.raises(TruncatedError) as caught:
        read_footer(MemorySource(builders.footer((0, 0), (0, 0))))

    assert (caught.value.needed, caught.value.available) == (5, 0)


def test_footer_rejects_a_handle_that_is_not_a_varint() -> None:
    """All ten bytes of the varint say that another byte follows."""
    with pytest.raises(CorruptionError) as caught:
        read_footer(MemorySource(bytes(20) + builders.footer(b"\x80" * 20, (0, 8))))

    assert caught.value.offset == 20


def test_footer_rejects_handles_that_extend_into_the_magic_number() -> None:
    """The four varints must end within the first 40 bytes."""
    longest = builders.varint((1 << 64) - 1)
    assert Footer.decode(builders.footer(longest * 2, longest * 2)).index.size == (1 << 64) - 1

    with pytest.raises(CorruptionError):
        Footer.decode(longest * 3 + b"\x80" * 10 + builders.MAGIC)


def test_footer_rejects_padding_that_is_not_zero() -> None:
    """All writers zero it."""
    assert Footer.decode(builders.footer((0, 8), (13, 8))).index == BlockHandle(13, 8)

    with pytest.raises(CorruptionError):
        Footer.decode(builders.footer((0, 8), (13, 8), padding=b"\x01"))


@pytest.mark.parametrize(
    "handle",
    [(0, 96), (1, 95), (101, 0), (1 << 40, 8), (0, 1 << 40), ((1 << 64) - 1, (1 << 64) - 1), (1 << 63, 1 << 63)],
    ids=["one byte too long", "into the footer", "trailer in the footer", "offset", "size", "both", "sum wraps"],
)
def test_handle_past_the_blocks_of_the_file_is_rejected(handle: tuple[int, int]) -> None:
    """Block, trailer and footer must fit into the file, without integer overflow."""
    check_handle(BlockHandle(0, 95), file_size=148, what="index block")

    with pytest.raises(TruncatedError) as caught:
        check_handle(BlockHandle(*handle), file_size=148, what="index block")

    assert caught.value.needed == sum(handle) + 5


@pytest.mark.parametrize("which", ["metaindex", "index"])
def test_read_footer_checks_both_handles(which: str) -> None:
    """The metaindex block is checked too, although TensorFlow never reads it."""
    handles = {"metaindex": (0, 8), "index": (13, 8), which: (0, 1 << 30)}

    with pytest.raises(TruncatedError) as caught:
        read_footer(MemorySource(bytes(26) + builders.footer(handles["metaindex"], handles["index"])))

    assert (caught.value.offset, caught.value.needed, caught.value.available) == (26, (1 << 30) + 5, 26)


def test_block_reads_uncompressed_and_compressed_alike() -> None:
    """Each block has its own compression tag."""
    contents = builders.block([(b"key" * 20, b"value" * 20)])

    assert contents_of(builders.frame(contents)) == contents
    assert contents_of(builders.snappy_frame(contents)) == contents


@pytest.mark.parametrize("place", [0, 50, -6, -5, -4, -1])
def test_block_with_a_changed_byte_is_rejected(place: int) -> None:
    """The byte may be in the contents, the tag, or the stored checksum."""
    framed = bytearray(builders.frame(builders.block([(b"key", b"v" * 80)])))
    assert contents_of(bytes(framed))
    framed[place] ^= 0x04

    with pytest.raises(ChecksumError) as caught:
        contents_of(bytes(framed))

    assert caught.value.offset == 3
    assert caught.value.stored != caught.value.computed


def test_block_checksum_is_stored_masked() -> None:
    """An unmasked checksum does not match."""
    contents = builders.EMPTY_BLOCK

    with pytest.raises(ChecksumError):
        contents_of(builders.frame(contents, crc=builders.crc32c(contents + b"\0")))


def test_block_checksum_covers_the_tag_and_the_bytes_as_stored() -> None:
    """A checksum of the uncompressed contents, or without the tag, does not match."""
    contents = builders.block([(b"a" * 50, b"a" * 50)])
    stored = snappy.compress(contents)

    with pytest.raises(ChecksumError):
        contents_of(builders.frame(stored, tag=1, crc=builders.mask(builders.crc32c(contents + b"\1"))))
    with pytest.raises(ChecksumError):
        contents_of(builders.frame(stored, tag=1, crc=builders.mask(builders.crc32c(stored))))


@pytest.mark.parametrize("tag", [2, 4, 255])
def test_block_with_an_undefined_compression_tag_is_rejected(tag: int) -> None:
    """LevelDB's descendants have more tags, but TensorFlow supports only 0 and 1."""
    with pytest.raises(CorruptionError) as caught:
        contents_of(builders.frame(builders.EMPTY_BLOCK, tag=tag))

    assert caught.value.offset == 3 + len(builders.EMPTY_BLOCK)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x80\x80\x80\x80\x80\x80",
        b"\xff",
        b"\x08",
        b"\x08\x00",
        b"\x04\x01\x01a",
        b"\x05\x01\x00a",
        b"\x01\x04ab",
    ],
    ids=["empty", "endless length", "cut length", "no elements", "cut literal", "copy of nothing", "short", "long"],
)
def test_block_that_is_not_valid_snappy_is_rejected(stored: bytes) -> None:
    """Examples are garbage, copies from before the start, and a wrong uncompressed length."""
    assert contents_of(builders.frame(b"\x04\x0cabcd", tag=1)) == b"abcd"

    with pytest.raises(CorruptionError) as caught:
        contents_of(builders.frame(stored, tag=1))

    assert caught.value.offset in range(3, 3 + len(stored) + 1)


def test_snappy_bomb_is_rejected_before_memory_is_allocated() -> None:
    """Raw Snappy expands data by at most 22 times, so a larger claim is wrong."""
    possible = 22 * 9 + 64
    honest = snappy.compress(b"a" * 10_000)
    assert contents_of(builders.frame(honest, tag=1)) == b"a" * 10_000

    for claim in (possible + 1, (1 << 32) - 1):
        with pytest.raises(CorruptionError) as caught:
            contents_of(builders.frame((builders.varint(claim) + bytes(9))[:9], tag=1))
        assert caught.value.offset == 3


@pytest.mark.parametrize("compressed", [False, True])
def test_block_over_the_limit_is_refused(compressed: bool) -> None:
    """The limit applies to both the stored and the uncompressed size; a block of exactly this size is allowed."""
    contents = b"a" * 1000
    framed = builders.snappy_frame(contents) if compressed else builders.frame(contents)
    assert contents_of(framed, limits=Limits(max_block_bytes=1000)) == contents

    with pytest.raises(LimitExceededError) as caught:
        contents_of(framed, limits=Limits(max_block_bytes=999))

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_block_bytes", 999, 1000)
    assert caught.value.offset == 3


def test_block_is_a_copy_of_the_file() -> None:
    """Changes of the file after the check have no effect."""
    data = bytearray(builders.frame(b"contents") + bytes(FOOTER_SIZE))

    contents = read_block(MemorySource(data), BlockHandle(0, 8), DEFAULT_LIMITS)
    data[:8] = b"CONTENTS"

    assert bytes(contents) == b"contents"


@given(st.binary(max_size=120))
def test_arbitrary_snappy_gives_contents_or_our_error(stored: bytes) -> None:
    """The Snappy library's own errors do not escape."""
    try:
        contents = contents_of(builders.frame(stored, tag=1))
    except CorruptionError:
        return

    assert snappy.uncompress(stored) == contents


@given(st.binary(max_size=60))
def test_arbitrary_footer_gives_handles_or_our_error(data: bytes) -> None:
    """Any bytes may precede the magic number."""
    try:
        footer = read_footer(MemorySource(data + builders.MAGIC))
    except CorruptionError:
        return

    assert footer.index.offset + footer.index.size + 5 <= len(data) + 8 - FOOTER_SIZE
