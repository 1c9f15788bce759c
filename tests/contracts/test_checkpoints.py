"""Tests of every checkpoint, whatever its format and storage."""

from __future__ import annotations

import pathlib
import pickle
import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.arrays import digest
from tests.conftest import Choose
from tfckpt._typing import Array

from .cases import CASES, Case
from .places import PLACES, UNLISTED

INDEXES: tuple[Any, ...] = (
    ...,
    (),
    0,
    -1,
    np.int64(0),
    np.s_[1:],
    np.s_[:-1],
    np.s_[::-1],
    np.s_[::2],
    np.s_[5:2:-2],
    np.s_[2:2],
    np.s_[-2:],
    np.s_[..., 0],
    np.s_[..., ::-1],
    np.s_[0, 1:],
    np.s_[1:3, -1],
    np.s_[:, 0],
    np.s_[0:1, ..., 1:],
)


#: A prefix, a folder and a Keras file are opened in every place; the other cases in one, and elsewhere with `--all`.
EVERYWHERE = ("V2", "SavedModel", "Keras-weights")


def combinations() -> Iterator[Any]:
    """Yield every case with every place that can store it."""
    for case_name, case in CASES.items():
        for place_name in PLACES:
            if not (case.needs_listing and place_name in UNLISTED):
                marks = () if place_name == "local" or case_name in EVERYWHERE else pytest.mark.slow
                yield pytest.param((case, place_name), id=f"{case_name}-{place_name}", marks=marks)


@pytest.fixture(params=combinations())
def opened_case(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[tuple[Case, tfckpt.Checkpoint]]:
    """A case, and its open checkpoint in one place."""
    case, place = request.param
    with (
        PLACES[place](tmp_path, case.files(), case.path) as (path, options),
        tfckpt.open(path, **options) as checkpoint,
    ):
        yield case, checkpoint


def is_identical(first: Array, second: Array) -> bool:
    """Return whether two arrays are equal, bit for bit."""
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and (first.tolist() == second.tolist() if first.dtype == object else first.tobytes() == second.tobytes())
    )


def readable(case: Case) -> dict[str, dict[str, Any]]:
    """Return the records of the tensors whose values are known."""
    return {name: tensor for name, tensor in case.tensors().items() if "sha256" in tensor}


def kind_of(info: tfckpt.TensorInfo) -> Hashable:
    """Return the properties on which reading a part depends."""
    return info.dtype.itemsize, info.dtype.kind == "O", len(info.shape), info.size == 0, bool(info.slices)


def test_checkpoint_lists_names_types_and_shapes(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """The names are sorted by their bytes, and the shapes are those that TensorFlow lists."""
    case, checkpoint = opened_case

    names = list(checkpoint)
    shapes = {info.name: list(info.shape) for info in checkpoint.infos()}

    assert names == sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))
    assert shapes == {name: tensor["shape"] for name, tensor in case.tensors().items()}
    assert checkpoint.format == case.format
    assert len(checkpoint) == len(names)
    assert checkpoint.missing_files() == {}


def test_checkpoint_has_the_values_that_tensorflow_read(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Every tensor has the recorded digest and is read-only."""
    case, checkpoint = opened_case

    digests = {name: digest(checkpoint[name]) for name in readable(case)}

    assert digests == {name: tensor["sha256"] for name, tensor in readable(case).items()}
    assert not any(checkpoint[name].flags.writeable for name in digests)


def test_read_many_yields_the_same_arrays_in_the_requested_order(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Neither threads nor prefetching change the result."""
    case, checkpoint = opened_case
    names = sorted(readable(case), key=lambda name: digest(checkpoint[name]))

    pairs = list(checkpoint.read_many(names, threads=3))

    assert [name for name, _ in pairs] == names
    assert all(is_identical(array, checkpoint[name]) for name, array in pairs)


def test_index_selects_the_same_elements_as_from_the_whole_array(
    opened_case: tuple[Case, tfckpt.Checkpoint], choose: Choose[str]
) -> None:
    """With and without verification, `read(name, index=i)` equals `read(name)[i]`, or both raise `IndexError`."""
    case, checkpoint = opened_case
    names = list(readable(case))

    for name in choose(names[:: 1 + len(names) // 30], lambda name: kind_of(checkpoint.info(name))):
        full = checkpoint[name]
        for index in INDEXES:
            for verify in (True, False):
                try:
                    expected = np.asarray(full[index] if full.dtype != object else _index_objects(full, index))
                except IndexError:
                    with pytest.raises(IndexError):
                        checkpoint.read(name, index=index, verify=verify)
                    continue
                part = checkpoint.read(name, index=index, verify=verify)
                assert is_identical(part, expected), (name, index, verify)
                assert not part.flags.writeable


def _index_objects(full: Array, index: Any) -> Array:
    """Index an object array; NumPy would return a single element as `bytes` and not as a 0-d array."""
    items = index if isinstance(index, tuple) else (index,)
    part: Array = full[items if Ellipsis in items else (*items, Ellipsis)]
    return part


def test_unknown_name_is_a_key_error(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """All methods raise `TensorNotFoundError`."""
    _, checkpoint = opened_case
    present = next(iter(checkpoint))

    assert present in checkpoint
    assert "no such tensor" not in checkpoint
    for look_up in (
        checkpoint.read,
        checkpoint.info,
        checkpoint.__getitem__,
        lambda name: checkpoint.read_many([name]),
    ):
        with pytest.raises(tfckpt.TensorNotFoundError) as caught:
            look_up("no such tensor")
        assert caught.value.tensor == "no such tensor"


def test_unpickled_checkpoint_is_opened_again(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """It is a different object and reads the same tensors."""
    case, checkpoint = opened_case

    with pickle.loads(pickle.dumps(checkpoint)) as again:
        assert again is not checkpoint
        assert list(again) == list(checkpoint)
        assert all(is_identical(again[name], checkpoint[name]) for name in readable(case))
        assert again.format == checkpoint.format


def test_eight_threads_share_one_checkpoint(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Reading from many threads gives the same results as from one."""
    case, checkpoint = opened_case
    expected = {name: tensor["sha256"] for name, tensor in readable(case).items()}
    start = threading.Barrier(8)

    def read(_: int) -> dict[str, str]:
        start.wait(timeout=30)
        return {name: digest(checkpoint[name]) for name in expected}

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, range(8)))

    assert results == [expected] * 8


def test_arrays_outlive_their_checkpoint(opened_case: tuple[Case, tfckpt.Checkpoint]) -> None:
    """After `close` the arrays are valid, and further reads raise `ValueError`."""
    case, checkpoint = opened_case
    arrays = {name: checkpoint[name] for name in readable(case)}

    checkpoint.close()
    checkpoint.close()

    assert {name: digest(array) for name, array in arrays.items()} == {
        name: tensor["sha256"] for name, tensor in readable(case).items()
    }
    with pytest.raises(ValueError, match="closed"):
        checkpoint[next(iter(arrays))]
