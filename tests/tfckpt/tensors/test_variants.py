"""Payloads of variant tensors, which are verified but never decoded."""

from __future__ import annotations

import pathlib

import pytest

import tfckpt
from tests.tfckpt.bundle.test_writer import assert_same_files
from tfckpt.coding.crc32c import crc32c, mask
from tfckpt.errors import ChecksumError, CorruptionError, TruncatedError
from tfckpt.tensors.variants import variants_checksum


def payload(*elements: bytes) -> tuple[bytes, int]:
    """Return the payload of these elements, each shorter than 128 bytes, and its checksum."""
    out, checksum = b"", 0
    for element in elements:
        checksum = crc32c(element, crc32c(len(element).to_bytes(8, "little"), checksum))
        stored = mask(checksum).to_bytes(4, "little")
        checksum = crc32c(stored, checksum)
        out += bytes([len(element)]) + element + stored
    return out, checksum


@pytest.mark.parametrize("elements", [(), (b"",), (b"one", b"", b"three" * 20)], ids=["none", "empty", "three"])
def test_checksum_covers_lengths_bytes_and_checksums(elements: tuple[bytes, ...]) -> None:
    """It agrees with an independent implementation of the format."""
    data, expected = payload(*elements)

    assert variants_checksum(memoryview(data), len(elements)) == expected


def test_checksums_match_those_of_tensorflow(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The checkpoint has lists and ragged tensors, and a copy has the same bytes."""
    prefix = data / "tensorflow" / "variant" / "ckpt"
    with tfckpt.open(prefix) as checkpoint:
        reader = checkpoint.reader
        variants = [info.name for info in checkpoint.infos() if info.tf_dtype == "DT_VARIANT"]
        for name in variants:
            (stored,) = reader.payloads(name)
            assert len(reader.read_payload(name, stored)) == stored.nbytes

    assert len(variants) == 6
    tfckpt.copy(prefix, tmp_path / "copy")
    assert_same_files(prefix, tmp_path / "copy")


def test_changed_byte_is_detected() -> None:
    """Each element has its own checksum."""
    data, _ = payload(b"one", b"two")
    changed = data.replace(b"two", b"twO")

    with pytest.raises(ChecksumError, match="variant 1 "):
        variants_checksum(memoryview(changed), 2)


@pytest.mark.parametrize("cut", [1, 5, 7], ids=["checksum", "bytes", "length"])
def test_truncated_payload_is_refused(cut: int) -> None:
    """The end may be missing from the checksum, the element, or its length."""
    data, _ = payload(b"one", b"two")
    assert len(data) == 16

    with pytest.raises(TruncatedError):
        variants_checksum(memoryview(data[: len(data) - cut - (cut == 7)]), 2)
    variants_checksum(memoryview(data), 2)


def test_wrong_length_is_refused() -> None:
    """It is compared with the size of the payload before anything is read."""
    with pytest.raises(TruncatedError) as caught:
        variants_checksum(memoryview(b"\xff\xff\xff\xff\x7f" + bytes(20)), 1)

    assert (caught.value.needed, caught.value.available) == (34359738367 + 4, 20)


def test_bytes_after_the_last_element_are_refused() -> None:
    """The number of elements comes from the shape."""
    data, _ = payload(b"one", b"two")

    with pytest.raises(CorruptionError):
        variants_checksum(memoryview(data), 1)


def test_damaged_variant_is_not_copied(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The copy would otherwise reuse its checksum."""
    source = data / "tensorflow" / "variant"
    for path in source.glob("ckpt.*"):
        content = bytearray(path.read_bytes())
        if path.name.startswith("ckpt.data"):
            with tfckpt.open(source / "ckpt") as checkpoint:
                offset = checkpoint.info("variant/list").offset
            assert offset is not None
            content[offset + 3] ^= 1
        (tmp_path / path.name).write_bytes(content)

    with pytest.raises(ChecksumError) as caught:
        tfckpt.copy(tmp_path / "ckpt", tmp_path / "copy")
    assert caught.value.tensor == "variant/list"
    tfckpt.copy(tmp_path / "ckpt", tmp_path / "copy", exclude=["variant/list"])
