"""Parts of a file that several threads produce and write."""

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
from tfckpt.files.parallel_write import Part, write_parts

#: Larger than one task, so that there are several.
LARGE = 5 << 20


def make_parts(arrays: list[Array], *, begin: int = 0) -> list[Part]:
    """Return parts for these arrays, one after the other."""
    parts = []
    for array in arrays:
        parts.append(Part(begin, array.nbytes, lambda array=array: [array]))  # type: ignore[misc]  # its type is inferred
        begin += array.nbytes
    return parts


def write_file(path: pathlib.Path, arrays: list[Array], *, threads: int | None = None) -> bytes:
    """Write a header of 3 bytes, these arrays and a trailer, and return the contents of the file."""
    with open(path, "w+b") as file:
        file.write(b"abc")
        write_parts(file, make_parts(arrays, begin=3), threads=threads)
        file.write(b"end")
    return path.read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_parts_are_written_at_their_offsets_by_any_number_of_threads(threads: int, tmp_path: pathlib.Path) -> None:
    """Bytes before the parts stay, and bytes written afterwards follow the last part."""
    arrays: list[Array] = [np.full(LARGE >> number, number, np.uint8) for number in range(6)]

    contents = write_file(tmp_path / "x", arrays, threads=threads)

    assert contents == b"abc" + b"".join(array.tobytes() for array in arrays) + b"end"


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
    """This includes arrays with rows larger than the copy buffer."""
    array = change(np.arange(3 * 3 * 384 * 512, dtype=np.float32).reshape(3, 3, 384, 512))

    contents = write_file(tmp_path / "x", [array, array])

    assert contents == b"abc" + 2 * np.ascontiguousarray(array).astype("<f4").tobytes() + b"end"


@given(st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=4))
def test_file_in_memory_gets_the_same_bytes(shapes: list[tuple[int, ...]]) -> None:
    """Scalars and empty arrays are among them."""
    arrays: list[Array] = [np.random.default_rng(0).standard_normal(shape).T for shape in shapes]
    file = io.BytesIO(b"abc")

    file.seek(3)
    write_parts(file, make_parts(arrays, begin=3))

    assert file.getvalue() == b"abc" + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def test_copies_take_one_block_of_memory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transposed array of 32 MiB is copied through buffers of 1 MiB."""
    array = np.zeros((4096, 2048), np.float32).T
    sizes: list[int] = []
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda *a: sizes.append((buffer := empty(*a)).nbytes) or buffer)

    write_file(tmp_path / "x", [array, array], threads=2)

    assert sizes == [1 << 20, 1 << 20]


def test_progress_is_reported_in_order_in_the_callers_thread(tmp_path: pathlib.Path) -> None:
    """A progress bar need not be thread-safe."""
    reported: list[tuple[int, int]] = []
    sizes = [LARGE, 3, 0, LARGE + 1, 7]
    arrays: list[Array] = [np.zeros(size, np.uint8) for size in sizes]

    with open(tmp_path / "x", "w+b") as file:
        write_parts(file, make_parts(arrays), threads=2, progress=lambda n: reported.append((n, threading.get_ident())))

    assert reported == [(size, threading.get_ident()) for size in sizes]


@pytest.mark.parametrize("threads", [1, 2])
def test_error_of_a_part_is_raised_and_stops_the_writing(threads: int, tmp_path: pathlib.Path) -> None:
    """Parts far behind it are not loaded any more."""
    loaded: list[int] = []

    def load(number: int) -> Array:
        loaded.append(number)
        if number == 2:
            raise ZeroDivisionError
        return np.zeros(LARGE, np.uint8)

    parts = [Part(number * LARGE, LARGE, lambda number=number: [load(number)]) for number in range(20)]  # type: ignore[misc]

    with open(tmp_path / "x", "w+b") as file, pytest.raises(ZeroDivisionError):
        write_parts(file, parts, threads=threads)

    assert max(loaded) < 2 + 3 * threads


def test_array_with_a_different_size_than_its_part_is_misuse(tmp_path: pathlib.Path) -> None:
    """It would overwrite the next part, or leave a hole."""
    part = Part(0, 8, lambda: [np.zeros(3, np.float32)])

    with open(tmp_path / "x", "w+b") as file, pytest.raises(ValueError, match=r"12.*8"):
        write_parts(file, [part])


def test_full_disk_is_noticed_before_anything_is_loaded(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space for the whole file is reserved first."""

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    loaded: list[int] = []
    part = Part(0, LARGE, lambda: loaded.append(1) or [np.zeros(LARGE, np.uint8)])  # type: ignore[func-returns-value]

    with open(tmp_path / "x", "w+b") as file, pytest.raises(OSError) as caught:  # its number is compared
        write_parts(file, [part], threads=2)

    assert caught.value.errno == errno.ENOSPC
    assert not loaded


def test_file_system_that_cannot_reserve_space_is_written_to(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reserving space is an optimisation only."""

    def unable(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("os.posix_fallocate", unable, raising=False)
    array: Array = np.ones(LARGE, np.uint8)

    contents = write_file(tmp_path / "x", [array], threads=2)

    assert contents == b"abc" + array.tobytes() + b"end"
