"""`tfckpt.save` and `tfckpt.Writer`: every value that can be stored reads back, and others are refused."""

from __future__ import annotations

import os
import pathlib
import tracemalloc
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import tfckpt
from tfckpt._typing import Array
from tfckpt.writing.writer import Writer, save

names = st.text(min_size=1, max_size=12).filter(lambda name: not name.startswith("\0") and _is_encodable(name))
arrays = st.one_of(
    npst.arrays(
        st.sampled_from([">f4", "<f8", ">i2", "u1", "?", ">c8", "<f2", ">u8", "i8", "<c16"]),
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    npst.arrays(object, npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3), elements=st.binary()),
)


def _is_encodable(name: str) -> bool:
    try:
        return bool(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def strings(*values: bytes) -> Array:
    """Return a vector of byte strings."""
    array: Array = np.empty(len(values), object)
    array[:] = values
    return array


@settings(deadline=None)  # the disk may be slow
@given(st.dictionaries(names, arrays, max_size=5), st.integers(1, 3), st.sampled_from([1, 8]))
def test_save_of_any_arrays_reads_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Array], shards: int, alignment: int
) -> None:
    """Values are equal bit for bit, in native byte order, with their shapes and types."""
    prefix = tmp_path_factory.mktemp("any") / "ckpt"

    save(tensors, prefix, shards=min(shards, max(len(tensors), 1)), alignment=alignment, durable=False)

    with tfckpt.open(prefix) as checkpoint:
        assert set(checkpoint) == set(tensors)
        for name, expected in tensors.items():
            assert checkpoint[name].dtype == expected.dtype.newbyteorder("=")
            assert checkpoint[name].shape == expected.shape
            if expected.dtype == object:
                assert checkpoint[name].tolist() == expected.tolist()
            else:
                assert checkpoint[name].astype(expected.dtype).tobytes() == expected.tobytes()
        assert checkpoint.missing_files() == {}


@pytest.mark.parametrize(
    "dtype",
    [
        "bfloat16",
        "int4",
        "uint4",
        "int2",
        "uint2",
        "float4_e2m1fn",
        "float8_e5m2",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e4m3b11fnuz",
        "float8_e5m2fnuz",
    ],
)
def test_types_of_ml_dtypes_are_saved(dtype: str, tmp_path: pathlib.Path) -> None:
    """An element narrower than a byte is stored as one byte whose upper bits are zero."""
    array = np.array([[1, 0], [-1 if not dtype.startswith("u") else 1, 1]]).astype(getattr(ml_dtypes, dtype))

    save({"x": array}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["x"].dtype == array.dtype
        assert checkpoint["x"].tolist() == array.tolist()
    payload = (tmp_path / "ckpt.data-00000-of-00001").read_bytes()
    bits = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}.get(dtype, 8)
    assert array.dtype.itemsize == 2 or max(payload) < 1 << bits


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-1],
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.broadcast_to(np.float32(3), (2, 2)),
        np.arange(6, dtype=">f4").reshape(2, 3).T,
        np.frombuffer(bytes(16), np.float32),
        np.float32(2.5),
        np.zeros((0, 3), np.float32),
    ],
    ids=["strided", "fortran", "broadcast", "big-endian transposed", "read-only", "scalar", "empty"],
)
def test_memory_layout_does_not_matter(array: Array, tmp_path: pathlib.Path) -> None:
    """Values are stored in C order, little-endian."""
    save({"x": array}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["x"].dtype == np.float32
        assert checkpoint["x"].shape == array.shape
        assert checkpoint["x"].tolist() == array.tolist()


def test_bytes_are_saved_as_a_scalar_string(tmp_path: pathlib.Path) -> None:
    """Trailing zeros are kept, which NumPy's own strings lose."""
    save({"one": b"ends in zeros\0\0", "many": strings(b"", b"\0", "é".encode())}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["one"][()] == b"ends in zeros\0\0"
        assert checkpoint["many"].tolist() == [b"", b"\0", "é".encode()]


def test_quantized_type_is_set_by_the_caller(tmp_path: pathlib.Path) -> None:
    """Only an array of the matching integer type can be stored as one."""
    with Writer(tmp_path / "ckpt") as writer:
        writer.add("a", np.array([1, -1], np.int8), tf_dtype="qint8")
        writer.add("b", np.array([1, -1], np.int8), tf_dtype="DT_INT8")
        with pytest.raises(TypeError, match="'c'"):
            writer.add("c", np.array([1], np.uint8), tf_dtype="qint8")
        with pytest.raises(ValueError, match="'c'"):
            writer.add("c", np.array([1], np.int8), tf_dtype="q8")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert [info.tf_dtype for info in checkpoint.infos()] == ["DT_QINT8", "DT_INT8"]


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, np.longdouble),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "m8[s]"),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "V4"),
        np.zeros(2, "S4"),
        np.zeros(2, "U4"),
        np.array(["text"], object),
        np.array([b"ok", 3], object),
        np.ma.masked_array([1.0], [True]),
        0.5,
        [1, 2],
        "text",
        None,
    ],
    ids=[
        "longdouble",
        "datetime",
        "timedelta",
        "structured",
        "void",
        "S",
        "U",
        "object-str",
        "object-int",
        "masked",
        "float",
        "list",
        "str",
        "None",
    ],
)
def test_value_without_a_type_of_tensorflow_is_refused(value: object, tmp_path: pathlib.Path) -> None:
    """The error has the name; the writer can still be used, also with the same name."""
    with Writer(tmp_path / "ckpt") as writer:
        with pytest.raises(TypeError, match="'x'"):
            writer.add("x", value)
        writer.add("x", np.float32(1))

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert list(checkpoint) == ["x"]


@pytest.mark.parametrize(
    "name", ["", "taken", "\0x", "\ud800"], ids=["empty", "duplicate", "leading NUL", "lone surrogate"]
)
def test_name_that_cannot_be_stored_is_refused(name: str, tmp_path: pathlib.Path) -> None:
    """Later zero bytes, other control characters, and bytes that are not UTF-8 are accepted."""
    with Writer(tmp_path / "ckpt") as writer:
        writer.add("taken", np.float32(1))
        with pytest.raises(ValueError):
            writer.add(name, np.float32(1))
        for accepted in ("x\0y", "\n", "\udcff"):
            writer.add(accepted, np.float32(1))

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert set(checkpoint) == {"taken", "x\0y", "\n", "\udcff"}


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_no_files(kind: type[BaseException], tmp_path: pathlib.Path) -> None:
    """For example one from the generator of the tensors."""

    def failing() -> Iterator[tuple[str, object]]:
        yield "a", np.zeros(1000)
        raise kind

    with pytest.raises(kind):
        save(failing(), tmp_path / "ckpt")

    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_a_write_error_and_leaves_no_files(tmp_path: pathlib.Path, small_disk: int) -> None:
    """A checkpoint that just fits is written."""
    with pytest.raises(tfckpt.WriteError) as caught:
        save({"a": np.zeros(small_disk - 8, np.uint8), "b": np.zeros(9, np.uint8)}, tmp_path / "ckpt")
    assert caught.value.path == str(tmp_path / "ckpt.data-00000-of-00001")
    assert list(tmp_path.iterdir()) == []

    save({"a": np.zeros(small_disk - 8, np.uint8), "b": np.zeros(8, np.uint8)}, tmp_path / "ckpt")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder")
def test_folder_without_write_permission_is_a_write_error(tmp_path: pathlib.Path) -> None:
    """The cause is the error of the system."""
    tmp_path.chmod(0o500)
    with pytest.raises(tfckpt.WriteError) as caught:
        save({"a": np.zeros(1)}, tmp_path / "ckpt")
    tmp_path.chmod(0o700)
    assert isinstance(caught.value.__cause__, PermissionError)


def test_memory_stays_at_one_tensor(tmp_path: pathlib.Path) -> None:
    """40 tensors of a mebibyte, each copied once because it is strided, take less than eight mebibytes at any time."""

    def generate() -> Iterator[tuple[str, Any]]:
        for number in range(40):
            yield f"{number:02d}", np.full((512, 512), number, np.float32).T

    save({"warm": np.zeros(1)}, tmp_path / "warm")
    tracemalloc.start()
    save(generate(), tmp_path / "ckpt", shards=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20
    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert all((checkpoint[name] == int(name)).all() for name in checkpoint)


@pytest.mark.parametrize("kind", [dict, list], ids=["known", "streamed"])
def test_shards_are_at_most_one_for_each_tensor(kind: type, tmp_path: pathlib.Path) -> None:
    """A typing error does not create thousands of files, not even for a while; two shards for two tensors are right."""
    tensors = {"a": np.zeros(2), "b": np.zeros(3)}
    pairs = tensors if kind is dict else iter(tensors.items())

    with pytest.raises(ValueError, match="100,000 data shards for 2 tensors"):
        save(pairs, tmp_path / "many", shards=100_000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="3 data shards for 1 tensor"), Writer(tmp_path / "many", shards=3) as writer:
        writer.add("a", np.zeros(2))
    assert list(tmp_path.iterdir()) == []

    save(tensors, tmp_path / "two", shards=2)
    with tfckpt.open(tmp_path / "two") as checkpoint:
        assert [info.shard for info in checkpoint.infos()] == [0, 1]


def test_shards_that_the_caller_leaves_empty_are_written(tmp_path: pathlib.Path) -> None:
    """A tensor whose shard is named may be the only one."""
    with Writer(tmp_path / "ckpt", shards=3) as writer:
        writer.add("a", np.zeros(2), shard=2)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint.info("a").shard == 2
        assert len(checkpoint.files) == 4
        assert not checkpoint.missing_files()


def test_slices_are_written_one_by_one(tmp_path: pathlib.Path) -> None:
    """A slice has the text form of TensorFlow, and the array must have the shape of the slice."""
    whole = np.arange(12, dtype=np.int32).reshape(3, 4)
    with Writer(tmp_path / "ckpt", shards=2) as writer:
        writer.add_slice("w", whole[:2], (3, 4), "0,2:-", shard=0)
        with pytest.raises(ValueError, match="'w'"):
            writer.add_slice("w", whole[2], (3, 4), "2,1:-")
        with pytest.raises(ValueError, match="'2:-'"):
            writer.add_slice("w", whole[2:], (3, 4), "2:-")
        writer.add_slice("w", whole[2:], (3, 4), tfckpt.TensorSlice(((2, 1), (0, 4))), shard=1)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert np.array_equal(checkpoint["w"], whole)
        assert list(map(str, checkpoint.info("w").slices)) == ["0,2:-", "2,1:0,4"]


def test_save_copies_an_open_checkpoint(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """All readable types are kept, also quantized ones."""
    with tfckpt.open(data / "tensorflow" / "dtypes" / "ckpt") as checkpoint:
        save(checkpoint, tmp_path / "ckpt")
        expected = {info.name: (info.tf_dtype, info.shape, info.crc32c) for info in checkpoint.infos()}

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert {info.name: (info.tf_dtype, info.shape, info.crc32c) for info in checkpoint.infos()} == expected


def test_save_over_its_own_source_keeps_the_values(tmp_path: pathlib.Path) -> None:
    """The arrays are views of the replaced files, which exist until the last view is deleted."""
    save({"a": np.arange(5), "b": np.ones(3)}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        save(((name, checkpoint[name]) for name in reversed(list(checkpoint))), tmp_path / "ckpt", overwrite=True)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["a"].tolist() == [0, 1, 2, 3, 4]
        assert checkpoint.info("b").offset == 0


def test_state_file_names_the_new_checkpoint_alone(tmp_path: pathlib.Path) -> None:
    """Its path is relative, as after `tf.train.Checkpoint.save`; the state file is not changed if so requested."""
    save({"a": np.zeros(1)}, tmp_path / "ckpt-1")
    save({"a": np.zeros(1)}, tmp_path / "ckpt-2")
    save({"a": np.zeros(1)}, tmp_path / "ckpt-3", checkpoint_state=False)

    assert (tmp_path / "checkpoint").read_bytes() == (
        b'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-2"\n'
    )
    assert tfckpt.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-2")


def test_state_file_keeps_older_checkpoints_on_request(tmp_path: pathlib.Path) -> None:
    """The new one is the last; a state file that does not parse is refused before anything is written."""
    for name in ("ckpt-1", "ckpt-2", "ckpt-1"):
        save({"a": np.zeros(1)}, tmp_path / name, checkpoint_state="keep", overwrite=True)
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n'
    )

    (tmp_path / "checkpoint").write_text("not a state file")
    with pytest.raises(tfckpt.CorruptionError):
        save({"a": np.zeros(1)}, tmp_path / "ckpt-4", checkpoint_state="keep")
    assert not (tmp_path / "ckpt-4.index").exists()
    save({"a": np.zeros(1)}, tmp_path / "ckpt-4")


def test_invalid_option_is_refused(tmp_path: pathlib.Path) -> None:
    """Nothing is written."""
    with pytest.raises(ValueError, match="checkpoint_state"):
        Writer(tmp_path / "ckpt", checkpoint_state="all")  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(TypeError, match="object_graph"):
        save({}, tmp_path / "ckpt", object_graph="yes")  # type: ignore[arg-type]  # the mistake that is tested
    assert list(tmp_path.iterdir()) == []


def test_writer_can_be_closed_explicitly(tmp_path: pathlib.Path) -> None:
    """The end of the block does nothing then."""
    with Writer(tmp_path / "a") as writer:
        writer.add("x", np.zeros(1))
        writer.close()
    writer = Writer(tmp_path / "b")
    writer.add("x", np.zeros(1))
    writer.abort()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.data-00000-of-00001", "a.index", "checkpoint"]


def test_checkpoint_without_tensors_can_be_written(tmp_path: pathlib.Path) -> None:
    """Like TensorFlow's, it has a header and an empty data shard."""
    assert save({}, tmp_path / "ckpt") == str(tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert list(checkpoint) == []
