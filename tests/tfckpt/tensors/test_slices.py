"""Tensor slices: extents, keys, and whether they cover a tensor."""

from __future__ import annotations

import itertools
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import Extents
from tfckpt import protos
from tfckpt.errors import CorruptionError, UnsupportedFeatureError
from tfckpt.tensors.slices import FULL, TensorSlice, check_cover

WHOLE = (0, FULL)


def from_bytes(data: bytes) -> TensorSlice:
    """Parse a slice from the bytes of a TensorSliceProto."""
    return TensorSlice.from_proto(protos.parse("TensorSliceProto", data))


def slices(*boxes: tuple[tuple[int, int], ...]) -> list[TensorSlice]:
    """Return a slice for each tuple of (start, length)."""
    return [TensorSlice(box) for box in boxes]


def grid(shape: tuple[int, ...], cuts: list[list[int]]) -> list[TensorSlice]:
    """Return the slices between the cuts of every dimension."""
    ranges = []
    for size, positions in zip(shape, cuts, strict=True):
        edges = sorted({0, size, *(position % size for position in positions)})
        ranges.append([(low, high - low) for low, high in itertools.pairwise(edges)])
    return slices(*itertools.product(*ranges))


def test_slice_key_matches_tensorflow() -> None:
    """The slice is row 0 of a tensor `w` of shape [4, 5]."""
    assert TensorSlice(((0, 1), WHOLE)).key(b"w").hex(" ") == "00 77 00 01 01 02 80 81 80 7f"


@pytest.mark.parametrize(
    ("name", "extents"),
    [(b"a", []), (b"a\x00b\xff", [(3, 4)]), (b"", [None, None]), (b"x/y", [(1 << 40, 1), None, (63, 64)])],
    ids=["scalar", "escaped name", "whole", "large numbers"],
)
def test_slice_key_matches_an_independent_implementation(name: bytes, extents: Extents) -> None:
    """The keys contain escapes, and numbers of several lengths."""
    assert from_bytes(builders.slice_proto(extents)).key(name) == builders.slice_key(name, extents)


def test_extent_without_length_is_the_whole_dimension() -> None:
    """TensorFlow writes an empty message for it."""
    piece = from_bytes(builders.slice_proto([None, (2, 3), (0, 1)]))

    assert piece.extents == (WHOLE, (2, 3), (0, 1))
    assert not piece.is_full
    assert TensorSlice((WHOLE, WHOLE)).is_full


@pytest.mark.parametrize("extent", [(-1, 2), (0, 0), (0, -1), (-(1 << 63), 1)], ids=str)
def test_extent_that_tensorflow_never_writes_is_rejected(extent: tuple[int, int]) -> None:
    """Negative starts, which make TensorFlow corrupt its memory, and lengths below 1 are rejected."""
    assert from_bytes(builders.slice_proto([(0, 1)])).extents == ((0, 1),)

    with pytest.raises(CorruptionError):
        from_bytes(builders.slice_proto([extent]))


def test_text_of_a_slice_matches_tensorflow() -> None:
    """A dash means a whole dimension."""
    assert str(TensorSlice(((0, 1), WHOLE))) == "0,1:-"
    assert str(TensorSlice(())) == ""


@pytest.mark.parametrize("text", ["", "-", "0,1:-", "-:12,3:0,40"])
def test_text_of_a_slice_round_trips(text: str) -> None:
    """The empty text is the slice of a scalar."""
    assert str(TensorSlice.parse(text)) == text


def test_invalid_text_of_a_slice_is_refused() -> None:
    """Lengths are at least 1, and numbers have no sign."""
    assert TensorSlice.parse("0,1:-").extents == ((0, 1), WHOLE)

    for text in ("0,0:-", "-1,1", "1", "0,1:", ":", "0,1,2", " 0,1", "--"):
        with pytest.raises(ValueError, match=f"'{text}'"):
            TensorSlice.parse(text)


def test_slice_message_round_trips() -> None:
    """A whole dimension has no length, and a start of 0 is omitted, as usual in protobuf."""
    message = protos.message_class("TensorSliceProto")()

    TensorSlice(((0, 1), WHOLE, (2, 3))).to_proto(message)

    assert message.SerializeToString() == builders.slice_proto([(0, 1), None, (2, 3)])


def test_slice_has_a_shape_and_a_numpy_index() -> None:
    """The size of whole dimensions comes from the tensor."""
    piece = TensorSlice(((1, 2), WHOLE))

    assert piece.shape((4, 5)) == (2, 5)
    assert np.arange(20).reshape(4, 5)[piece.index((4, 5))].tolist() == [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]


def test_slice_past_the_shape_or_of_a_different_rank_is_rejected() -> None:
    """A slice may contain the last element."""
    piece = TensorSlice(((3, 1), WHOLE))
    assert piece.shape((4, 5)) == (1, 5)

    for shape in ((3, 5), (4,)):
        with pytest.raises(CorruptionError):
            piece.shape(shape)
    with pytest.raises(CorruptionError):
        TensorSlice((((1 << 63) - 1, (1 << 63) - 1),)).shape((4,))


@pytest.mark.parametrize(
    ("shape", "pieces"),
    [
        ((), slices(())),
        ((0, 3), slices((WHOLE, WHOLE))),
        ((0, 3), slices((WHOLE, (0, 1)), (WHOLE, (1, 2)))),
        ((4,), slices(((2, 2),), ((0, 2),))),
        ((3, 3), slices(((0, 1), (0, 2)), ((0, 2), (2, 1)), ((2, 1), (1, 2)), ((1, 2), (0, 1)), ((1, 1), (1, 1)))),
        ((1 << 62,), slices(((0, 1 << 61),), ((1 << 61, 1 << 61),))),
    ],
    ids=["scalar", "empty", "empty in two", "two in any order", "pinwheel", "huge"],
)
def test_slices_that_cover_the_tensor_are_accepted(shape: tuple[int, ...], pieces: list[TensorSlice]) -> None:
    """Their order does not matter, and no straight cut need divide them."""
    check_cover(pieces, shape)
    check_cover(pieces[::-1], shape)


@pytest.mark.parametrize(
    ("shape", "pieces"),
    [
        ((4,), slices(((0, 2),))),
        ((4,), slices()),
        ((4,), slices(((0, 2),), ((1, 3),))),
        ((4,), slices(((0, 2),), ((0, 2),))),
        ((4,), slices(((0, 2),), ((1, 2),))),
        ((), slices((), ())),
        ((0, 3), slices((WHOLE, WHOLE), (WHOLE, WHOLE))),
        ((0, 3), slices()),
        ((2, 2), slices((WHOLE, (0, 1)), ((0, 1), WHOLE))),
        ((4,), slices(((0, 2),), ((2, 3),))),
    ],
    ids=[
        "one missing",
        "none",
        "overlap",
        "same twice",
        "overlap and gap",
        "scalar twice",
        "empty twice",
        "empty none",
        "cross",
        "past the end",
    ],
)
def test_slices_that_do_not_cover_the_tensor_once_are_rejected(
    shape: tuple[int, ...], pieces: list[TensorSlice]
) -> None:
    """Counting elements is not enough: an overlap can hide a gap."""
    with pytest.raises(CorruptionError):
        check_cover(pieces, shape)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (3, 2, 2)], ids=str)
def test_duplicate_element_does_not_hide_a_missing_one(shape: tuple[int, ...]) -> None:
    """All pairs of elements are tried, since corners at different positions must not be confused."""
    cells = grid(shape, [list(range(size)) for size in shape])
    check_cover(cells, shape)

    for missing, duplicate in itertools.permutations(cells, 2):
        with pytest.raises(CorruptionError):
            check_cover([*(cell for cell in cells if cell != missing), duplicate], shape)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 8), max_size=3)), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_grids_cover_the_tensor_unless_a_slice_is_missing_or_repeated(
    dimensions: list[tuple[int, list[int]]], order: random.Random
) -> None:
    """Partitioners divide dimensions into ranges."""
    shape = tuple(size for size, _ in dimensions)
    pieces = grid(shape, [cuts for _, cuts in dimensions])
    order.shuffle(pieces)

    check_cover(pieces, shape)
    with pytest.raises(CorruptionError):
        check_cover(pieces[1:], shape)
    with pytest.raises(CorruptionError):
        check_cover([*pieces, pieces[0]], shape)


@given(
    st.lists(
        st.tuples(*[st.tuples(st.integers(0, 2), st.integers(1, 3)).filter(lambda extent: sum(extent) <= 3)] * 2),
        max_size=6,
    )
)
def test_cover_agrees_with_painting_the_tensor(boxes: list[tuple[tuple[int, int], ...]]) -> None:
    """Slices are accepted if and only if they paint every element exactly once."""
    painted = np.zeros((3, 3), int)
    for (top, height), (left, width) in boxes:
        painted[top : top + height, left : left + width] += 1

    try:
        check_cover(slices(*boxes), (3, 3))
        accepted = True
    except CorruptionError:
        accepted = False

    assert accepted == bool((painted == 1).all())


def test_many_slices_are_checked_quickly() -> None:
    """These slices would take quadratic time if each were compared with its neighbors."""
    count = 20_000
    pieces = slices(*[box for n in range(1, count) for box in (((0, n), (n, 1)), ((n, count - n), (n, 1)))])
    pieces += slices(((0, count), (0, 1)))
    start = time.process_time()

    check_cover(pieces, (count, count))

    assert time.process_time() - start < 3


def test_slices_that_divide_many_dimensions_are_refused() -> None:
    """The number of corners doubles with every dimension; real slices divide one or two."""
    ten = grid((2,) * 10, [[1]] * 10)
    check_cover(ten, (2,) * 10)
    pieces = slices((((0, 1),) * 30), (((1, 1),) * 30))

    with pytest.raises(CorruptionError):
        check_cover(pieces, (2,) * 30)
    with pytest.raises(UnsupportedFeatureError):
        check_cover(grid((2,) * 11, [[1]] * 11), (2,) * 11)


@given(st.binary(max_size=30))
def test_arbitrary_bytes_give_a_slice_or_our_error(data: bytes) -> None:
    """An accepted slice has a key, and its starts are not negative."""
    try:
        piece = from_bytes(data)
    except CorruptionError:
        return

    assert piece.key(b"n").startswith(b"\0n\0\1")
    assert all(start >= 0 for start, _ in piece.extents)
