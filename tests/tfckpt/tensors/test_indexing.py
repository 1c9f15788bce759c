"""The elements that an index selects, and the bytes and slices that contain them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfckpt._typing import Array
from tfckpt.errors import CorruptionError
from tfckpt.tensors.indexing import Selection, gather, select
from tfckpt.tensors.slices import FULL, TensorSlice


@st.composite
def indexed(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """Draw a shape and a valid index."""
    shape = tuple(draw(st.lists(st.integers(0, 6), max_size=4)))

    def item(size: int) -> Any:
        bound = st.none() | st.integers(-size - 2, size + 2)
        step = st.none() | st.integers(-3, 3).filter(bool)
        slices = st.builds(slice, bound, bound, step)
        return draw(slices | st.integers(-size, size - 1) if size else slices)

    taken = draw(st.integers(0, len(shape)))
    items = [item(size) for size in shape[:taken]]
    if draw(st.booleans()):
        cut = draw(st.integers(0, taken))
        at_end = [item(size) for size in shape[len(shape) - (taken - cut) :]]
        items = [*items[:cut], ..., *at_end]
    return shape, items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)


def numbered(shape: tuple[int, ...]) -> Array:
    """Return an array whose elements all differ."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


@given(indexed())
def test_part_of_the_contiguous_run_is_what_numpy_selects(case: tuple[tuple[int, ...], Any]) -> None:
    """The elements and the shape are the same as in NumPy."""
    shape, index = case
    full = numbered(shape)

    selection = select(shape, index)
    first, run_shape = selection.rows()
    run = full.reshape(-1)[first : first + math.prod(run_shape)].reshape(run_shape)
    part = selection.finish(selection.within_rows(run) if not selection.is_empty else np.empty(selection.box_shape))

    np.testing.assert_array_equal(part, full[index])
    assert part.shape == np.shape(full[index])
    assert not part.flags.writeable


@given(indexed(), st.data())
def test_part_gathered_from_slices_is_what_numpy_selects(
    case: tuple[tuple[int, ...], Any], data: st.DataObject
) -> None:
    """Any division into slices gives the same result, and only slices with elements of the box are read."""
    shape, index = case
    full = numbered(shape)
    pieces: list[tuple[tuple[int, int], ...]] = [()]
    for size in shape:
        cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=2))})
        ranges = list(itertools.pairwise(cuts)) or [(0, FULL)]
        pieces = [(*piece, (low, high - low if high >= 0 else FULL)) for piece in pieces for low, high in ranges]
    parts = [(TensorSlice(piece), TensorSlice(piece)) for piece in pieces]
    read: list[TensorSlice] = []

    def part_of(piece: TensorSlice, inside: Selection) -> Array:
        read.append(piece)
        return inside.within_whole(full[piece.index(shape)])

    gathered = gather(select(shape, index), full.dtype, parts, part_of)

    np.testing.assert_array_equal(gathered, full[index])
    assert gathered.shape == np.shape(full[index])
    selected = set(np.asarray(full[index]).reshape(-1).tolist())
    box = full[tuple(slice(low, high) for low, high in select(shape, index).box)]
    assert all(set(box.reshape(-1).tolist()) & set(full[piece.index(shape)].reshape(-1).tolist()) for piece in read)
    assert selected <= {number for piece in read for number in full[piece.index(shape)].reshape(-1).tolist()}


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (np.s_[10:20], (640, (10, 64))),
        (np.s_[10:20:3], (640, (10, 64))),
        (np.s_[5], (320, (1, 64))),
        (np.s_[5, 10:20], (330, (1, 10))),
        (np.s_[-1, -1], (6399, (1, 1))),
        (np.s_[20:10:-1], (704, (10, 64))),
        (np.s_[:, 5], (0, (100, 64))),
        (None, (0, (100, 64))),
    ],
    ids=["rows", "every third", "one row", "in a row", "last element", "backwards", "a column", "all"],
)
def test_rows_are_the_smallest_contiguous_run(index: Any, rows: tuple[int, tuple[int, ...]]) -> None:
    """The first element and the shape of the run are those for a tensor of shape [100, 64]."""
    assert select((100, 64), index).rows() == rows


@pytest.mark.parametrize(
    "index",
    [[0, 1], np.array([0, 1]), np.array(1), True, np.True_, None, 1.0, "a", (0, None), (slice(None), [0]), {}],
    ids=repr,
)
def test_other_indexes_are_type_errors(index: Any) -> None:
    """Lists, arrays, booleans and new axes are not supported; ints and slices are."""
    inside = (index,) if index is None else index

    with pytest.raises(TypeError):
        select((3, 3), inside)
    assert select((3, 3), (np.uint8(1), slice(1, 2))).box == ((1, 2), (1, 2))


@pytest.mark.parametrize(
    "index",
    [3, -4, (0, 2), (0, 0, 0), (..., 0, ...)],
    ids=str,
)
def test_index_outside_the_tensor_is_an_index_error(index: Any) -> None:
    """NumPy raises the same error; the last element of each dimension is valid."""
    with pytest.raises(IndexError):
        select((3, 2), index)
    assert select((3, 2), (2, 1)).box == select((3, 2), (-1, -1)).box == ((2, 3), (1, 2))


def test_step_of_zero_is_a_value_error() -> None:
    """Python's own slices raise the same error."""
    with pytest.raises(ValueError, match="step"):
        select((3,), slice(None, None, 0))


def test_slice_that_does_not_fit_the_tensor_is_corruption() -> None:
    """A slice may extend to the end of the shape but not past it."""
    with pytest.raises(CorruptionError):
        select((3,)).overlap(TensorSlice(((2, 2),)))
    assert select((3,), slice(2, 3)).overlap(TensorSlice(((2, 1),))) is not None
