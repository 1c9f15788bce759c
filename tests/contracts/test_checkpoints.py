"""What every checkpoint does, whatever its format and wherever it lives."""

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


def pairs() -> Iterator[Any]:
    """Every format in every place that can hold it."""
    for case_name, case in CASES.items():
        for place_name in PLACES:
            if not (case.needs_listing and place_name in UNLISTED):
                yield pytest.param((case, place_name), id=f"{case_name}-{place_name}")


@pytest.fixture(params=pairs())
def held(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[tuple[Case, tfckpt.Checkpoint]]:
    """A case, and its checkpoint open in one place."""
    case, place = request.param
    with (
        PLACES[place](tmp_path, case.files(), case.path) as (given, keywords),
        tfckpt.open(given, **keywords) as opened,
    ):
        yield case, opened


def same(first: Array, second: Array) -> bool:
    """Whether two arrays are equal, bit for bit."""
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and (first.tolist() == second.tolist() if first.dtype == object else first.tobytes() == second.tobytes())
    )


def readable(case: Case) -> dict[str, dict[str, Any]]:
    """The tensors whose values TensorFlow read or was given."""
    return {name: tensor for name, tensor in case.tensors().items() if "sha256" in tensor}


def kind_of(info: tfckpt.TensorInfo) -> Hashable:
    """What the way of reading a part depends on."""
    return info.dtype.itemsize, info.dtype.kind == "O", len(info.shape), info.size == 0, bool(info.slices)


def test_checkpoint_lists_names_types_and_shapes(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Names come in the order of their bytes, with the shapes that TensorFlow lists."""
    case, checkpoint = held

    names = list(checkpoint)
    shapes = {info.name: list(info.shape) for info in checkpoint.infos()}

    assert names == sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))
    assert shapes == {name: tensor["shape"] for name, tensor in case.tensors().items()}
    assert checkpoint.format == case.format
    assert len(checkpoint) == len(names)
    assert checkpoint.missing_files() == {}


def test_checkpoint_gives_the_values_that_tensorflow_read(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Every tensor has the recorded digest, and cannot be written to."""
    case, checkpoint = held

    digests = {name: digest(checkpoint[name]) for name in readable(case)}

    assert digests == {name: tensor["sha256"] for name, tensor in readable(case).items()}
    assert not any(checkpoint[name].flags.writeable for name in digests)


def test_read_many_gives_the_same_in_the_order_asked_for(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Threads and windows change nothing but the time."""
    case, checkpoint = held
    names = sorted(readable(case), key=lambda name: digest(checkpoint[name]))

    given = list(checkpoint.read_many(names, threads=3))

    assert [name for name, _ in given] == names
    assert all(same(array, checkpoint[name]) for name, array in given)


def test_any_index_gives_the_same_of_a_part_as_of_the_whole(
    held: tuple[Case, tfckpt.Checkpoint], choose: Choose[str]
) -> None:
    """Verified or not, `read(name, index=i)` is `read(name)[i]`, and fails as that fails."""
    case, checkpoint = held
    names = list(readable(case))

    for name in choose(names[:: 1 + len(names) // 30], lambda name: kind_of(checkpoint.info(name))):
        full = checkpoint[name]
        for index in INDEXES:
            for verify in (True, False):
                try:
                    expected = np.asarray(full[index] if full.dtype != object else _object(full, index))
                except IndexError:
                    with pytest.raises(IndexError):
                        checkpoint.read(name, index=index, verify=verify)
                    continue
                part = checkpoint.read(name, index=index, verify=verify)
                assert same(part, expected), (name, index, verify)
                assert not part.flags.writeable


def _object(full: Array, index: Any) -> Array:
    """A part of an array of bytes, an element of which NumPy would take out of its array."""
    items = index if isinstance(index, tuple) else (index,)
    part: Array = full[items if Ellipsis in items else (*items, Ellipsis)]
    return part


def test_checkpoint_says_what_is_not_there(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """A name that is not there is a `KeyError` of the family, on every way to ask for it."""
    _, checkpoint = held
    present = next(iter(checkpoint))

    assert present in checkpoint
    assert "no such tensor" not in checkpoint
    for ask in (checkpoint.read, checkpoint.info, checkpoint.__getitem__, lambda name: checkpoint.read_many([name])):
        with pytest.raises(tfckpt.TensorNotFoundError):
            ask("no such tensor")


def test_pickled_checkpoint_is_opened_again(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """What arrives reads the same tensors, and is another checkpoint."""
    case, checkpoint = held

    with pickle.loads(pickle.dumps(checkpoint)) as again:
        assert again is not checkpoint
        assert list(again) == list(checkpoint)
        assert all(same(again[name], checkpoint[name]) for name in readable(case))
        assert again.format == checkpoint.format


def test_eight_threads_share_one_checkpoint(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """Reading from many threads at once gives what reading alone gives."""
    case, checkpoint = held
    expected = {name: tensor["sha256"] for name, tensor in readable(case).items()}
    start = threading.Barrier(8)

    def read(_: int) -> dict[str, str]:
        start.wait(timeout=30)
        return {name: digest(checkpoint[name]) for name in expected}

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, range(8)))

    assert results == [expected] * 8


def test_arrays_outlive_their_checkpoint(held: tuple[Case, tfckpt.Checkpoint]) -> None:
    """After `close` the arrays are there, and the checkpoint says that it is closed."""
    case, checkpoint = held
    arrays = {name: checkpoint[name] for name in readable(case)}

    checkpoint.close()
    checkpoint.close()

    assert {name: digest(array) for name, array in arrays.items()} == {
        name: tensor["sha256"] for name, tensor in readable(case).items()
    }
    with pytest.raises(ValueError, match="closed"):
        checkpoint[next(iter(arrays))]
