"""A bundle that TensorFlow 2.21 wrote, with a comment on every byte.

It has two tensors, in the order of writing: `w`, float32 [[1, 2], [3, 4]], and `names`, the strings "hi" and "".
"""

from __future__ import annotations

import pathlib

import pytest

import tfckpt
from tests import builders

DATA = bytes.fromhex(
    "0000803f 00000040 00004040 00008040"  # w
    "02 00"  # names: the lengths 2 and 0
    "7827 0b34"  # their masked checksum
    "6869"  # "hi"
)
INDEX = bytes.fromhex(
    "00 00 06"  # shares 0, 0 more key bytes, 6 value bytes: the header
    "08 01 1a 02 08 01"  # 1 shard, version with producer 1
    "00 05 11 6e616d6573"  # "names", 17 value bytes
    "08 07 12 04 12 02 08 02 20 10 28 08 35 9e9e48ed"  # string, [2], offset 16, size 8, checksum
    "00 01 13 77"  # "w", 19 value bytes
    "08 01 12 08 12 02 08 02 12 02 08 02 28 10 35 4c289874"  # float, [2, 2], size 16, checksum
    "00000000 01000000"  # restart point 0, one of them
    "00 815d6988"  # uncompressed, checksum of the data block
    "00000000 01000000 00 c0f2a1b0"  # metaindex block, empty
    "00 01 02 78 00 41"  # index entry "x": the block of 65 bytes at 0
    "00000000 01000000 00 8dbda1c0"  # end of the index block
    "46 08 53 0e" + "00" * 36 + "57fb808b247547db"  # footer: metaindex at 70, 8 bytes; index at 83, 14 bytes
)


@pytest.fixture
def prefix(tmp_path: pathlib.Path) -> pathlib.Path:
    """The prefix of the bundle on disk."""
    return builders.write_index(tmp_path, INDEX, DATA)


def test_worked_example_has_the_sizes_it_had_on_disk() -> None:
    """No bytes are missing above."""
    assert (len(INDEX), len(DATA)) == (150, 24)


def test_worked_example_reads_as_tensorflow_wrote_it(prefix: pathlib.Path) -> None:
    """The names are in key order, which differs from the order of the data."""
    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == ["names", "w"]
        assert checkpoint["w"].tolist() == [[1, 2], [3, 4]]
        assert checkpoint["w"].dtype == "float32"
        assert checkpoint["names"].tolist() == [b"hi", b""]


def test_worked_example_locates_each_tensor(prefix: pathlib.Path) -> None:
    """Checksums are unmasked."""
    with tfckpt.open(prefix) as checkpoint:
        names, weights = checkpoint.infos()

    assert (names.tf_dtype, names.shape, names.shard, names.offset, names.nbytes) == ("DT_STRING", (2,), 0, 16, 8)
    assert names.crc32c == 0xD9E32562
    assert (weights.tf_dtype, weights.shape, weights.shard, weights.offset, weights.nbytes) == (
        "DT_FLOAT",
        (2, 2),
        0,
        0,
        16,
    )
    assert weights.crc32c == 0x9EBA690A


def test_builders_reproduce_the_worked_example() -> None:
    """The other tests use these builders, so they must agree with TensorFlow byte for byte."""
    bundle = builders.Bundle().add("w", builders.FLOAT, [2, 2], DATA[:16]).add_strings("names", [b"hi", b""])

    assert bytes(bundle.shards[0]) == DATA
    assert builders.table(bundle.sorted_entries(), separators=[b"x"]) == INDEX


def test_parent_entry_matches_bytes_that_tensorflow_wrote() -> None:
    """The tensor has the shape [4, 5] and the slices 0,1:- and 1,3:-."""
    expected = "0801 1208 12020804 12020805 3a06 0a021001 0a00 3a08 0a0408011003 0a00"

    entry = builders.entry_proto(1, [4, 5], slices=[[(0, 1), None], [(1, 3), None]])

    assert entry == bytes.fromhex(expected)


@pytest.mark.parametrize("place", range(len(INDEX)))
def test_any_changed_byte_of_the_index_is_an_error(tmp_path: pathlib.Path, place: int) -> None:
    """Every byte of the index matters, and the error has the path of the index."""
    broken = bytearray(INDEX)
    broken[place] ^= 0x10
    prefix = builders.write_index(tmp_path, bytes(broken), DATA)

    with pytest.raises(tfckpt.CheckpointError) as caught, tfckpt.open(prefix) as checkpoint:
        list(checkpoint.infos())

    assert caught.value.path == f"{prefix}.index"


@pytest.mark.parametrize("length", [*range(0, len(INDEX), 7), len(INDEX) - 1])
def test_index_cut_short_anywhere_is_an_error(tmp_path: pathlib.Path, length: int) -> None:
    """The index may still be being written, or the download may be incomplete."""
    prefix = builders.write_index(tmp_path, INDEX[:length], DATA)

    with pytest.raises(tfckpt.CheckpointError):
        tfckpt.open(prefix)


@pytest.mark.parametrize("place", range(len(DATA)))
def test_any_changed_byte_of_the_data_is_an_error_of_its_tensor_alone(tmp_path: pathlib.Path, place: int) -> None:
    """The other tensor can still be read."""
    broken = bytearray(DATA)
    broken[place] ^= 0x10
    prefix = builders.write_index(tmp_path, INDEX, bytes(broken))
    damaged, whole = ("w", "names") if place < 16 else ("names", "w")

    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint[whole].size
        with pytest.raises(tfckpt.CorruptionError) as caught:
            checkpoint[damaged]

    assert caught.value.tensor == damaged
    assert caught.value.path == f"{prefix}.data-00000-of-00001"
    assert caught.value.offset is not None
    assert caught.value.offset >= (0 if place < 16 else 16)


@pytest.mark.parametrize("length", range(len(DATA)))
def test_data_cut_short_is_an_error_of_the_tensors_it_costs(tmp_path: pathlib.Path, length: int) -> None:
    """The error has the number of bytes needed and available."""
    prefix = builders.write_index(tmp_path, INDEX, DATA[:length])

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.TruncatedError) as caught:
            checkpoint["names"]
        if length >= 16:
            assert checkpoint["w"].tolist() == [[1, 2], [3, 4]]

    assert (caught.value.needed, caught.value.available) == (8, max(length - 16, 0))
