"""`tfckpt.train`: damage, patterns, and errors of both families; test_table.py compares it with TensorFlow."""

from __future__ import annotations

import copy
import pathlib
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tfckpt
from tfckpt import train
from tfckpt.train import errors

NAME = "efficientnetv2-digits/stem/conv2d/kernel"


@pytest.fixture
def cases(data: pathlib.Path) -> pathlib.Path:
    """The folder of checkpoints that TensorFlow wrote."""
    return data / "tensorflow"


def test_tensors_equal_those_of_an_open_checkpoint(digits: pathlib.Path) -> None:
    """Names come in the same order."""
    reader = train.load_checkpoint(digits)

    with tfckpt.open(digits) as checkpoint:
        assert list(reader.get_variable_to_shape_map()) == list(checkpoint)
        for name, array in checkpoint.items():
            np.testing.assert_array_equal(reader.get_tensor(name), array)


def test_arrays_are_writable_copies(digits: pathlib.Path) -> None:
    """As in TensorFlow, writing to one does not change what is read later."""
    reader = train.load_checkpoint(digits)
    first = reader.get_tensor(NAME)

    first[:] = 7

    assert not np.any(reader.get_tensor(NAME) == 7)


def test_damaged_tensor_is_a_data_loss_and_the_others_are_read(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]
) -> None:
    """The cause has the offset and the checksums."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    with tfckpt.open(prefix) as checkpoint:
        offset = checkpoint.info(NAME).offset or 0
    content = bytearray(shard.read_bytes())
    content[offset] ^= 1
    shard.write_bytes(content)
    reader = train.load_checkpoint(prefix)

    with pytest.raises(errors.DataLossError) as caught:
        reader.get_tensor(NAME)

    assert isinstance(caught.value.__cause__, tfckpt.ChecksumError)
    assert caught.value.tensor == NAME
    assert reader.get_tensor("global_step") == 322


def test_damaged_index_is_a_data_loss(digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]) -> None:
    """TensorFlow may list fewer tensors without an error."""
    prefix = copied(digits)
    index = prefix.with_name(prefix.name + ".index")
    content = bytearray(index.read_bytes())
    assert len(train.list_variables(prefix)) == 227
    content[100] ^= 1
    index.write_bytes(content)

    with pytest.raises(errors.DataLossError) as caught:
        train.list_variables(prefix)
    assert isinstance(caught.value.__cause__, tfckpt.ChecksumError)


def test_missing_shard_is_an_error_only_for_its_tensors(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]
) -> None:
    """Listing needs only the index."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    shard.unlink()
    reader = train.load_checkpoint(prefix)

    assert reader.has_tensor(NAME)
    with pytest.raises(errors.NotFoundError) as caught:
        reader.get_tensor(NAME)
    assert (caught.value.path, caught.value.tensor) == (str(shard), NAME)


def test_exceeded_limit_is_resource_exhaustion(cases: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow has no limits, but it has this error for too little memory."""
    reader = train.load_checkpoint(cases / "dtypes" / "ckpt")
    assert reader.get_tensor("string/grid").shape == (2, 3)
    monkeypatch.setattr(reader._reader, "_limits", tfckpt.Limits(max_string_elements=5))

    with pytest.raises(errors.ResourceExhaustedError) as caught:
        reader.get_tensor("string/grid")
    assert isinstance(caught.value.__cause__, tfckpt.LimitExceededError)
    assert caught.value.__cause__.limit == "max_string_elements"


def test_index_file_is_not_a_prefix(digits: pathlib.Path) -> None:
    """TensorFlow opens it as a checkpoint without tensors; our error names the prefix."""
    with pytest.raises(errors.NotFoundError, match=f"{digits}$"):
        train.load_checkpoint(f"{digits}.index")

    assert train.load_checkpoint(str(digits)).has_tensor(NAME)


def test_renamed_index_file_is_not_a_prefix(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its shards have another name."""
    shutil.copy(f"{digits}.index", tmp_path / "weights")

    with pytest.raises(errors.NotFoundError) as caught:
        train.load_checkpoint(tmp_path / "weights")
    assert caught.value.path == str(tmp_path / "weights")


def test_renamed_v1_file_is_read(cases: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A V1 file is recognized by its content."""
    shutil.copy(cases / "v1" / "types", tmp_path / "weights.index.old")

    assert train.load_variable(tmp_path / "weights.index.old", "int32/grid").shape == (2, 3, 5)


def test_file_too_short_for_a_table_is_a_data_loss(tmp_path: pathlib.Path) -> None:
    """The footer alone is 48 bytes long."""
    (tmp_path / "short").write_bytes(b"\0" * 47)
    (tmp_path / "other").write_bytes(b"\0" * 48)

    with pytest.raises(errors.DataLossError, match="too short"):
        train.NewCheckpointReader(str(tmp_path / "short"))
    with pytest.raises(errors.DataLossError, match="not an sstable"):
        train.NewCheckpointReader(str(tmp_path / "other"))


@pytest.mark.parametrize("pattern", ["spread-?????-of-00003", "spread-*", "spread-0000[0-2]-of-*"])
def test_pattern_opens_all_shards_of_a_v1_checkpoint(cases: pathlib.Path, pattern: str) -> None:
    """The pattern may have any form."""
    reader = train.NewCheckpointReader(str(cases / "v1" / pattern))

    assert list(reader.get_variable_to_shape_map()) == ["own_0", "own_1", "own_2", "split"]


def test_pattern_that_matches_several_checkpoints_is_refused(cases: pathlib.Path) -> None:
    """A pattern that matches a single file opens it."""
    with pytest.raises(errors.NotFoundError) as caught:
        train.NewCheckpointReader(str(cases / "v1" / "sliced*"))
    assert caught.value.path == str(cases / "v1" / "sliced*")

    assert train.NewCheckpointReader(str(cases / "v1" / "type?")).has_tensor("int32/grid")


def test_missing_v1_shard_is_an_error_only_for_its_tensors(cases: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The error names the shard, and tensors in the others are read."""
    for number in (0, 2):
        shutil.copy(cases / "v1" / f"spread-0000{number}-of-00003", tmp_path)
    reader = train.NewCheckpointReader(str(tmp_path / "spread-?????-of-00003"))

    assert reader.get_tensor("own_2").shape == (2,)
    with pytest.raises(errors.NotFoundError, match="spread-00001-of-00003"):
        reader.get_tensor("split")


def test_literal_path_wins_over_a_pattern(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """TensorFlow does not find a folder named `run[1]`, and we do."""
    folder = tmp_path / "run[1]"
    folder.mkdir()
    for path in digits.parent.glob(digits.name + ".*"):
        shutil.copy(path, folder)

    assert train.load_checkpoint(folder / digits.name).has_tensor(NAME)
    with pytest.raises(errors.NotFoundError):
        train.load_checkpoint(tmp_path / "run[2]" / digits.name)


def test_only_stored_slices_have_keys(cases: pathlib.Path) -> None:
    """The key of another slice is not found, and neither are bytes that only look like a key."""
    reader = train.load_checkpoint(cases / "sharded" / "three")

    assert reader.has_tensor(b"\x00split\x00\x01\x01\x02\x80\x82\x80\x7f")
    for key in (
        b"\x00split\x00\x01\x01\x02\x81\x82\x80\x7f",
        b"\x00split\x00\x01",
        b"\x00other\x00\x01\x01\x01\x80\x82",
    ):
        assert not reader.has_tensor(key)
        with pytest.raises((errors.NotFoundError, UnicodeDecodeError)):
            reader.get_tensor(key)


def test_reader_can_be_used_from_several_threads(digits: pathlib.Path) -> None:
    """Each of them reads all tensors."""
    reader = train.load_checkpoint(digits)
    names = list(reader.get_variable_to_shape_map())
    sizes: list[int] = []

    def read() -> None:
        sizes.append(sum(reader.get_tensor(name).size for name in names))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sizes) == 4
    assert len(set(sizes)) == 1


def test_errors_belong_to_both_families() -> None:
    """Handlers for TensorFlow's classes and for ours catch them."""
    with pytest.raises(errors.OpError) as caught:
        train.load_checkpoint("nowhere")

    assert isinstance(caught.value, tfckpt.CheckpointError)
    assert (caught.value.error_code, caught.value.op, caught.value.node_def) == (errors.NOT_FOUND, None, None)
    assert all(issubclass(kind, errors.OpError) for kind in errors.CLASSES)
    assert sorted(kind.code for kind in errors.CLASSES[1:]) == list(range(1, 17))


@pytest.mark.parametrize("kind", errors.CLASSES, ids=lambda kind: kind.__name__)
def test_errors_are_created_as_in_tensorflow_and_can_be_pickled(kind: type[errors.OpError]) -> None:
    """Scripts create them from a node, an operation and a message."""
    error = kind(None, None, "no such thing")

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind is getattr(errors, kind.__name__)
    assert (str(again), again.message, again.error_code) == ("no such thing", "no such thing", kind.code)


def test_copies_and_pickles_of_a_dtype_are_the_same_object() -> None:
    """So dtypes can be compared with `is`."""
    for name in ("float32", "qint8", "string", "int4", "float32_ref"):
        dtype = train.as_dtype(name)

        assert pickle.loads(pickle.dumps(dtype)) is dtype
        assert copy.deepcopy(dtype) is dtype


def test_reference_dtype_is_compatible_with_its_base_but_not_equal() -> None:
    """As in TensorFlow, a reference can be used as a value, but not the reverse."""
    base, reference = train.as_dtype("float32"), train.as_dtype("float32_ref")

    assert (reference.base_dtype, reference.real_dtype) == (base, reference)
    assert base.is_compatible_with(reference)
    assert not reference.is_compatible_with(base)
    assert base != reference
    assert base.is_compatible_with("float32")
    assert reference.is_compatible_with(reference)
    assert not base.is_compatible_with("float64")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.zeros(1, "f4"), "float32"),
        (np.float16(1), "float16"),
        (np.dtype([("qint8", "i1")]), "qint8"),
        (np.dtype(">i8"), "int64"),
    ],
)
def test_as_dtype_accepts_arrays_and_numpy_types(value: object, name: str) -> None:
    """It accepts anything with a NumPy dtype."""
    assert train.as_dtype(value).name == name


@pytest.mark.parametrize("value", [[], {}, "x", 3.5, np.dtype("M8[s]"), np.dtype([("a", "i1"), ("b", "i1")]), train])
def test_as_dtype_refuses_other_values(value: object) -> None:
    """Comparing a dtype with such a value is False and not an error."""
    with pytest.raises(TypeError):
        train.as_dtype(value)

    assert train.as_dtype("float32") != value


@pytest.fixture
def bucket(cases: pathlib.Path) -> Iterator[str]:
    """The address of a folder with a state file in the memory file system of fsspec."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in (cases / "manager" / "relative").iterdir():
        memory.pipe(f"/tfckpt-train/{path.name}", path.read_bytes())
    yield "memory://tfckpt-train"
    memory.rm("/tfckpt-train", recursive=True)


def test_address_is_read_like_a_path(bucket: str) -> None:
    """State files, prefixes and patterns work, like in TensorFlow with `gs://`."""
    name = "step/.ATTRIBUTES/VARIABLE_VALUE"

    assert train.latest_checkpoint(bucket) == f"{bucket}/ckpt-5"
    assert train.load_variable(bucket, name) == 5
    assert train.load_variable(f"{bucket}/ckpt-3", name) == 3
    assert train.checkpoint_exists(f"{bucket}/ckpt-3")
    assert not train.checkpoint_exists(f"{bucket}/ckpt-9")
    with tfckpt.stand_in() as tf:
        assert tf.io.gfile.glob(f"{bucket}/ckpt-*.index") == [f"{bucket}/ckpt-{step}.index" for step in (3, 4, 5)]
        assert tf.io.gfile.GFile(f"{bucket}/checkpoint").readline() == 'model_checkpoint_path: "ckpt-5"\n'


def test_errors_for_addresses(bucket: str) -> None:
    """A missing file is not found; an unknown scheme and writing are not implemented."""
    with pytest.raises(errors.NotFoundError, match=f"{bucket}/ckpt-9"):
        train.load_checkpoint(f"{bucket}/ckpt-9")
    with pytest.raises(errors.UnimplementedError, match="nosuch://"):
        train.load_checkpoint("nosuch://place/ckpt")
    with tfckpt.stand_in() as tf:
        with pytest.raises(errors.NotFoundError):
            tf.io.gfile.GFile(f"{bucket}/other").read()
        with pytest.raises(errors.UnimplementedError):
            tf.io.gfile.GFile(f"{bucket}/other", "w").write("x")


def test_path_inside_an_archive_is_read(cases: pathlib.Path) -> None:
    """The archive itself is not a checkpoint, as for TensorFlow."""
    archive = cases / "many.tgz"

    assert len(train.list_variables(f"{archive}!many/ckpt")) == 20_000
    assert train.checkpoint_exists(f"{archive}!many/ckpt")
    with pytest.raises(errors.DataLossError) as caught:
        train.load_checkpoint(archive)
    assert caught.value.path == str(archive)
