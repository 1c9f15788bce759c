"""`tfckpt.save` and `tfckpt.Writer`: every storable value goes out and comes back, and nothing else goes out."""

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
    """A vector of byte strings."""
    array: Array = np.empty(len(values), object)
    array[:] = values
    return array


@settings(deadline=None)  # a slow disk is no fault of ours
@given(st.dictionaries(names, arrays, max_size=5), st.integers(1, 3), st.sampled_from([1, 8]))
def test_save_of_any_arrays_reads_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Array], shards: int, alignment: int
) -> None:
    """Values bit for bit in native byte order, shapes and types, and no damage that verification finds."""
    prefix = tmp_path_factory.mktemp("any") / "ckpt"

    save(tensors, prefix, shards=shards, alignment=alignment, durable=False)

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
def test_save_takes_the_types_that_numpy_lacks(dtype: str, tmp_path: pathlib.Path) -> None:
    """Those of ml_dtypes; the ones narrower than a byte get one byte each with upper bits of zero."""
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
    """What is stored is the values in C order, little-endian."""
    save({"x": array}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["x"].dtype == np.float32
        assert checkpoint["x"].shape == array.shape
        assert checkpoint["x"].tolist() == array.tolist()


def test_bytes_are_a_scalar_string(tmp_path: pathlib.Path) -> None:
    """With the zeros at their end, which NumPy's own strings lose."""
    save({"one": b"ends in zeros\0\0", "many": strings(b"", b"\0", "é".encode())}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["one"][()] == b"ends in zeros\0\0"
        assert checkpoint["many"].tolist() == [b"", b"\0", "é".encode()]


def test_quantized_types_are_named(tmp_path: pathlib.Path) -> None:
    """An integer array is stored as what the caller says it is the payload of; other arrays cannot be."""
    with Writer(tmp_path / "ckpt") as writer:
        writer.add("a", np.array([1, -1], np.int8), tf_dtype="qint8")
        writer.add("b", np.array([1, -1], np.int8), tf_dtype="DT_INT8")
        with pytest.raises(TypeError, match="'c': an array of uint8 cannot be stored as qint8"):
            writer.add("c", np.array([1], np.uint8), tf_dtype="qint8")
        with pytest.raises(ValueError, match="'c': TensorFlow has no data type 'q8'"):
            writer.add("c", np.array([1], np.int8), tf_dtype="q8")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert [info.tf_dtype for info in checkpoint.infos()] == ["DT_QINT8", "DT_INT8"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, np.longdouble), "no data type for NumPy's (float128|longdouble)"),
        (np.zeros(2, "M8[s]"), "no data type for NumPy's datetime64"),
        (np.zeros(2, "m8[s]"), "no data type for NumPy's timedelta64"),
        (np.zeros(2, [("a", "f4")]), "no data type for NumPy's"),
        (np.zeros(2, "V4"), "no data type for NumPy's"),
        (np.zeros(2, "S4"), "an object array of bytes can hold them"),
        (np.zeros(2, "U4"), "an object array of bytes can hold them"),
        (np.array(["text"], object), "holds a str, expected bytes; encode it first"),
        (np.array([b"ok", 3], object), "holds a int, expected bytes"),
        (np.ma.masked_array([1.0], [True]), "masked array"),
        (0.5, "a dtype is never guessed"),
        ([1, 2], "a dtype is never guessed"),
        ("text", "a dtype is never guessed"),
        (None, "a dtype is never guessed"),
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
def test_value_that_tensorflow_has_no_type_for_is_refused(value: object, message: str, tmp_path: pathlib.Path) -> None:
    """By name, before anything is written for it; the writer goes on."""
    with Writer(tmp_path / "ckpt") as writer:
        with pytest.raises(TypeError, match=f"'x'.*{message}"):
            writer.add("x", value)
        writer.add("x", np.float32(1))

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert list(checkpoint) == ["x"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "must not be empty"), ("taken", "added before"), ("\0x", "begins with a zero byte"), ("\ud800", "no bytes")],
    ids=["empty", "duplicate", "NUL in front", "lone surrogate"],
)
def test_name_that_cannot_be_stored_is_refused(name: str, message: str, tmp_path: pathlib.Path) -> None:
    """Zero bytes further on, other controls and bytes that are not UTF-8, as the reader gives them, are names."""
    with Writer(tmp_path / "ckpt") as writer:
        writer.add("taken", np.float32(1))
        with pytest.raises(ValueError, match=message):
            writer.add(name, np.float32(1))
        for accepted in ("x\0y", "\n", "\udcff"):
            writer.add(accepted, np.float32(1))

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert set(checkpoint) == {"taken", "x\0y", "\n", "\udcff"}


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_exception_in_the_block_leaves_nothing(kind: type[BaseException], tmp_path: pathlib.Path) -> None:
    """Also one from the generator that the tensors come from."""

    def failing() -> Iterator[tuple[str, object]]:
        yield "a", np.zeros(1000)
        raise kind

    with pytest.raises(kind):
        save(failing(), tmp_path / "ckpt")

    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_error_and_leaves_nothing(tmp_path: pathlib.Path, small_disk: int) -> None:
    """The tensor that does not fit ends the writer; a checkpoint of the size that fits is written."""
    with pytest.raises(tfckpt.WriteError, match=r"ckpt\.data-00000-of-00001: cannot write the file: File too large"):
        save({"a": np.zeros(small_disk - 8, np.uint8), "b": np.zeros(9, np.uint8)}, tmp_path / "ckpt")
    assert list(tmp_path.iterdir()) == []

    save({"a": np.zeros(small_disk - 8, np.uint8), "b": np.zeros(8, np.uint8)}, tmp_path / "ckpt")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder")
def test_folder_that_may_not_be_written_is_one_error(tmp_path: pathlib.Path) -> None:
    """The system's reason stands in the message."""
    tmp_path.chmod(0o500)
    with pytest.raises(tfckpt.WriteError, match="Permission denied"):
        save({"a": np.zeros(1)}, tmp_path / "ckpt")
    tmp_path.chmod(0o700)


def test_memory_stays_at_one_tensor(tmp_path: pathlib.Path) -> None:
    """40 tensors of a mebibyte, strided so that each is copied once, take less than four mebibytes at any time."""

    def made() -> Iterator[tuple[str, Any]]:
        for number in range(40):
            yield f"{number:02d}", np.full((512, 512), number, np.float32).T

    save({"warm": np.zeros(1)}, tmp_path / "warm")
    tracemalloc.start()
    save(made(), tmp_path / "ckpt", shards=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20
    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert all((checkpoint[name] == int(name)).all() for name in checkpoint)


def test_slices_are_written_one_by_one(tmp_path: pathlib.Path) -> None:
    """The text of a slice is TensorFlow's; the array has the slice's shape."""
    whole = np.arange(12, dtype=np.int32).reshape(3, 4)
    with Writer(tmp_path / "ckpt", shards=2) as writer:
        writer.add_slice("w", whole[:2], (3, 4), "0,2:-", shard=0)
        with pytest.raises(ValueError, match=r"'w': slice 2,1:- of shape \[3, 4\] has shape \[1, 4\]"):
            writer.add_slice("w", whole[2], (3, 4), "2,1:-")
        with pytest.raises(ValueError, match="'2:-'"):
            writer.add_slice("w", whole[2:], (3, 4), "2:-")
        writer.add_slice("w", whole[2:], (3, 4), tfckpt.TensorSlice(((2, 1), (0, 4))), shard=1)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert np.array_equal(checkpoint["w"], whole)
        assert list(map(str, checkpoint.info("w").slices)) == ["0,2:-", "2,1:0,4"]


def test_save_copies_an_open_checkpoint(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Every readable type keeps its TensorFlow name, quantized ones too."""
    with tfckpt.open(data / "tensorflow" / "dtypes" / "ckpt") as checkpoint:
        save(checkpoint, tmp_path / "ckpt")
        expected = {info.name: (info.tf_dtype, info.shape, info.crc32c) for info in checkpoint.infos()}

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert {info.name: (info.tf_dtype, info.shape, info.crc32c) for info in checkpoint.infos()} == expected


def test_save_over_its_own_source_keeps_the_values(tmp_path: pathlib.Path) -> None:
    """The arrays are views of the files that are replaced; those stay until the last view is gone."""
    save({"a": np.arange(5), "b": np.ones(3)}, tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        save(((name, checkpoint[name]) for name in reversed(list(checkpoint))), tmp_path / "ckpt", overwrite=True)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert checkpoint["a"].tolist() == [0, 1, 2, 3, 4]
        assert checkpoint.info("b").offset == 0


def test_state_file_names_the_new_checkpoint_alone(tmp_path: pathlib.Path) -> None:
    """By a relative path, as `tf.train.Checkpoint.save` writes it; no state file is touched on request."""
    save({"a": np.zeros(1)}, tmp_path / "ckpt-1")
    save({"a": np.zeros(1)}, tmp_path / "ckpt-2")
    save({"a": np.zeros(1)}, tmp_path / "ckpt-3", checkpoint_state=False)

    assert (tmp_path / "checkpoint").read_bytes() == (
        b'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-2"\n'
    )
    assert tfckpt.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-2")


def test_state_file_keeps_older_checkpoints_on_request(tmp_path: pathlib.Path) -> None:
    """The new one comes last, once; a state file that does not parse is an error before anything is written."""
    for name in ("ckpt-1", "ckpt-2", "ckpt-1"):
        save({"a": np.zeros(1)}, tmp_path / name, checkpoint_state="keep", overwrite=True)
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n'
    )

    (tmp_path / "checkpoint").write_text("no state file")
    with pytest.raises(tfckpt.CorruptionError):
        save({"a": np.zeros(1)}, tmp_path / "ckpt-4", checkpoint_state="keep")
    assert not (tmp_path / "ckpt-4.index").exists()
    save({"a": np.zeros(1)}, tmp_path / "ckpt-4")


def test_wrong_option_is_refused(tmp_path: pathlib.Path) -> None:
    """The words an option takes are in the message."""
    with pytest.raises(ValueError, match="checkpoint_state is True, False or 'keep', not 'all'"):
        Writer(tmp_path / "ckpt", checkpoint_state="all")  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(TypeError, match="object_graph is an open Checkpoint, True or None, not str"):
        save({}, tmp_path / "ckpt", object_graph="yes")  # type: ignore[arg-type]  # the mistake that is tested
    assert list(tmp_path.iterdir()) == []


def test_writer_ends_by_hand_or_by_its_block(tmp_path: pathlib.Path) -> None:
    """Closed within the block, the end of the block does nothing more."""
    with Writer(tmp_path / "a") as writer:
        writer.add("x", np.zeros(1))
        writer.close()
    writer = Writer(tmp_path / "b")
    writer.add("x", np.zeros(1))
    writer.abort()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.data-00000-of-00001", "a.index", "checkpoint"]


def test_checkpoint_without_tensors_can_be_written(tmp_path: pathlib.Path) -> None:
    """As TensorFlow's own writer would: a header and an empty data shard."""
    assert save({}, tmp_path / "ckpt") == str(tmp_path / "ckpt")

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        assert list(checkpoint) == []
