"""What an index selects, and the bytes and slices that takes."""

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
    """A shape, and an index that it admits."""
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
    """An array whose elements all differ."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


@given(indexed())
def test_part_of_the_contiguous_run_is_what_numpy_selects(case: tuple[tuple[int, ...], Any]) -> None:
    """From the run of elements that holds the box, the same elements come in the same shape."""
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
    """However the tensor is cut up, and only slices that hold a selected element are read."""
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
def test_rows_are_the_least_contiguous_run(index: Any, rows: tuple[int, tuple[int, ...]]) -> None:
    """Of a tensor of shape [100, 64]: first element and shape of the run."""
    assert select((100, 64), index).rows() == rows


@pytest.mark.parametrize(
    "index",
    [[0, 1], np.array([0, 1]), np.array(1), True, np.True_, None, 1.0, "a", (0, None), (slice(None), [0]), {}],
    ids=repr,
)
def test_other_indexes_are_a_callers_mistake(index: Any) -> None:
    """Lists, arrays, booleans and new axes select with copies or change ranks; ints and slices are taken."""
    inside = (index,) if index is None else index

    with pytest.raises(TypeError, match="selected with ints, slices and Ellipsis"):
        select((3, 3), inside)
    assert select((3, 3), (np.uint8(1), slice(1, 2))).box == ((1, 2), (1, 2))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, "index 3 is out of bounds for dimension 0 of size 3"),
        (-4, "index -4 is out of bounds"),
        ((0, 2), "index 2 is out of bounds for dimension 1 of size 2"),
        ((0, 0, 0), "too many indices: the tensor has 2 dimensions, 3 were given"),
        ((..., 0, ...), "only one Ellipsis"),
    ],
    ids=str,
)
def test_index_outside_the_tensor_is_an_index_error(index: Any, message: str) -> None:
    """As with NumPy; the last element of each dimension is inside."""
    with pytest.raises(IndexError, match=message):
        select((3, 2), index)
    assert select((3, 2), (2, 1)).box == select((3, 2), (-1, -1)).box == ((2, 3), (1, 2))


def test_step_of_zero_is_a_callers_mistake() -> None:
    """Python's own slices raise for it."""
    with pytest.raises(ValueError, match="step"):
        select((3,), slice(None, None, 0))


def test_slice_that_does_not_fit_the_tensor_is_corruption() -> None:
    """A slice past the shape; one at its end fits."""
    with pytest.raises(CorruptionError, match="reaches past"):
        select((3,)).overlap(TensorSlice(((2, 2),)))
    assert select((3,), slice(2, 3)).overlap(TensorSlice(((2, 1),))) is not None
