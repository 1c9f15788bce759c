"""Variants, such as the state of a dataset's iterator, whose bytes are verified and compared but never decoded."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..tensors.info import TensorInfo


def is_variant(info: TensorInfo) -> bool:
    """Return whether a tensor consists of variants."""
    return info.tf_dtype == "DT_VARIANT"


def read_bytes(checkpoint: Checkpoint, name: str) -> list[bytes]:
    """Return the stored bytes of a tensor, one item a slice, after verifying their checksums."""
    reader = checkpoint.reader
    return [bytes(reader.read_payload(name, payload)) for payload in reader.payloads(name)]
