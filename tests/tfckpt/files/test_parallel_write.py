"""Parts of a file that several threads make and write."""

from __future__ import annotations

import errno
import io
import pathlib
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfckpt._typing import Array
from tfckpt.files.parallel_write import Part, fill

#: Larger than what is handed to a thread at once, so that there is more than one task.
LARGE = 5 << 20


def parts_of(arrays: list[Array], *, begin: int = 0) -> list[Part]:
    """Places for these arrays one after the other."""
    parts = []
    for array in arrays:
        parts.append(Part(begin, array.nbytes, lambda array=array: array))  # type: ignore[misc]  # its type is inferred
        begin += array.nbytes
    return parts


def filled(path: pathlib.Path, arrays: list[Array], *, threads: int | None = None) -> bytes:
    """What stands in a file after a header of 3 bytes and these arrays."""
    with open(path, "w+b") as file:
        file.write(b"abc")
        fill(file, parts_of(arrays, begin=3), threads=threads)
        file.write(b"end")
    return path.read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_parts_stand_at_their_places_however_many_threads_write_them(threads: int, tmp_path: pathlib.Path) -> None:
    """What was written before stays, and what is written afterwards follows the last part."""
    arrays: list[Array] = [np.full(LARGE >> number, number, np.uint8) for number in range(6)]

    found = filled(tmp_path / "x", arrays, threads=threads)

    assert found == b"abc" + b"".join(array.tobytes() for array in arrays) + b"end"


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.transpose(3, 2, 0, 1),
        lambda array: array.astype(">f4"),
        lambda array: array[::-1],
        lambda array: array[:, :, ::2],
        lambda array: array.reshape(1, -1).T,
        lambda array: array.reshape(1, 1, -1)[..., ::-1],
    ],
    ids=["transposed", "big-endian", "reversed", "strided", "column", "one long row reversed"],
)
def test_any_strides_are_written_in_c_order_and_little_endian(
    change: Callable[[Array], Array], tmp_path: pathlib.Path
) -> None:
    """Also where a row of the array is larger than what is copied at once."""
    array = change(np.arange(3 * 3 * 384 * 512, dtype=np.float32).reshape(3, 3, 384, 512))

    found = filled(tmp_path / "x", [array, array])

    assert found == b"abc" + 2 * np.ascontiguousarray(array).astype("<f4").tobytes() + b"end"


@given(st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=4))
def test_file_in_memory_gets_the_same_bytes(shapes: list[tuple[int, ...]]) -> None:
    """Scalars and empty arrays among them."""
    arrays: list[Array] = [np.random.default_rng(0).standard_normal(shape).T for shape in shapes]
    file = io.BytesIO(b"abc")

    file.seek(3)
    fill(file, parts_of(arrays, begin=3))

    assert file.getvalue() == b"abc" + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def test_copies_take_a_block_of_memory_and_not_an_array(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transposed array of 32 MiB is copied through buffers of a mebibyte."""
    array = np.zeros((4096, 2048), np.float32).T
    sizes: list[int] = []
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda *a: sizes.append((made := empty(*a)).nbytes) or made)

    filled(tmp_path / "x", [array, array], threads=2)

    assert sizes == [1 << 20, 1 << 20]


def test_progress_comes_in_order_and_in_the_callers_thread(tmp_path: pathlib.Path) -> None:
    """A bar on a terminal need not be safe to use from several threads."""
    told: list[tuple[int, int]] = []
    sizes = [LARGE, 3, 0, LARGE + 1, 7]
    arrays: list[Array] = [np.zeros(size, np.uint8) for size in sizes]

    with open(tmp_path / "x", "w+b") as file:
        fill(file, parts_of(arrays), threads=2, progress=lambda n: told.append((n, threading.get_ident())))

    assert told == [(size, threading.get_ident()) for size in sizes]


@pytest.mark.parametrize("threads", [1, 2])
def test_error_of_a_part_is_raised_and_ends_the_writing(threads: int, tmp_path: pathlib.Path) -> None:
    """Parts far behind it are not made any more."""
    made: list[int] = []

    def make(number: int) -> Array:
        made.append(number)
        if number == 2:
            raise ZeroDivisionError
        return np.zeros(LARGE, np.uint8)

    parts = [Part(number * LARGE, LARGE, lambda number=number: make(number)) for number in range(20)]  # type: ignore[misc]

    with open(tmp_path / "x", "w+b") as file, pytest.raises(ZeroDivisionError):
        fill(file, parts, threads=threads)

    assert max(made) < 2 + 3 * threads


def test_array_of_another_size_than_its_place_is_refused(tmp_path: pathlib.Path) -> None:
    """It would reach into the next part, or leave a hole."""
    part = Part(0, 8, lambda: np.zeros(3, np.float32))

    with open(tmp_path / "x", "w+b") as file, pytest.raises(ValueError, match="12 bytes was made for a place of 8"):
        fill(file, [part])


def test_full_disk_shows_before_anything_is_made(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space of the whole file is claimed first."""

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    made: list[int] = []
    part = Part(0, LARGE, lambda: made.append(1) or np.zeros(LARGE, np.uint8))  # type: ignore[func-returns-value]

    with open(tmp_path / "x", "w+b") as file, pytest.raises(OSError, match="No space left"):
        fill(file, [part], threads=2)

    assert not made


def test_file_system_that_cannot_reserve_space_is_written_all_the_same(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reserving is a help and no need."""

    def unable(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("os.posix_fallocate", unable, raising=False)
    array: Array = np.ones(LARGE, np.uint8)

    found = filled(tmp_path / "x", [array], threads=2)

    assert found == b"abc" + array.tobytes() + b"end"
