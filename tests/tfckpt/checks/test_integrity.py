"""Verification of whole checkpoints; the findings of damaged files are in tests/tfckpt/cli and tests/hostile."""

from __future__ import annotations

import pathlib

import tfckpt


def test_variants_are_verified_and_are_no_findings(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The state of a dataset's iterator cannot be read, but its checksums are compared: damage is found."""
    source = data / "tensorflow" / "variant"
    for path in source.glob("ckpt.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert tfckpt.verify(checkpoint).ok
        offset = checkpoint.info("variant/list").offset
    with tfckpt.open(data / "tensorflow" / "objects-more" / "python_state") as checkpoint:
        assert tfckpt.verify(checkpoint).ok
    assert offset is not None
    (shard,) = tmp_path.glob("ckpt.data-*")
    content = bytearray(shard.read_bytes())
    content[offset + 3] ^= 1
    shard.write_bytes(content)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        (error,) = tfckpt.verify(checkpoint).errors

    assert (type(error), error.tensor) == (tfckpt.ChecksumError, "variant/list")
