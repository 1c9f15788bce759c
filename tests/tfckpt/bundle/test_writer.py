"""Writing bundles: TensorFlow's own files again, byte for byte, and what is refused."""

from __future__ import annotations

import os
import pathlib
import tarfile

import numpy as np
import pytest

import tfckpt
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
    """Decode every tensor and give the arrays to a writer, in the order and the shards in which they were written."""
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
    """The target has exactly the files of the source's prefix, but for its graph, with the same bytes."""
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
def test_writer_gives_the_bytes_of_tensorflow(prefix: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Index and data shards are those that TensorFlow 2.21 wrote for the same tensors in the same order."""
    rewrite(data / prefix, tmp_path / "copy")

    assert_same_files(data / prefix, tmp_path / "copy")


@pytest.mark.parametrize(
    ("case", "prefix"), [(case, prefix) for case, prefixes in PACKED.items() for prefix in prefixes]
)
def test_writer_gives_the_bytes_of_tensorflow_in_several_blocks(
    case: str, prefix: str, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """20 000 entries in six blocks, and few entries with keys so long that every rule for separators is used."""
    with tarfile.open(data / "tensorflow" / f"{case}.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "out").mkdir()

    rewrite(tmp_path / case / prefix, tmp_path / "out" / "copy")

    assert_same_files(tmp_path / case / prefix, tmp_path / "out" / "copy")


def test_payloads_are_aligned_on_request(tmp_path: pathlib.Path) -> None:
    """Zeros fill the shard up to the next multiple after every payload, the last one too; sizes do not count them."""
    writer = BundleWriter(str(tmp_path / "a"), alignment=64)
    writer.add("five", data_type_named("uint8"), [5], b"\1\2\3\4\5")
    writer.add("none", data_type_named("uint8"), [0], b"")
    writer.add("full", data_type_named("uint8"), [64], bytes(range(64)))
    writer.finish()

    with tfckpt.open(tmp_path / "a") as checkpoint:
        places = {info.name: (info.offset, info.nbytes) for info in checkpoint.infos()}
        assert checkpoint["five"].tolist() == [1, 2, 3, 4, 5]
        assert checkpoint["full"].tolist() == list(range(64))
    assert places == {"five": (0, 5), "none": (64, 0), "full": (64, 64)}
    assert (tmp_path / "a.data-00000-of-00001").read_bytes() == b"\1\2\3\4\5" + bytes(59) + bytes(range(64))


def test_tensors_go_to_the_shard_with_the_fewest_bytes(tmp_path: pathlib.Path) -> None:
    """Unless the caller names the shard; the shard that nothing went to is an empty file."""
    writer = BundleWriter(str(tmp_path / "s"), shards=3)
    for name, size in (("a", 4), ("b", 3), ("c", 2), ("d", 2), ("e", 1)):
        writer.add(name, data_type_named("uint8"), [size], bytes(size))
    writer.add("f", data_type_named("uint8"), [1], b"\1", shard=0)
    for shard in (-1, 3):
        with pytest.raises(ValueError, match=f"there is no data shard {shard} of 3"):
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


def test_there_may_be_more_shards_than_files_can_be_open(tmp_path: pathlib.Path) -> None:
    """Shards are closed and opened again as they are written to; each has its payloads in order."""
    resource = pytest.importorskip("resource", reason="the number of open files is limited by the system's own means")
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


def test_slices_come_in_any_order_over_several_shards(tmp_path: pathlib.Path) -> None:
    """They are put together when they are read, and their order is that of the shards."""
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
def test_slice_that_is_all_of_a_tensor_is_stored_as_the_tensor(text: str, tmp_path: pathlib.Path) -> None:
    """As TensorFlow does it; in the shard and with the checksum that were given."""
    writer = BundleWriter(str(tmp_path / "w"), shards=2)
    writer.add_slice("w", FLOAT, (2, 3), TensorSlice.parse(text), bytes(24), checksum=7, shard=1)
    writer.finish()

    with tfckpt.open(tmp_path / "w") as checkpoint:
        info = checkpoint.info("w")
    assert (info.slices, info.shard, info.crc32c) == ((), 1, 7)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (["0,1:-"], "hold 3 of 6 elements"),
        (["0,1:-", "0,2:0,1", "1,1:2,1"], "overlap"),
        (["0,3:-"], "reaches past the shape"),
        (["0,1"], "another rank"),
    ],
    ids=["missing", "overlapping", "past the end", "rank"],
)
def test_slices_that_do_not_make_up_the_tensor_are_refused(
    pieces: list[str], message: str, tmp_path: pathlib.Path
) -> None:
    """Two halves do; nothing is left in the folder otherwise."""
    writer = BundleWriter(str(tmp_path / "w"))
    with pytest.raises(ValueError, match=message):
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


def test_slices_of_one_tensor_have_one_dtype_and_shape(tmp_path: pathlib.Path) -> None:
    """The slice that disagrees, or comes twice, is refused by name, and the writer goes on without it."""
    writer = BundleWriter(str(tmp_path / "w"))
    writer.add_slice("w", FLOAT, (2,), TensorSlice.parse("0,1"), bytes(4))

    with pytest.raises(ValueError, match=r"'w' belongs to int32 \[2\], the slices before it to float32 \[2\]"):
        writer.add_slice("w", data_type_named("int32"), (2,), TensorSlice.parse("1,1"), bytes(4))
    with pytest.raises(ValueError, match=r"the slices before it to float32 \[2\]"):
        writer.add_slice("w", FLOAT, (3,), TensorSlice.parse("1,1"), bytes(4))
    with pytest.raises(ValueError, match="slice 0,1 of 'w' was added before"):
        writer.add_slice("w", FLOAT, (2,), TensorSlice.parse("0,1"), bytes(4))
    with pytest.raises(ValueError, match="'w' was added before"):
        writer.add("w", FLOAT, (), bytes(4))

    writer.add_slice("w", FLOAT, (2,), TensorSlice.parse("1,1"), bytes(4))
    writer.finish()
    with tfckpt.open(tmp_path / "w") as checkpoint:
        assert checkpoint["w"].tolist() == [0, 0]


def test_payload_has_the_size_of_its_shape(tmp_path: pathlib.Path) -> None:
    """A payload of another size would make a checkpoint that nobody can read."""
    writer = BundleWriter(str(tmp_path / "w"))

    with pytest.raises(ValueError, match=r"float32 of shape \[2\] takes 8 bytes, not 7"):
        writer.add("w", FLOAT, (2,), bytes(7))
    writer.add("w", FLOAT, (2,), bytes(8))
    writer.finish()


def test_name_is_bounded(tmp_path: pathlib.Path) -> None:
    """A mebibyte is taken, a byte more is not; the empty name is the header's key."""
    writer = BundleWriter(str(tmp_path / "n"))
    writer.add("a" * MAX_NAME_BYTES, FLOAT, (), bytes(4))

    with pytest.raises(ValueError, match="too long"):
        writer.add("b" * (MAX_NAME_BYTES + 1), FLOAT, (), bytes(4))
    with pytest.raises(ValueError, match="empty"):
        writer.add("", FLOAT, (), bytes(4))
    with pytest.raises(ValueError, match="surrogates"):
        writer.add("\ud800", FLOAT, (), bytes(4))
    with pytest.raises(TypeError, match="a str, not bytes"):
        writer.add(b"w", FLOAT, (), bytes(4))  # type: ignore[arg-type]  # the mistake that is tested
    writer.finish()


@pytest.mark.parametrize("options", [{"shards": 0}, {"alignment": 0}], ids=["shards", "alignment"])
def test_writer_refuses_numbers_below_one(options: dict[str, int], tmp_path: pathlib.Path) -> None:
    """One is the least of each."""
    with pytest.raises(ValueError, match="at least"):
        BundleWriter(str(tmp_path / "x"), **options)

    BundleWriter(str(tmp_path / "x"), shards=1, alignment=1).abort()


def test_writer_that_ended_takes_no_more(tmp_path: pathlib.Path) -> None:
    """After finish as after abort, which may come twice."""
    writer = BundleWriter(str(tmp_path / "x"))
    writer.add("a", FLOAT, (), bytes(4))
    writer.finish()

    with pytest.raises(ValueError, match="closed"):
        writer.add("b", FLOAT, (), bytes(4))
    with pytest.raises(ValueError, match="closed"):
        writer.finish()
    writer.abort()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.data-00000-of-00001", "x.index"]
