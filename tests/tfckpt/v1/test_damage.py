"""Damaged lists and records in V1 checkpoints whose block checksums are correct."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import FLOAT, STRING
from tests.tfckpt.v1.v1_files import ROWS, V1File, list_proto, matrix_file, record_proto, values_proto
from tfckpt.errors import CheckpointError
from tfckpt.storage.memory import MemoryStorage
from tfckpt.v1.reader import V1Reader


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Draw a copy of the bytes with a part replaced."""
    start = draw(st.integers(0, len(sound)))
    stop = draw(st.integers(start, min(len(sound), start + 3)))
    return sound[:start] + draw(st.binary(max_size=3)) + sound[stop:]


@given(damaged(list_proto(matrix_file().add(b"s", STRING, [2], [b"x", b""]).listed)))
def test_v1_damaged_list_gives_tensors_or_our_errors(head: bytes) -> None:
    """Lists that pass all checks can be read."""
    file = matrix_file().add(b"s", STRING, [2], [b"x", b""])
    file.head = head

    assert_readable_or_refused(file)


@given(damaged(record_proto(b"m", ROWS[1], values_proto(FLOAT, [2.0, 3.0, 4.0, 5.0]))))
def test_v1_damaged_record_gives_values_or_our_errors(record: bytes) -> None:
    """Records that pass all checks can be read."""
    file = matrix_file()
    file.records[builders.slice_key(b"m", ROWS[1])] = record

    assert_readable_or_refused(file)


def assert_readable_or_refused(file: V1File) -> None:
    """Open the file and read all its tensors; only errors of this package may be raised."""
    try:
        reader = V1Reader(MemoryStorage({"model": file.bytes()}), "model")
        infos = list(reader.infos())
    except CheckpointError:
        return
    for info in infos:
        try:
            array = reader.read(info.name)
        except CheckpointError:
            continue
        assert (array.shape, array.dtype) == (info.shape, info.dtype)
