"""Reading V1 checkpoints: lists of tensors, records, slices, shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.arrays import digest
from tests.builders import FLOAT, INT32, STRING, Bundle
from tests.tfckpt.recorded import TENSORFLOW, Record, expected
from tests.tfckpt.v1.v1_files import ROWS, V1File, list_proto, matrix_file, record_proto, tensor_proto, values_proto
from tfckpt.errors import (
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    LimitExceededError,
    TensorNotFoundError,
    UnsupportedFeatureError,
)
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.storage.local import LocalStorage
from tfckpt.v1.reader import V1Reader


def open_v1(path: Path | str, limits: Limits = DEFAULT_LIMITS) -> V1Reader:
    """Open a local file or pattern."""
    return V1Reader(LocalStorage(), str(path), limits)


def write_shards(folder: Path) -> Path:
    """Write the same matrix to two shards, each with a tensor of its own, and return the pattern."""
    for number, (extents, values) in enumerate([(ROWS[0], [0.0, 1.0]), (ROWS[1], [2.0, 3.0, 4.0, 5.0])]):
        file = V1File().add_slices(b"m", FLOAT, [3, 2], [(extents, values)]).add(b"own%d" % number, INT32, [], [number])
        file.write(folder / f"model-{number:05d}-of-00002")
    return folder / "model-?????-of-00002"


def recorded_cases() -> list[tuple[str, Record]]:
    """Return every V1 checkpoint that TensorFlow wrote, with the record of what it read."""
    cases = expected("v1")["checkpoints"]
    return [(prefix, case) for case in cases for prefix in (case["prefix"], *case.get("also", []))]


@pytest.mark.parametrize(("prefix", "case"), recorded_cases(), ids=[prefix for prefix, _ in recorded_cases()])
def test_v1_reads_what_tensorflow_reads(prefix: str, case: Record) -> None:
    """The cases have all types, slices, shards, and Snappy blocks."""
    reader = open_v1(TENSORFLOW / "v1" / prefix)

    tensors = {name: (list(reader.read(name).shape), digest(reader.read(name))) for name in reader.names()}

    assert tensors == {tensor["name"]: (tensor["shape"], tensor["sha256"]) for tensor in case["tensors"]}
    assert reader.missing_shards() == {}
    assert reader.salvage() == (reader.names(), [])


def test_v1_names_are_sorted_by_their_bytes(tmp_path: Path) -> None:
    """The order in the list does not matter; names need not be valid UTF-8."""
    file = V1File()
    for name in (b"b", b"a", b"\xff", "ä".encode()):
        file.add(name, INT32, [2], [1, -1])

    reader = open_v1(file.write(tmp_path / "model"))

    assert reader.names() == ("a", "b", "ä", "\udcff")
    assert [info.name for info in reader.infos()] == list(reader.names())
    assert "ä" in reader
    assert "c" not in reader
    assert reader.read("\udcff").tolist() == [1, -1]


def test_v1_info_comes_from_the_list(tmp_path: Path) -> None:
    """It has the size in memory, 0 for strings, but no offset and no checksum; `slices` may be empty."""
    file = matrix_file().add(b"w", FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0]).add(b"s", STRING, [1], [b"text"])

    reader = open_v1(file.write(tmp_path / "model"))

    whole, sliced, strings = reader.info("w"), reader.info("m"), reader.info("s")
    assert (whole.shape, whole.tf_dtype, whole.nbytes, whole.shard) == ((2, 2), "DT_FLOAT", 16, 0)
    assert (whole.offset, whole.crc32c, whole.slices) == (None, None, ())
    assert (sliced.nbytes, sliced.shard, [str(piece) for piece in sliced.slices]) == (24, None, ["0,1:-", "1,2:-"])
    assert strings.nbytes == 0


def test_v1_arrays_are_read_only(tmp_path: Path) -> None:
    """The same holds for every format."""
    reader = open_v1(matrix_file().add(b"w", INT32, [2], [1, 2]).write(tmp_path / "model"))

    assert not reader.read("w").flags.writeable
    assert not reader.read("m").flags.writeable
    assert not reader.read("m", index=np.s_[1]).flags.writeable


@pytest.mark.parametrize("index", [np.s_[1], np.s_[0:2, 1], np.s_[..., ::-1], np.s_[2:2], np.s_[-1, -1]], ids=str)
def test_v1_part_is_the_part_of_the_whole(tmp_path: Path, index: Any) -> None:
    """This holds for a tensor in slices and for one in a single record."""
    reader = open_v1(matrix_file().add(b"w", FLOAT, [3, 2], range(6)).write(tmp_path / "model"))
    full = np.arange(6, dtype=np.float32).reshape(3, 2)

    assert np.array_equal(reader.read("m", index=index), full[index])
    assert np.array_equal(reader.read("w", index=index), full[index])


def test_v1_part_needs_only_its_slices(tmp_path: Path) -> None:
    """If the record of another slice is missing, only the whole tensor cannot be read."""
    file = matrix_file()
    del file.records[builders.slice_key(b"m", ROWS[1])]
    reader = open_v1(file.write(tmp_path / "model"))

    assert reader.read("m", index=0).tolist() == [0.0, 1.0]
    with pytest.raises(CorruptionError, match="slice 1,2:-") as caught:
        reader.read("m")
    assert (caught.value.path, caught.value.tensor) == (str(tmp_path / "model"), "m")


def test_v1_shards_are_one_checkpoint(tmp_path: Path) -> None:
    """The slices of a tensor may be in several files."""
    reader = open_v1(write_shards(tmp_path))

    assert reader.names() == ("m", "own0", "own1")
    assert reader.read("m").tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert reader.info("own1").shard == 1
    assert reader.files == (str(tmp_path / "model-00000-of-00002"), str(tmp_path / "model-00001-of-00002"))


def test_v1_missing_shard_is_listed_with_its_tensors(tmp_path: Path) -> None:
    """Reading one of these tensors is an error, but other tensors can be read."""
    pattern = write_shards(tmp_path)
    missing = tmp_path / "model-00001-of-00002"
    missing.unlink()
    reader = open_v1(pattern)

    assert reader.names() == ("m", "own0")
    assert reader.missing_shards() == {str(missing): ("m",)}
    assert reader.read("own0") == 0
    with pytest.raises(CheckpointNotFoundError, match="model-00001-of-00002") as lacking:
        reader.read("m")
    assert lacking.value.tensor == "m"
    with pytest.raises(TensorNotFoundError, match="model-00001-of-00002") as unknown:
        reader.read("own1")
    assert unknown.value.tensor == "own1"


def test_v1_without_any_shard_is_not_found(tmp_path: Path) -> None:
    """No file matches the pattern."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        open_v1(tmp_path / "model-?????-of-00002")

    assert caught.value.path == str(tmp_path / "model-?????-of-00002")


def test_v1_shards_are_limited(tmp_path: Path) -> None:
    """The number of shards in the name of a file may be wrong."""
    pattern = write_shards(tmp_path)

    assert open_v1(pattern, Limits(max_shards=2)).names()
    with pytest.raises(LimitExceededError) as caught:
        open_v1(pattern, Limits(max_shards=1))

    assert (caught.value.limit, caught.value.claimed) == ("max_shards", 2)


def test_v1_error_for_an_unknown_name_offers_close_names(tmp_path: Path) -> None:
    """They are in an attribute and in the message."""
    reader = open_v1(V1File().add(b"kernel", INT32, [], [1]).write(tmp_path / "model"))

    with pytest.raises(TensorNotFoundError, match="kernel") as caught:
        reader.info("kernels")

    assert (caught.value.tensor, caught.value.close_names) == ("kernels", ("kernel",))


def test_v1_tensor_stored_twice_is_refused(tmp_path: Path) -> None:
    """If two shards contain the same whole tensor, the error names both, and other tensors can be read."""
    for number in range(2):
        V1File().add(b"w", INT32, [], [1]).add(b"own%d" % number, INT32, [], [number]).write(
            tmp_path / f"twice-{number:05d}-of-00002"
        )
    reader = open_v1(tmp_path / "twice-?????-of-00002")

    assert reader.read("own1") == 1
    with pytest.raises(CorruptionError, match=r"twice-00000.*twice-00001"):
        reader.read("w")


@pytest.mark.parametrize(
    ("dtype", "shape"), [pytest.param(INT32, [3, 2], id="type"), pytest.param(FLOAT, [3, 3], id="shape")]
)
def test_v1_shards_that_disagree_are_refused(tmp_path: Path, dtype: int, shape: list[int]) -> None:
    """If two shards list a tensor with different types or shapes, the checkpoint cannot be opened."""
    pattern = write_shards(tmp_path)
    assert open_v1(pattern).names()

    V1File(listed=[tensor_proto(b"m", dtype, shape, [ROWS[1]])]).write(tmp_path / "model-00001-of-00002")

    with pytest.raises(CorruptionError) as caught:
        open_v1(pattern)
    assert (caught.value.path, caught.value.tensor) == (str(tmp_path / "model-00001-of-00002"), "m")


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([[(0, 2), None], [(1, 2), None]], id="overlap"),
        pytest.param([[(0, 1), None], [(2, 1), None]], id="hole"),
        pytest.param([[(0, 1), None], [(1, 3), None]], id="past the shape"),
        pytest.param([[(0, 1)], [(1, 2)]], id="different rank"),
    ],
)
def test_v1_slices_that_do_not_cover_the_tensor_once_are_refused(
    tmp_path: Path, pieces: list[builders.Extents]
) -> None:
    """Listing still works, and a valid file can be read."""
    valid = open_v1(matrix_file().write(tmp_path / "valid"))
    file = V1File().add_slices(b"m", FLOAT, [3, 2], [(extents, [0.0] * 4) for extents in pieces])
    reader = open_v1(file.write(tmp_path / "model"))

    assert valid.read("m").shape == (3, 2)
    assert reader.names() == ("m",)
    with pytest.raises(CorruptionError) as caught:
        reader.read("m")
    assert caught.value.tensor == "m"


def test_v1_slices_are_limited(tmp_path: Path) -> None:
    """Checking them takes time."""
    path = matrix_file().write(tmp_path / "model")

    assert open_v1(path, Limits(max_slices=2)).names()
    with pytest.raises(LimitExceededError) as caught:
        open_v1(path, Limits(max_slices=1))

    assert (caught.value.limit, caught.value.claimed, caught.value.tensor) == ("max_slices", 2, "m")


def test_v1_huge_claimed_shape_allocates_no_memory(tmp_path: Path) -> None:
    """Two slices claim 2**51 elements in a few bytes."""
    half = 1 << 50
    pieces = [([(0, half)], [1.0]), ([(half, half)], [2.0])]
    reader = open_v1(V1File().add_slices(b"m", FLOAT, [2 * half], pieces).write(tmp_path / "model"))

    assert reader.info("m").nbytes == 1 << 53
    with pytest.raises(CorruptionError) as caught:
        reader.read("m")
    assert caught.value.tensor == "m"


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(values_proto(FLOAT, [1.0]), id="too few"),
        pytest.param(values_proto(FLOAT, [1.0] * 3), id="too many"),
        pytest.param(values_proto(INT32, [1, 2]), id="other field"),
        pytest.param(builders.field_bytes(4, bytes(8)), id="content instead of values"),
        pytest.param(b"\xff", id="not a message"),
    ],
)
def test_v1_record_with_wrong_values_is_refused(tmp_path: Path, proto: bytes) -> None:
    """There must be exactly one value per element, in the field for the type."""
    valid = open_v1(V1File().add(b"w", FLOAT, [2], [1.0, 2.0]).write(tmp_path / "valid"))
    reader = open_v1(V1File().add(b"w", FLOAT, [2], [], proto=proto).write(tmp_path / "model"))

    assert valid.read("w").tolist() == [1.0, 2.0]
    with pytest.raises(CorruptionError) as caught:
        reader.read("w")
    assert (caught.value.tensor, caught.value.path) == ("w", str(tmp_path / "model"))


def test_v1_unpacked_values_are_read(tmp_path: Path) -> None:
    """Old writers may encode each number as a separate field."""
    proto = b"".join(builders.field_varint(7, value, keep_zero=True) for value in (0, 5, -2))
    reader = open_v1(V1File().add(b"w", INT32, [3], [], proto=proto).write(tmp_path / "model"))

    assert reader.read("w").tolist() == [0, 5, -2]


@pytest.mark.parametrize(
    ("name", "extents"),
    [pytest.param(b"other", [None], id="name"), pytest.param(b"w", [(0, 2)], id="slice")],
)
def test_v1_record_of_another_tensor_or_slice_is_refused(
    tmp_path: Path, name: bytes, extents: builders.Extents
) -> None:
    """A record contains the name and the slice, which must agree with its key."""
    file = V1File().add(b"w", INT32, [2], [1, 2])
    file.records[builders.slice_key(b"w", [None])] = record_proto(name, extents, values_proto(INT32, [1, 2]))
    reader = open_v1(file.write(tmp_path / "model"))

    with pytest.raises(CorruptionError) as caught:
        reader.read("w")
    assert caught.value.tensor == "w"


def test_v1_unsupported_type_is_listed_but_cannot_be_read(tmp_path: Path) -> None:
    """The types are a resource and an unknown number."""
    reader = open_v1(
        V1File().add(b"r", 20, [], [], proto=b"").add(b"u", 99, [], [], proto=b"").write(tmp_path / "model")
    )

    assert [info.tf_dtype for info in reader.infos()] == ["DT_RESOURCE", "DT_UNKNOWN_99"]
    for name in reader.names():
        with pytest.raises(UnsupportedFeatureError) as caught:
            reader.read(name)
        assert caught.value.tensor == name


@pytest.mark.parametrize(
    "shape",
    [pytest.param([-1], id="negative dimension"), pytest.param([1 << 62, 4], id="too many elements")],
)
def test_v1_invalid_shape_is_refused(tmp_path: Path, shape: list[int]) -> None:
    """The list is checked when the file is opened."""
    file = V1File(listed=[tensor_proto(b"w", FLOAT, shape, [])])

    with pytest.raises(CorruptionError) as caught:
        open_v1(file.write(tmp_path / "model"))
    assert caught.value.tensor == "w"


def test_v1_unknown_rank_is_refused(tmp_path: Path) -> None:
    """A stored tensor must have a shape."""
    file = V1File(listed=[tensor_proto(b"w", FLOAT, [], [[]], unknown_rank=True)])

    with pytest.raises(CorruptionError) as caught:
        open_v1(file.write(tmp_path / "model"))
    assert caught.value.tensor == "w"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(list_proto([], producer=(1 << 64) - 1), id="negative producer"),
        pytest.param(list_proto([], min_consumer=2), id="newer readers only"),
        pytest.param(list_proto([], bad_consumer=1), id="excludes this reader"),
    ],
)
def test_v1_unsupported_version_is_refused(tmp_path: Path, head: bytes) -> None:
    """TensorFlow has the same three rules."""
    with pytest.raises(UnsupportedFeatureError) as caught:
        open_v1(V1File(head=head).write(tmp_path / "model"))
    assert caught.value.path == str(tmp_path / "model")


@pytest.mark.parametrize(
    "head", [list_proto([], producer=100), list_proto([], producer=0), list_proto([], min_consumer=1, bad_consumer=2)]
)
def test_v1_supported_version_is_read(tmp_path: Path, head: bytes) -> None:
    """Older and newer writers are supported if they allow this reader."""
    assert open_v1(V1File(head=head).write(tmp_path / "model")).names() == ()


@pytest.mark.parametrize("head", [b"", builders.header_proto()], ids=["empty value", "header of a V2 bundle"])
def test_v1_table_without_a_list_is_refused(tmp_path: Path, head: bytes) -> None:
    """A table with another value at the empty key is not a V1 checkpoint."""
    with pytest.raises(CorruptionError) as caught:
        open_v1(V1File(head=head).write(tmp_path / "model"))
    assert caught.value.path == str(tmp_path / "model")


def test_v1_block_checksum_is_always_verified(tmp_path: Path) -> None:
    """A flipped bit in a record is detected even with `verify=False`, since blocks are read completely."""
    file = V1File().add(b"w", FLOAT, [2], [1.0, 2.0]).add(b"x", FLOAT, [2], [3.0, 4.0])
    data = bytearray(file.bytes(per_block=2))
    data[data.index(np.float32(4.0).tobytes())] ^= 1
    (tmp_path / "model").write_bytes(data)
    reader = open_v1(tmp_path / "model")

    assert reader.read("w").tolist() == [1.0, 2.0]
    with pytest.raises(ChecksumError):
        reader.read("x", verify=False)


def test_v1_salvage_reports_unlisted_records(tmp_path: Path) -> None:
    """They do not affect reading."""
    file = matrix_file()
    file.records[builders.slice_key(b"lost", [None])] = record_proto(b"lost", [None], values_proto(INT32, [1]))
    file.records[b"zzz"] = b""
    reader = open_v1(file.write(tmp_path / "model"))

    names, errors = reader.salvage()

    assert names == ("m",)
    assert [(type(error), error.tensor) for error in errors] == [(CorruptionError, "lost"), (CorruptionError, None)]
    assert "b'zzz'" in str(errors[1])


def test_v1_close_leaves_arrays_valid(tmp_path: Path) -> None:
    """Arrays are copies."""
    reader = open_v1(matrix_file().write(tmp_path / "model"))
    array = reader.read("m")

    reader.close()

    assert array.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def test_v1_checkpoint_has_no_payloads(tmp_path: Path) -> None:
    """A bundle has one payload per tensor, which can be copied."""
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
