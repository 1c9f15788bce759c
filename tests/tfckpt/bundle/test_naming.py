"""The names of a bundle's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfckpt.bundle import naming


@pytest.mark.parametrize(
    ("shard_id", "num_shards", "expected"),
    [(0, 1, "m.data-00000-of-00001"), (7, 12345, "m.data-00007-of-12345"), (123456, 200000, "m.data-123456-of-200000")],
)
def test_shard_name_has_at_least_five_digits(shard_id: int, num_shards: int, expected: str) -> None:
    """Larger numbers have more digits."""
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
def test_prefix_follows_from_the_name_of_a_member(path: str, prefix: str | None) -> None:
    """Only the ending matters; other files have no prefix."""
    assert naming.prefix_of_member(path) == prefix


@given(st.text(), st.integers(0, 10**7), st.integers(1, 10**7))
def test_every_member_name_has_its_prefix(prefix: str, shard_id: int, num_shards: int) -> None:
    """The prefix may contain line breaks and dots."""
    for path in (
        naming.index_name(prefix),
        naming.meta_name(prefix),
        naming.shard_name(prefix, shard_id, num_shards),
    ):
        assert naming.prefix_of_member(path) == prefix
