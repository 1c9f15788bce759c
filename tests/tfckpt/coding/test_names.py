"""Tensor names as text and as bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tfckpt.coding.names import decode_name, encode_name


@given(st.binary(max_size=30))
def test_any_bytes_survive_as_text(name: bytes) -> None:
    """Bytes that are not valid UTF-8 become lone surrogates and come back."""
    assert encode_name(decode_name(name)) == name


def test_text_without_bytes_is_not_a_name() -> None:
    """Only the surrogates that stand for bytes can be encoded."""
    assert encode_name("latin\udce91") == b"latin\xe91"
    assert encode_name("\ud800") is None
