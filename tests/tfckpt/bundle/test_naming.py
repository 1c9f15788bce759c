"""The names of the files of a bundle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfckpt.bundle import naming


@pytest.mark.parametrize(
    ("shard_id", "num_shards", "expected"),
    [(0, 1, "m.data-00000-of-00001"), (7, 12345, "m.data-00007-of-12345"), (123456, 200000, "m.data-123456-of-200000")],
)
def test_shard_name_has_five_digits_at_least(shard_id: int, num_shards: int, expected: str) -> None:
    """Larger numbers take more."""
    assert naming.shard_name("m", shard_id, num_shards) == expected


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("d/m.index", "d/m"),
        ("d/m.meta", "d/m"),
        ("d/m.data-00000-of-00001", "d/m"),
        ("m.index.index", "m.index"),
        ("m.data-00000-of-00001.index", "m.data-00000-of-00001"),
        ("d.index/m", None),
        ("m.data-0000-of-00001", None),
        ("m.data-00000-of-00001.bak", None),
        ("m.Index", None),
        ("index", None),
    ],
)
def test_member_file_tells_its_prefix(path: str, prefix: str | None) -> None:
    """By its ending alone; other files have none."""
    assert naming.prefix_of_member(path) == prefix


@given(st.text(), st.integers(0, 10**7), st.integers(1, 10**7))
def test_every_member_name_leads_back_to_its_prefix(prefix: str, shard_id: int, num_shards: int) -> None:
    """Whatever the prefix, line breaks and further dots included."""
    for path in (
        naming.index_name(prefix),
        naming.meta_name(prefix),
        naming.shard_name(prefix, shard_id, num_shards),
    ):
        assert naming.prefix_of_member(path) == prefix
