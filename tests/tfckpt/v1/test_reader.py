"""V1 checkpoints: lists of tensors, records, slices, shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfckpt
from tests import builders
from tests.arrays import digest
from tests.builders import FLOAT, INT32, STRING, Bundle
from tests.tfckpt.recorded import TENSORFLOW, Record, expected
from tests.tfckpt.v1.v1_files import V1File, list_proto, record_proto, tensor_proto, values_proto
from tfckpt.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    LimitExceededError,
    TensorNotFoundError,
    UnsupportedFeatureError,
)
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.storage.local import LocalStorage
from tfckpt.storage.memory import MemoryStorage
from tfckpt.v1.reader import V1Reader

ROWS = [[(0, 1), None], [(1, 2), None]]


def opened(path: Path | str, limits: Limits = DEFAULT_LIMITS) -> V1Reader:
    """A reader of a local file or pattern."""
    return V1Reader(LocalStorage(), str(path), limits)


def matrix(file: V1File | None = None) -> V1File:
    """A file with a float matrix of 3 rows of 2, in slices of one row and of two."""
    pieces = [(ROWS[0], [0.0, 1.0]), (ROWS[1], [2.0, 3.0, 4.0, 5.0])]
    return (file or V1File()).add_slices(b"m", FLOAT, [3, 2], pieces)


def shards(folder: Path) -> Path:
    """The same matrix over two shards, each with a tensor of its own; gives the pattern."""
    for number, (extents, values) in enumerate([(ROWS[0], [0.0, 1.0]), (ROWS[1], [2.0, 3.0, 4.0, 5.0])]):
        file = V1File().add_slices(b"m", FLOAT, [3, 2], [(extents, values)]).add(b"own%d" % number, INT32, [], [number])
        file.write(folder / f"model-{number:05d}-of-00002")
    return folder / "model-?????-of-00002"


def recorded() -> list[tuple[str, Record]]:
    """Every V1 checkpoint that TensorFlow wrote, with what it read back."""
    cases = expected("v1")["checkpoints"]
    return [(prefix, case) for case in cases for prefix in (case["prefix"], *case.get("also", []))]


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_v1_reads_what_tensorflow_reads(prefix: str, case: Record) -> None:
    """Names, shapes and bytes of every tensor of every type, sliced, sharded, and in Snappy blocks."""
    reader = opened(TENSORFLOW / "v1" / prefix)

    found = {name: (list(reader.read(name).shape), digest(reader.read(name))) for name in reader.names()}

    assert found == {tensor["name"]: (tensor["shape"], tensor["sha256"]) for tensor in case["tensors"]}
    assert reader.missing_shards() == {}
    assert reader.salvage() == (reader.names(), [])


def test_v1_lists_names_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    """However the list has them; a name that is not UTF-8 is there too."""
    file = V1File()
    for name in (b"b", b"a", b"\xff", "ä".encode()):
        file.add(name, INT32, [2], [1, -1])

    reader = opened(file.write(tmp_path / "model"))

    assert reader.names() == ("a", "b", "ä", "\udcff")
    assert [info.name for info in reader.infos()] == list(reader.names())
    assert "ä" in reader
    assert "c" not in reader
    assert reader.read("\udcff").tolist() == [1, -1]


def test_v1_info_says_what_is_known_without_reading(tmp_path: Path) -> None:
    """Size in memory, no offset, no checksum; slices only where there are several; strings have no size yet."""
    file = matrix().add(b"w", FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0]).add(b"s", STRING, [1], [b"text"])

    reader = opened(file.write(tmp_path / "model"))

    whole, sliced, strings = reader.info("w"), reader.info("m"), reader.info("s")
    assert (whole.shape, whole.tf_dtype, whole.nbytes, whole.shard) == ((2, 2), "DT_FLOAT", 16, 0)
    assert (whole.offset, whole.crc32c, whole.slices) == (None, None, ())
    assert (sliced.nbytes, sliced.shard, [str(piece) for piece in sliced.slices]) == (24, None, ["0,1:-", "1,2:-"])
    assert strings.nbytes == 0


def test_v1_arrays_are_read_only(tmp_path: Path) -> None:
    """As of every format."""
    reader = opened(matrix().add(b"w", INT32, [2], [1, 2]).write(tmp_path / "model"))

    assert not reader.read("w").flags.writeable
    assert not reader.read("m").flags.writeable
    assert not reader.read("m", index=np.s_[1]).flags.writeable


@pytest.mark.parametrize("index", [np.s_[1], np.s_[0:2, 1], np.s_[..., ::-1], np.s_[2:2], np.s_[-1, -1]], ids=str)
def test_v1_part_is_the_part_of_the_whole(tmp_path: Path, index: Any) -> None:
    """Of a tensor in slices and of one in one record."""
    reader = opened(matrix().add(b"w", FLOAT, [3, 2], range(6)).write(tmp_path / "model"))
    full = np.arange(6, dtype=np.float32).reshape(3, 2)

    assert np.array_equal(reader.read("m", index=index), full[index])
    assert np.array_equal(reader.read("w", index=index), full[index])


def test_v1_part_needs_only_its_slices(tmp_path: Path) -> None:
    """A record that the index does not touch may be missing; the whole tensor then cannot be read."""
    file = matrix()
    del file.records[builders.slice_key(b"m", ROWS[1])]
    reader = opened(file.write(tmp_path / "model"))

    assert reader.read("m", index=0).tolist() == [0.0, 1.0]
    with pytest.raises(CorruptionError, match="slice 1,2:- is listed and has no record"):
        reader.read("m")


def test_v1_shards_are_one_checkpoint(tmp_path: Path) -> None:
    """A tensor's slices are put together from several files."""
    reader = opened(shards(tmp_path))

    assert reader.names() == ("m", "own0", "own1")
    assert reader.read("m").tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert reader.info("own1").shard == 1
    assert reader.files == (str(tmp_path / "model-00000-of-00002"), str(tmp_path / "model-00001-of-00002"))


def test_v1_missing_shard_is_listed_with_what_it_costs(tmp_path: Path) -> None:
    """What the others know of is listed and named; reading it is the error, and what is whole is read."""
    pattern = shards(tmp_path)
    gone = tmp_path / "model-00001-of-00002"
    gone.unlink()
    reader = opened(pattern)

    assert reader.names() == ("m", "own0")
    assert reader.missing_shards() == {str(gone): ("m",)}
    assert reader.read("own0") == 0
    with pytest.raises(CheckpointNotFoundError, match=r"a shard that is missing: .*model-00001-of-00002") as caught:
        reader.read("m")
    assert caught.value.tensor == "m"
    with pytest.raises(TensorNotFoundError, match="may stand in one of 1 missing shards"):
        reader.read("own1")


def test_v1_without_any_shard_is_not_found(tmp_path: Path) -> None:
    """A pattern that no file fits."""
    with pytest.raises(CheckpointNotFoundError, match="none of the 2 shards is there"):
        opened(tmp_path / "model-?????-of-00002")


def test_v1_shards_are_limited(tmp_path: Path) -> None:
    """The number in a name is a claim as any other."""
    pattern = shards(tmp_path)

    assert opened(pattern, Limits(max_shards=2)).names()
    with pytest.raises(LimitExceededError, match="max_shards"):
        opened(pattern, Limits(max_shards=1))


def test_v1_name_that_is_not_there_offers_close_ones(tmp_path: Path) -> None:
    """The error is a KeyError, with close names."""
    reader = opened(V1File().add(b"kernel", INT32, [], [1]).write(tmp_path / "model"))

    with pytest.raises(TensorNotFoundError, match="close names: kernel"):
        reader.info("kernels")


def test_v1_tensor_stored_twice_is_refused(tmp_path: Path) -> None:
    """The same whole tensor in two shards; the error names both, and the others are read."""
    shards(tmp_path)
    for number in range(2):
        V1File().add(b"w", INT32, [], [1]).add(b"own%d" % number, INT32, [], [number]).write(
            tmp_path / f"twice-{number:05d}-of-00002"
        )
    reader = opened(tmp_path / "twice-?????-of-00002")

    assert reader.read("own1") == 1
    with pytest.raises(CorruptionError, match=r"whole tensor is stored twice, in .*twice-00000.* and in .*twice-00001"):
        reader.read("w")


@pytest.mark.parametrize(
    ("dtype", "shape"), [pytest.param(INT32, [3, 2], id="type"), pytest.param(FLOAT, [3, 3], id="shape")]
)
def test_v1_shards_that_disagree_are_refused(tmp_path: Path, dtype: int, shape: list[int]) -> None:
    """Two shards list one tensor differently; the sound twin opens."""
    pattern = shards(tmp_path)
    assert opened(pattern).names()

    V1File(listed=[tensor_proto(b"m", dtype, shape, [ROWS[1]])]).write(tmp_path / "model-00001-of-00002")

    with pytest.raises(CorruptionError, match=r"in another shard as float32 \[3, 2\]") as caught:
        opened(pattern)
    assert caught.value.path == str(tmp_path / "model-00001-of-00002")


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        pytest.param([[(0, 2), None], [(1, 2), None]], "overlap", id="overlap"),
        pytest.param([[(0, 1), None], [(2, 1), None]], "some are missing", id="hole"),
        pytest.param([[(0, 1), None], [(1, 3), None]], "reaches past the shape", id="past the shape"),
        pytest.param([[(0, 1)], [(1, 2)]], "another rank", id="other rank"),
    ],
)
def test_v1_slices_that_do_not_tile_are_refused(tmp_path: Path, pieces: list[builders.Extents], message: str) -> None:
    """Slices that overlap, leave a hole, reach out or have another rank; listing still works, and the twin reads."""
    twin = opened(matrix().write(tmp_path / "twin"))
    file = V1File().add_slices(b"m", FLOAT, [3, 2], [(extents, [0.0] * 4) for extents in pieces])
    reader = opened(file.write(tmp_path / "model"))

    assert twin.read("m").shape == (3, 2)
    assert reader.names() == ("m",)
    with pytest.raises(CorruptionError, match=message):
        reader.read("m")


def test_v1_slices_are_limited(tmp_path: Path) -> None:
    """Their number is a claim that costs time to check."""
    path = matrix().write(tmp_path / "model")

    assert opened(path, Limits(max_slices=2)).names()
    with pytest.raises(LimitExceededError, match="max_slices"):
        opened(path, Limits(max_slices=1))


def test_v1_huge_claimed_shape_costs_nothing(tmp_path: Path) -> None:
    """Slices that together claim 2**51 elements in a few bytes are refused before memory is asked for."""
    half = 1 << 50
    pieces = [([(0, half)], [1.0]), ([(half, half)], [2.0])]
    reader = opened(V1File().add_slices(b"m", FLOAT, [2 * half], pieces).write(tmp_path / "model"))

    assert reader.info("m").nbytes == 1 << 53
    with pytest.raises(CorruptionError, match="cannot hold 2251799813685248 elements"):
        reader.read("m")


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        pytest.param(values_proto(FLOAT, [1.0]), r"1 values in float_val, float32 of shape \[2\] has 2", id="too few"),
        pytest.param(values_proto(FLOAT, [1.0] * 3), "3 values in float_val", id="too many"),
        pytest.param(values_proto(INT32, [1, 2]), "0 values in float_val.*there is also int_val", id="other field"),
        pytest.param(builders.field_bytes(4, bytes(8)), "there is also tensor_content", id="content instead of values"),
        pytest.param(b"\xff", "do not parse as SavedTensorSlices", id="no message"),
    ],
)
def test_v1_record_with_other_values_is_refused(tmp_path: Path, proto: bytes, message: str) -> None:
    """There is exactly one value for each element, in the type's own field; the twin with two floats reads."""
    twin = opened(V1File().add(b"w", FLOAT, [2], [1.0, 2.0]).write(tmp_path / "twin"))
    reader = opened(V1File().add(b"w", FLOAT, [2], [], proto=proto).write(tmp_path / "model"))

    assert twin.read("w").tolist() == [1.0, 2.0]
    with pytest.raises(CorruptionError, match=message) as caught:
        reader.read("w")
    assert (caught.value.tensor, caught.value.path) == ("w", str(tmp_path / "model"))


def test_v1_unpacked_values_are_read(tmp_path: Path) -> None:
    """Old writers may put each number in a field of its own."""
    proto = b"".join(builders.field_varint(7, value, keep_zero=True) for value in (0, 5, -2))
    reader = opened(V1File().add(b"w", INT32, [3], [], proto=proto).write(tmp_path / "model"))

    assert reader.read("w").tolist() == [0, 5, -2]


@pytest.mark.parametrize(
    ("name", "extents"),
    [pytest.param(b"other", [None], id="name"), pytest.param(b"w", [(0, 2)], id="slice")],
)
def test_v1_record_of_something_else_is_refused(tmp_path: Path, name: bytes, extents: builders.Extents) -> None:
    """A record says what it is of, and that is compared with its key."""
    file = V1File().add(b"w", INT32, [2], [1, 2])
    file.records[builders.slice_key(b"w", [None])] = record_proto(name, extents, values_proto(INT32, [1, 2]))
    reader = opened(file.write(tmp_path / "model"))

    with pytest.raises(CorruptionError, match="record of slice - says it is slice"):
        reader.read("w")


def test_v1_type_that_has_no_values_is_listed_and_not_read(tmp_path: Path) -> None:
    """A resource, and a number that is no type."""
    reader = opened(
        V1File().add(b"r", 20, [], [], proto=b"").add(b"u", 99, [], [], proto=b"").write(tmp_path / "model")
    )

    assert [info.tf_dtype for info in reader.infos()] == ["DT_RESOURCE", "DT_UNKNOWN_99"]
    for name in reader.names():
        with pytest.raises(UnsupportedFeatureError, match="cannot be read"):
            reader.read(name)


@pytest.mark.parametrize(
    "shape",
    [pytest.param([-1], id="negative dimension"), pytest.param([1 << 62, 4], id="too many elements")],
)
def test_v1_shape_that_is_none_is_refused(tmp_path: Path, shape: list[int]) -> None:
    """The list is checked when the file is opened."""
    file = V1File(listed=[tensor_proto(b"w", FLOAT, shape, [])])

    with pytest.raises(CorruptionError) as caught:
        opened(file.write(tmp_path / "model"))
    assert caught.value.tensor == "w"


def test_v1_unknown_rank_is_refused(tmp_path: Path) -> None:
    """A stored tensor has a shape."""
    file = V1File(listed=[tensor_proto(b"w", FLOAT, [], [[]], unknown_rank=True)])

    with pytest.raises(CorruptionError, match="unknown rank"):
        opened(file.write(tmp_path / "model"))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        pytest.param(list_proto([], producer=(1 << 64) - 1), "version -1", id="negative producer"),
        pytest.param(list_proto([], min_consumer=2), "readers of version 2 and newer", id="newer readers only"),
        pytest.param(list_proto([], bad_consumer=1), "told not to read", id="this reader not"),
    ],
)
def test_v1_version_that_this_reader_may_not_read_is_refused(tmp_path: Path, head: bytes, message: str) -> None:
    """The same three checks as TensorFlow's."""
    with pytest.raises(UnsupportedFeatureError, match=message):
        opened(V1File(head=head).write(tmp_path / "model"))


@pytest.mark.parametrize(
    "head", [list_proto([], producer=100), list_proto([], producer=0), list_proto([], min_consumer=1, bad_consumer=2)]
)
def test_v1_version_of_a_newer_or_older_writer_is_read(tmp_path: Path, head: bytes) -> None:
    """The nearest accepted neighbours of the refused ones."""
    assert opened(V1File(head=head).write(tmp_path / "model")).names() == ()


@pytest.mark.parametrize("head", [b"", builders.header_proto()], ids=["empty value", "header of a V2 bundle"])
def test_v1_table_without_a_list_is_refused(tmp_path: Path, head: bytes) -> None:
    """A table whose empty key holds something else is no V1 checkpoint."""
    with pytest.raises(CorruptionError, match="without a list of tensors"):
        opened(V1File(head=head).write(tmp_path / "model"))


def test_v1_block_checksum_is_always_compared(tmp_path: Path) -> None:
    """A flipped bit in a record is found, also with verify=False, since blocks are read whole."""
    file = V1File().add(b"w", FLOAT, [2], [1.0, 2.0]).add(b"x", FLOAT, [2], [3.0, 4.0])
    data = bytearray(file.bytes(per_block=2))
    data[data.index(np.float32(4.0).tobytes())] ^= 1
    (tmp_path / "model").write_bytes(data)
    reader = opened(tmp_path / "model")

    assert reader.read("w").tolist() == [1.0, 2.0]
    with pytest.raises(ChecksumError):
        reader.read("x", verify=False)


def test_v1_salvage_reports_records_that_no_list_has(tmp_path: Path) -> None:
    """Such a record is harmless to reading; a walk over the file names it."""
    file = matrix()
    file.records[builders.slice_key(b"lost", [None])] = record_proto(b"lost", [None], values_proto(INT32, [1]))
    file.records[b"zzz"] = b""
    reader = opened(file.write(tmp_path / "model"))

    names, errors = reader.salvage()

    assert names == ("m",)
    assert [error.tensor for error in errors] == ["lost", None]
    assert "record of slice - is in no list" in str(errors[0])
    assert "is none of a record" in str(errors[1])


def test_v1_close_leaves_arrays_valid(tmp_path: Path) -> None:
    """What was read is a copy."""
    reader = opened(matrix().write(tmp_path / "model"))
    array = reader.read("m")

    reader.close()

    assert array.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Sound bytes with a piece replaced by another."""
    start = draw(st.integers(0, len(sound)))
    stop = draw(st.integers(start, min(len(sound), start + 3)))
    return sound[:start] + draw(st.binary(max_size=3)) + sound[stop:]


@given(damaged(list_proto(matrix().add(b"s", STRING, [2], [b"x", b""]).listed)))
def test_v1_list_that_is_damaged_gives_tensors_or_our_errors(head: bytes) -> None:
    """With its block's checksum right, whatever the list says is refused by a rule or read."""
    file = matrix().add(b"s", STRING, [2], [b"x", b""])
    file.head = head

    assert_readable_or_refused(file)


@given(damaged(record_proto(b"m", ROWS[1], values_proto(FLOAT, [2.0, 3.0, 4.0, 5.0]))))
def test_v1_record_that_is_damaged_gives_values_or_our_errors(record: bytes) -> None:
    """The same for a record."""
    file = matrix()
    file.records[builders.slice_key(b"m", ROWS[1])] = record

    assert_readable_or_refused(file)


def assert_readable_or_refused(file: V1File) -> None:
    """Open the file and read every tensor of it; only errors of ours may come."""
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


def test_bytes_of_records_are_not_offered_for_copying(tmp_path: Path) -> None:
    """A V1 checkpoint has no payloads, and says so in the way every reader does; a bundle has one per tensor."""
    V1File().add(b"w", INT32, [], [7]).write(tmp_path / "v1")
    Bundle().add("w", INT32, [], bytes(4)).write(tmp_path, "v2")

    with tfckpt.open(tmp_path / "v1") as v1, tfckpt.open(tmp_path / "v2") as v2:
        (payload,) = v2.reader.payloads("w")
        assert v2.reader.can_copy
        assert (payload.shape, payload.shard_id, payload.offset, payload.nbytes) == ((), 0, 0, 4)
        assert v2.reader.shard_sizes() == {f"{v2.prefix}.data-00000-of-00001": 4}
        assert not v1.reader.can_copy
        assert (v1.reader.num_shards, v1.reader.producer, v1.reader.big_endian) == (1, None, None)
        assert v1.reader.payloads("w") == []
        assert v1.reader.shard_sizes() == {}
        with pytest.raises(TensorNotFoundError):
            v1.reader.payloads("x")
        with pytest.raises(UnsupportedFeatureError):
            v1.reader.read_payload("w", payload)
