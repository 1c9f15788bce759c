"""Keys of V1 records, and the names of V1 files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt.errors import CorruptionError
from tfckpt.tensors.slices import FULL, TensorSlice
from tfckpt.v1 import naming
from tfckpt.v1.keys import decode_key

extents = st.lists(
    st.one_of(st.just((0, FULL)), st.tuples(st.integers(0, 2**62), st.integers(1, 2**62))), max_size=5
).map(tuple)


def test_key_of_the_worked_example_is_decoded() -> None:
    """The bytes are those of the example in docs/format.md."""
    assert decode_key(bytes.fromhex("0077000101028081 807f")) == (b"w", TensorSlice(((0, 1), (0, FULL))))
    assert decode_key(bytes.fromhex("007363000100")) == (b"sc", TensorSlice(()))


@given(st.binary(), extents)
def test_key_round_trips_any_name_and_slice(name: bytes, chosen: tuple[tuple[int, int], ...]) -> None:
    """Decoding inverts `TensorSlice.key`."""
    piece = TensorSlice(chosen)

    assert decode_key(piece.key(name)) == (name, piece)


@given(st.binary(max_size=30))
def test_arbitrary_bytes_are_a_key_or_corrupt(data: bytes) -> None:
    """Encoding a decoded key gives the same bytes."""
    try:
        name, piece = decode_key(data)
    except CorruptionError:
        return

    assert piece.key(name) == data


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(b"\x01\x05w\x00\x01\x00", id="other number first"),
        pytest.param(b"\x00w\x00\x01\x08" + b"\xff" * 8, id="huge rank"),
        pytest.param(b"\x00w\x00\x01\x00\x00", id="bytes after the end"),
        pytest.param(
            b"\x00w\x00\x01" + builders.ordered_number(1) + builders.ordered_signed(-3) + builders.ordered_signed(2),
            id="negative start",
        ),
        pytest.param(
            b"\x00w\x00\x01" + builders.ordered_number(1) + builders.ordered_signed(1) + builders.ordered_signed(-1),
            id="whole dimension with a start",
        ),
    ],
)
def test_invalid_key_is_refused(key: bytes) -> None:
    """No writer creates such keys."""
    with pytest.raises(CorruptionError):
        decode_key(key)


def test_shard_names_round_trip() -> None:
    """Names with fewer digits are not shards or patterns."""
    assert naming.shard_name("dir/m.ckpt-3", 1, 4) == "dir/m.ckpt-3-00001-of-00004"
    assert naming.parse_shard("dir/m.ckpt-3-00001-of-00004") == ("dir/m.ckpt-3", 1, 4)
    assert naming.parse_pattern("dir/m.ckpt-3-?????-of-00004") == ("dir/m.ckpt-3", 4)
    assert naming.parse_shard("m-0001-of-0004") is None
    assert naming.parse_pattern("m-00001-of-00004") is None


@pytest.mark.parametrize("prefix", ["m.ckpt-3", "m.ckpt-3-?????-of-00004", "m.ckpt-3-00001-of-00004"])
def test_shards_share_the_graph_of_their_base(prefix: str) -> None:
    """The name of the graph file does not contain the shard."""
    assert naming.meta_name(prefix) == "m.ckpt-3.meta"
