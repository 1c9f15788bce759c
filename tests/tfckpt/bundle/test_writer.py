"""Writing bundles: byte for byte the files of TensorFlow, and misuse."""

from __future__ import annotations

import os
import pathlib
import tarfile

import numpy as np
import pytest

import tfckpt
from tests.conftest import slow
from tfckpt.bundle.writer import MAX_NAME_BYTES, BundleWriter
from tfckpt.tensors.dtypes import data_type_named
from tfckpt.tensors.slices import TensorSlice
from tfckpt.writing.writer import encode, to_values

FLOAT = data_type_named("float32")

BY_TENSORFLOW = [
    "digits/efficientnetv2-digits/model.ckpt-322",
    "digits-train/model.ckpt-322",
    "objects/ckpt",
    "savedmodel/variables/variables",
    "tensorflow/dtypes/ckpt",
    "tensorflow/names/ckpt",
    "tensorflow/non-utf8-name/ckpt",
    "tensorflow/partitioned/model.ckpt-12",
    "tensorflow/sharded/three",
    "tensorflow/sharded/twelve",
    "tensorflow/sharded-saver/v2/model.ckpt-3",
    "tensorflow/shard-size/ckpt",
    "tensorflow/objects-more/graph/ckpt",
    "tensorflow/objects-more/legacy_optimizer/ckpt-1",
    "tensorflow/objects-more/sharded/ckpt",
    "tensorflow/savedmodel-tf2/variables/variables",
    "tensorflow/writer/small",
    "tensorflow/writer/strings",
    "tensorflow/writer/shared_keys",
    "tensorflow/writer/single",
    "tensorflow/writer/objects",
]
PACKED = {
    "many": ["ckpt"],
    "writer-long-keys": ["separators", "beyond_a_block", "just_full"],
}


def rewrite(source: pathlib.Path, target: pathlib.Path) -> None:
    """Decode every tensor and write the arrays in the original order and to the original shards."""
    with tfckpt.open(source) as checkpoint:
        reader = checkpoint.reader
        stored = [(payload, name) for name in checkpoint for payload in reader.payloads(name)]
        stored.sort(key=lambda item: (item[0].shard_id, item[0].offset, item[0].nbytes))
        writer = BundleWriter(str(target), shards=reader.num_shards)
        for payload, name in stored:
            full, piece, shard = reader.read(name), payload.piece, payload.shard_id
            data_type, array = to_values(name, full[piece.index(full.shape)], payload.data_type.name)
            data, checksum = encode(name, array, data_type)
            writer.add_slice(name, data_type, full.shape, piece, data, checksum=checksum, shard=shard)
        writer.finish()


def assert_same_files(source: pathlib.Path, target: pathlib.Path) -> None:
    """Assert that the target has exactly the files of the source, except the graph, with the same bytes."""
    of_source = {
        path.name.removeprefix(source.name): path
        for path in source.parent.glob(f"{source.name}.*")
        if path.suffix != ".meta"
    }
    of_target = {path.name.removeprefix(target.name): path for path in target.parent.iterdir()}
    assert of_target.keys() == of_source.keys()
    for suffix, path in of_target.items():
        assert path.read_bytes() == of_source[suffix].read_bytes(), suffix


@pytest.mark.parametrize("prefix", BY_TENSORFLOW)
def test_writer_reproduces_the_bytes_of_tensorflow(prefix: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """TensorFlow 2.21 wrote the same tensors in the same order."""
    rewrite(data / prefix, tmp_path / "copy")

    assert_same_files(data / prefix, tmp_path / "copy")


@pytest.mark.parametrize(
    ("case", "prefix"),
    [
        slow(case, prefix) if case == "many" else (case, prefix)
        for case, prefixes in PACKED.items()
        for prefix in prefixes
    ],
)
def test_writer_reproduces_the_bytes_of_tensorflow_in_several_blocks(
    case: str, prefix: str, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """One case has 20,000 entries in six blocks, others long keys that exercise every rule for separators."""
    with tarfile.open(data / "tensorflow" / f"{case}.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "out").mkdir()

    rewrite(tmp_path / case / prefix, tmp_path / "out" / "copy")

    assert_same_files(tmp_path / case / prefix, tmp_path / "out" / "copy")


def test_payloads_are_aligned_on_request(tmp_path: pathlib.Path) -> None:
    """Every payload, including the last one, is padded with zeros, which do not count as part of its size."""
    writer = BundleWriter(str(tmp_path / "a"), alignment=64)
    writer.add("five", data_type_named("uint8"), [5], b"\1\2\3\4\5")
    writer.add("none", data_type_named("uint8"), [0], b"")
    writer.add("full", data_type_named("uint8"), [64], bytes(range(64)))
    writer.finish()

    with tfckpt.open(tmp_path / "a") as checkpoint:
        locations = {info.name: (info.offset, info.nbytes) for info in checkpoint.infos()}
        assert checkpoint["five"].tolist() == [1, 2, 3, 4, 5]
        assert checkpoint["full"].tolist() == list(range(64))
    assert locations == {"five": (0, 5), "none": (64, 0), "full": (64, 64)}
    assert (tmp_path / "a.data-00000-of-00001").read_bytes() == b"\1\2\3\4\5" + bytes(59) + bytes(range(64))


def test_tensors_are_written_to_the_smallest_shard(tmp_path: pathlib.Path) -> None:
    """The caller can select another shard."""
    writer = BundleWriter(str(tmp_path / "s"), shards=3)
    for name, size in (("a", 4), ("b", 3), ("c", 2), ("d", 2), ("e", 1)):
        writer.add(name, data_type_named("uint8"), [size], bytes(size))
    writer.add("f", data_type_named("uint8"), [1], b"\1", shard=0)
    for shard in (-1, 3):
        with pytest.raises(ValueError, match=f"shard {shard}"):
            writer.add("g", data_type_named("uint8"), [1], b"\1", shard=shard)
    writer.finish()

    with tfckpt.open(tmp_path / "s") as checkpoint:
        assert {info.name: info.shard for info in checkpoint.infos()} == {
            "a": 0,
            "b": 1,
            "c": 2,
            "d": 2,
            "e": 1,
            "f": 0,
        }


def test_there_may_be_more_shards_than_open_files(tmp_path: pathlib.Path) -> None:
    """Shards are closed and reopened as needed."""
    resource = pytest.importorskip("resource", reason="only Unix can limit the number of open files")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 40, limits[1]))
    try:
        writer = BundleWriter(str(tmp_path / "s"), shards=300, durable=False)
        for number in range(700):
            writer.add(f"{number}", FLOAT, (), np.float32(number).tobytes(), shard=number * 7 % 300)
        writer.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with tfckpt.open(tmp_path / "s") as checkpoint:
        assert len(checkpoint.files) == 301
        assert all(checkpoint[name] == float(name) for name in checkpoint)


def test_slices_can_be_added_in_any_order_to_several_shards(tmp_path: pathlib.Path) -> None:
    """The parent lists them in the order of the shards."""
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)
    writer = BundleWriter(str(tmp_path / "w"), shards=2)
    for text, shard in (("3,1:-", 1), ("0,1:-", 1), ("1,2:-", 0)):
        piece = TensorSlice.parse(text)
        writer.add_slice("w", FLOAT, (4, 3), piece, whole[piece.index((4, 3))].tobytes(), shard=shard)
    writer.add("v", FLOAT, (), bytes(4))
    writer.finish()

    with tfckpt.open(tmp_path / "w") as checkpoint:
        assert list(checkpoint) == ["v", "w"]
        assert np.array_equal(checkpoint["w"], whole)
        assert list(map(str, checkpoint.info("w").slices)) == ["1,2:-", "3,1:-", "0,1:-"]


@pytest.mark.parametrize("text", ["-:-", "0,2:0,3"], ids=["by dashes", "by numbers"])
def test_slice_that_is_the_whole_tensor_becomes_an_ordinary_tensor(text: str, tmp_path: pathlib.Path) -> None:
    """TensorFlow does the same; shard and checksum are those passed by the caller."""
    writer = BundleWriter(str(tmp_path / "w"), shards=2)
    writer.add_slice("w", FLOAT, (2, 3), TensorSlice.parse(text), bytes(24), checksum=7, shard=1)
    writer.finish()

    with tfckpt.open(tmp_path / "w") as checkpoint:
        info = checkpoint.info("w")
    assert (info.slices, info.shard, info.crc32c) == ((), 1, 7)


@pytest.mark.parametrize(
    "pieces",
    [["0,1:-"], ["0,1:-", "0,2:0,1", "1,1:2,1"], ["0,3:-"], ["0,1"]],
    ids=["missing", "overlapping", "past the end", "rank"],
)
def test_slices_that_do_not_cover_the_tensor_are_refused(pieces: list[str], tmp_path: pathlib.Path) -> None:
    """No files are left; two halves are accepted."""
    writer = BundleWriter(str(tmp_path / "w"))
    with pytest.raises(ValueError, match="'w'"):
        for text in pieces:
            piece = TensorSlice.parse(text)
            elements = np.prod(piece.shape((4, 3)[: len(piece.extents)]), dtype=int)
            writer.add_slice("w", FLOAT, (2, 3), piece, bytes(4 * elements))
        writer.finish()
    writer.abort()
    assert list(tmp_path.iterdir()) == []

    writer = BundleWriter(str(tmp_path / "w"))
    for text in ("1,1:-", "0,1:-"):
        writer.add_slice("w", FLOAT, (2, 3), TensorSlice.parse(text), bytes(12))
    writer.finish()


def test_slices_of_one_tensor_must_agree_in_dtype_and_shape(tmp_path: pathlib.Path) -> None:
    """A slice that disagrees or is repeated is refused, and the writer can continue without it."""
    writer = BundleWriter(str(tmp_path / "w"))
    writer.add_slice("w", FLOAT, (2,), TensorSlice.parse("0,1"), bytes(4))

    with pytest.raises(ValueError, match=r"'w'.* int32 \[2\].* float32 \[2\]"):
        writer.add_slice("w", data_type_named("int32"), (2,), TensorSlice.parse("1,1"), bytes(4))
    with pytest.raises(ValueError, match=r"'w'.* float32 \[3\].* float32 \[2\]"):
        writer.add_slice("w", FLOAT, (3,), TensorSlice.parse("1,1"), bytes(4))
    with pytest.raises(ValueError, match="slice 0,1 of 'w'"):
        writer.add_slice("w", FLOAT, (2,), TensorSlice.parse("0,1"), bytes(4))
    with pytest.raises(ValueError, match="'w'"):
        writer.add("w", FLOAT, (), bytes(4))

    writer.add_slice("w", FLOAT, (2,), TensorSlice.parse("1,1"), bytes(4))
    writer.finish()
    with tfckpt.open(tmp_path / "w") as checkpoint:
        assert checkpoint["w"].tolist() == [0, 0]


def test_payload_must_have_the_size_of_its_shape(tmp_path: pathlib.Path) -> None:
    """A payload of any other size could not be read."""
    writer = BundleWriter(str(tmp_path / "w"))

    with pytest.raises(ValueError, match="8 bytes, not 7"):
        writer.add("w", FLOAT, (2,), bytes(7))
    writer.add("w", FLOAT, (2,), bytes(8))
    writer.finish()


def test_invalid_name_is_refused(tmp_path: pathlib.Path) -> None:
    """A name may have up to a mebibyte; the empty name is the key of the header."""
    writer = BundleWriter(str(tmp_path / "n"))
    writer.add("a" * MAX_NAME_BYTES, FLOAT, (), bytes(4))

    with pytest.raises(ValueError, match="too long"):
        writer.add("b" * (MAX_NAME_BYTES + 1), FLOAT, (), bytes(4))
    with pytest.raises(ValueError, match="empty"):
        writer.add("", FLOAT, (), bytes(4))
    with pytest.raises(ValueError, match="surrogates"):
        writer.add("\ud800", FLOAT, (), bytes(4))
    with pytest.raises(TypeError):
        writer.add(b"w", FLOAT, (), bytes(4))  # type: ignore[arg-type]  # the mistake that is tested
    writer.finish()


@pytest.mark.parametrize("options", [{"shards": 0}, {"alignment": 0}], ids=["shards", "alignment"])
def test_writer_refuses_numbers_below_one(options: dict[str, int], tmp_path: pathlib.Path) -> None:
    """Both options must be at least 1."""
    with pytest.raises(ValueError, match="at least"):
        BundleWriter(str(tmp_path / "x"), **options)

    BundleWriter(str(tmp_path / "x"), shards=1, alignment=1).abort()


def test_closed_writer_accepts_no_tensors(tmp_path: pathlib.Path) -> None:
    """After `finish`, `abort` has no effect."""
    writer = BundleWriter(str(tmp_path / "x"))
    writer.add("a", FLOAT, (), bytes(4))
    writer.finish()

    with pytest.raises(ValueError, match="closed"):
        writer.add("b", FLOAT, (), bytes(4))
    with pytest.raises(ValueError, match="closed"):
        writer.finish()
    writer.abort()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.data-00000-of-00001", "x.index"]
