"""Tensors of a bundle by name: values, places, slices, shards."""

from __future__ import annotations

import itertools
import math
import pathlib
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfckpt
from tests import builders
from tests.builders import Bundle
from tfckpt._typing import Array
from tfckpt.tensors.dtypes import data_type

FIXED_WIDTH = [number for number in range(1, 34) if number not in {7, 20, 21}]


def read_all(prefix: pathlib.Path) -> dict[str, Array]:
    """Every tensor."""
    with tfckpt.open(prefix) as checkpoint:
        return dict(checkpoint)


@pytest.mark.parametrize("number", FIXED_WIDTH, ids=[data_type(number).name for number in FIXED_WIDTH])
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_bundle_reads_scalar_and_empty_tensors(tmp_path: pathlib.Path, number: int, big_endian: bool) -> None:
    """Of every type, in both byte orders, with the type that `info` announces."""
    row = data_type(number)
    one = b"\1" + bytes(row.itemsize - 1)
    bundle = Bundle(big_endian=big_endian).add("scalar", number, [], one).add("empty", number, [2, 0, 3], b"")

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        scalar, empty = checkpoint["scalar"], checkpoint["empty"]
        info = checkpoint.info("scalar")

    turned = b"".join(one[at : at + row.unit][::-1] for at in range(0, len(one), row.unit))
    assert (scalar.shape, scalar.tobytes()) == ((), turned if big_endian else one)
    assert (empty.shape, empty.dtype) == ((2, 0, 3), scalar.dtype)
    assert (info.dtype, info.shape, info.size, info.nbytes) == (scalar.dtype, (), 1, row.itemsize)


def test_names_come_in_the_order_of_their_bytes(tmp_path: pathlib.Path) -> None:
    """Which is not that of writing; upper case before lower, ASCII before the rest."""
    bundle = Bundle()
    for name in ("b", "a/b", "a", "Z", "\u00e9", "a0", "\U0001f600", "\uffff"):
        bundle.add(name, builders.FLOAT, [], bytes(4))

    names = list(read_all(bundle.write(tmp_path)))

    assert names == ["Z", "a", "a/b", "a0", "b", "\u00e9", "\uffff", "\U0001f600"]


def test_data_lies_where_the_entries_say(tmp_path: pathlib.Path) -> None:
    """In any order, with gaps, aligned or not, over several shards."""
    bundle = Bundle(num_shards=3)
    bundle.add("z", builders.FLOAT, [2], struct.pack("<2f", 1, 2), shard_id=2)
    bundle.put(b"gap", shard_id=2)
    bundle.add("odd", builders.DOUBLE, [1], struct.pack("<d", 3), shard_id=2)
    bundle.add("aligned", builders.INT32, [1], struct.pack("<i", 4), shard_id=2, alignment=64)
    bundle.add("a", builders.FLOAT, [], struct.pack("<f", 5), shard_id=0)

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        places = {info.name: (info.shard, info.offset) for info in checkpoint.infos()}
        values = {name: array.tolist() for name, array in checkpoint.items()}

    assert values == {"a": 5, "aligned": [4], "odd": [3], "z": [1, 2]}
    assert places == {"a": (0, 0), "aligned": (2, 64), "odd": (2, 11), "z": (2, 0)}


def test_little_endian_tensors_are_views_of_the_mapped_file(tmp_path: pathlib.Path) -> None:
    """Two reads share memory, cannot be written to, and outlive the checkpoint."""
    prefix = Bundle().add("w", builders.FLOAT, [1000], bytes(4000)).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        first, second = checkpoint["w"], checkpoint["w"]

    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    assert not first.flags.owndata
    assert first.sum() == 0


def test_big_endian_tensors_are_read_only_copies_in_native_order(tmp_path: pathlib.Path) -> None:
    """What stands in the file cannot be used as it is."""
    prefix = Bundle(big_endian=True).add("w", builders.FLOAT, [2], struct.pack(">2f", 1, 2)).write(tmp_path)

    array = read_all(prefix)["w"]

    assert array.tolist() == [1, 2]
    assert array.dtype.isnative
    assert not array.flags.writeable


def test_opening_and_listing_touch_no_shard(tmp_path: pathlib.Path) -> None:
    """Nothing of the data is needed to know what there is."""
    prefix = Bundle().add("w", builders.FLOAT, [2], bytes(8)).write(tmp_path)
    prefix.with_name("model.data-00000-of-00001").unlink()

    with tfckpt.open(prefix) as checkpoint:
        assert [info.name for info in checkpoint.infos()] == ["w"]
        assert checkpoint.files == (f"{prefix}.index", f"{prefix}.data-00000-of-00001")


def test_thousands_of_entries_in_many_blocks_are_found_one_by_one(tmp_path: pathlib.Path) -> None:
    """By name alone, before anything was listed, and as a list."""
    bundle = Bundle()
    values = {f"layer_{number:04}/kernel": number for number in range(3000)}
    for name, value in values.items():
        bundle.add(name, builders.INT32, [], struct.pack("<i", value))
    prefix = bundle.write(tmp_path, index=bundle.index(per_block=100, framer=builders.snappy_frame))

    with tfckpt.open(prefix) as checkpoint:
        for name in random.Random(1).sample(sorted(values), 100):
            assert name in checkpoint
            assert checkpoint[name] == values[name]
            assert f"{name}s" not in checkpoint
        assert list(checkpoint) == list(values)


def test_name_that_is_not_there_is_refused_with_close_ones(tmp_path: pathlib.Path) -> None:
    """In the text, and for programs in the error's attributes; nothing is said where no name is close."""
    prefix = Bundle().add("weights", builders.FLOAT, [], bytes(4)).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        reader = checkpoint.reader
        with pytest.raises(tfckpt.TensorNotFoundError, match=r"not in the checkpoint; close names: weights$") as close:
            reader.info("weight")
        with pytest.raises(tfckpt.TensorNotFoundError, match=r"not in the checkpoint$"):
            reader.info("z")

    assert (close.value.path, close.value.tensor, close.value.close_names) == (str(prefix), "weight", ("weights",))


@pytest.mark.parametrize("length", [1, 127, 128, 5000, 300_000])
def test_names_of_any_length_are_found(tmp_path: pathlib.Path, length: int) -> None:
    """Across the lengths at which varints grow."""
    name = "n" * length
    prefix = Bundle().add(name, builders.FLOAT, [], struct.pack("<f", 7)).write(tmp_path)

    assert read_all(prefix) == {name: 7}


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("order", ORDERS, ids=[str(order) for order in ORDERS])
def test_partitioned_variable_assembles_from_slices_in_any_order(
    tmp_path: pathlib.Path, order: tuple[int, ...]
) -> None:
    """In the parent and in the data; `info` tells the slices and has no single place."""
    full = np.arange(12, dtype="<f4").reshape(4, 3)
    pieces: list[tuple[builders.Extents, bytes]] = [
        ([(0, 2), None], full[:2].tobytes()),
        ([(2, 2), (0, 1)], full[2:, :1].tobytes()),
        ([(2, 2), (1, 2)], full[2:, 1:].tobytes()),
    ]
    prefix = Bundle().add_slices("v", builders.FLOAT, [4, 3], [pieces[at] for at in order]).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        array, info = checkpoint["v"], checkpoint.info("v")
        assert list(checkpoint) == ["v"]

    assert array.tolist() == full.tolist()
    assert not array.flags.writeable
    assert (info.shape, info.nbytes, info.shard, info.offset, info.crc32c) == ((4, 3), 48, None, None, None)
    assert sorted(map(str, info.slices)) == ["0,2:-", "2,2:0,1", "2,2:1,2"]


@pytest.mark.parametrize("number", FIXED_WIDTH, ids=[data_type(number).name for number in FIXED_WIDTH])
def test_slices_of_every_fixed_width_type_are_assembled(tmp_path: pathlib.Path, number: int) -> None:
    """Also of the types that TensorFlow writes in slices and cannot put together itself."""
    itemsize = data_type(number).itemsize
    one, two = b"\1" + bytes(itemsize - 1), bytes(2 * itemsize)
    prefix = Bundle().add_slices("v", number, [3], [([(0, 1)], one), ([(1, 2)], two)]).write(tmp_path)

    assert read_all(prefix)["v"].tobytes() == one + two


def test_slices_of_strings_are_assembled(tmp_path: pathlib.Path) -> None:
    """Their payloads have another form, and the same places."""
    bundle = Bundle().put_entry("v", builders.entry_proto(7, [2, 2], slices=[[None, (1, 1)], [None, (0, 1)]]))
    bundle.add_strings(builders.slice_key(b"v", [None, (0, 1)]), [b"a", b"b"], [2, 1])
    bundle.add_strings(builders.slice_key(b"v", [None, (1, 1)]), [b"c", b""], [2, 1])

    assert read_all(bundle.write(tmp_path))["v"].tolist() == [[b"a", b"c"], [b"b", b""]]


def test_slices_stand_in_several_shards(tmp_path: pathlib.Path) -> None:
    """A missing one costs the whole tensor, and `missing_files` says so."""
    bundle = Bundle(num_shards=2).put_entry("v", builders.entry_proto(1, [2], slices=[[(0, 1)], [(1, 1)]]))
    bundle.add(builders.slice_key(b"v", [(0, 1)]), builders.FLOAT, [1], struct.pack("<f", 1), shard_id=0)
    bundle.add(builders.slice_key(b"v", [(1, 1)]), builders.FLOAT, [1], struct.pack("<f", 2), shard_id=1)
    prefix = bundle.write(tmp_path)
    assert read_all(prefix)["v"].tolist() == [1, 2]
    lost = tmp_path / "model.data-00001-of-00002"

    lost.unlink()

    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint.missing_files() == {str(lost): ("v",)}
        with pytest.raises(tfckpt.CheckpointNotFoundError, match=r"1 of 1 tensors .* put the file beside the index$"):
            checkpoint["v"]


def test_errors_of_stored_payloads_name_the_index_and_the_tensor(tmp_path: pathlib.Path) -> None:
    """A slice without an entry, and a size that is not that of the shape; a payload past the end names the shard."""
    bundle = Bundle().put_entry("v", builders.entry_proto(1, [2], slices=[[(0, 1)], [(1, 1)]]))
    bundle.add("w", builders.FLOAT, [2], bytes(8), size=7).add("x", builders.FLOAT, [2], b"", offset=5, size=8)
    prefix = bundle.write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        reader = checkpoint.reader
        with pytest.raises(tfckpt.CorruptionError, match="slice 0,1 of the tensor has no entry") as no_slice:
            reader.payloads("v")
        with pytest.raises(tfckpt.CorruptionError, match="slice 0,1 of the tensor has no entry") as undescribed:
            reader.info("v")
        (past,) = reader.payloads("x")
        with pytest.raises(tfckpt.TruncatedError) as past_the_end:
            reader.read_payload("x", past)
        (payload,) = reader.payloads("w")
        with pytest.raises(tfckpt.CorruptionError, match="takes 8 bytes, the entry says 7") as wrong_size:
            reader.read_payload("w", payload)

    assert (no_slice.value.path, no_slice.value.tensor) == (f"{prefix}.index", "v")
    assert (undescribed.value.path, undescribed.value.tensor) == (f"{prefix}.index", "v")
    assert (past_the_end.value.needed, past_the_end.value.available) == (8, 3)
    assert (past_the_end.value.path, past_the_end.value.offset) == (f"{prefix}.data-00000-of-00001", 5)
    assert (wrong_size.value.path, wrong_size.value.tensor) == (f"{prefix}.index", "w")


def test_damage_inside_a_string_tensor_is_placed_in_the_data_shard(tmp_path: pathlib.Path) -> None:
    """At the length that is no number, or at the payload where no byte of it is to blame."""
    bundle = Bundle()
    bundle.put(bytes(10))
    bundle.add("length", builders.STRING, [2], b"\0" + b"\x80" * 20)
    bundle.add("sum", builders.STRING, [1], b"\0" + bytes(9))

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        with pytest.raises(tfckpt.CorruptionError, match="varint64") as length:
            checkpoint["length"]
        with pytest.raises(tfckpt.CorruptionError, match="take 5 bytes, the payload has 10") as total:
            checkpoint["sum"]

    assert (length.value.offset, total.value.offset) == (11, 31)


def test_damaged_entry_is_named_by_listing_and_by_lookup(tmp_path: pathlib.Path) -> None:
    """The index file and the tensor, whichever way the entry was met."""
    bundle = Bundle().add("a", builders.FLOAT, [], bytes(4))
    prefix = bundle.put_entry("w", builders.entry_proto(1, [-1])).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.CorruptionError, match="negative dimension") as one:
            checkpoint.info("w")
        with pytest.raises(tfckpt.CorruptionError, match="negative dimension") as listed:
            list(checkpoint)

    for caught in (one, listed):
        assert (caught.value.path, caught.value.tensor) == (f"{prefix}.index", "w")


def test_key_of_a_slice_is_no_name(tmp_path: pathlib.Path) -> None:
    """Before anything was listed, too: the key is in the index, and only its tensor can be asked for."""
    prefix = Bundle().add_slices("v", builders.FLOAT, [1], [([(0, 1)], bytes(4))]).write(tmp_path)
    key = builders.slice_key(b"v", [(0, 1)]).decode("utf-8", "surrogateescape")

    with tfckpt.open(prefix) as checkpoint:
        assert key not in checkpoint.reader
        assert "v" in checkpoint.reader


def test_slice_keys_that_look_like_names_are_found_as_names(tmp_path: pathlib.Path) -> None:
    """A tensor whose name begins with a zero byte may itself be partitioned."""
    name = b"\0w\0\1\0"
    bundle = Bundle().add_slices(name, builders.FLOAT, [2], [([(0, 1)], bytes(4)), ([(1, 1)], bytes(4))])
    bundle.add(b"\0", builders.FLOAT, [], bytes(4))

    found = read_all(bundle.write(tmp_path))

    assert {key: array.shape for key, array in found.items()} == {"\0": (), name.decode(): (2,)}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    cuts=st.lists(st.lists(st.integers(1, 4), max_size=2), min_size=3, max_size=3),
    order=st.randoms(use_true_random=False),
    big_endian=st.booleans(),
    compressed=st.booleans(),
    number=st.sampled_from([1, 3, 9, 10, 17, 18]),
)
def test_any_grid_of_slices_reads_like_the_whole(
    tmp_path: pathlib.Path,
    *,
    shape: list[int],
    cuts: list[list[int]],
    order: random.Random,
    big_endian: bool,
    compressed: bool,
    number: int,
) -> None:
    """Whatever the cuts, their order, the byte order and the compression of the index."""
    dtype = data_type(number).to_numpy()
    full: Array = (np.arange(math.prod(shape)) % 2 if dtype.kind == "b" else np.arange(math.prod(shape))).astype(dtype)
    full = full.reshape(shape)
    stored: Any = full.astype(dtype.newbyteorder(">" if big_endian else "<"))
    edges = [
        sorted({0, size, *(cut for cut in places if cut < size)}) for size, places in zip(shape, cuts, strict=False)
    ]
    boxes = list(itertools.product(*[itertools.pairwise(edge) for edge in edges]))
    order.shuffle(boxes)
    pieces: list[tuple[builders.Extents, bytes]] = [
        ([(low, high - low) for low, high in box], stored[tuple(slice(*pair) for pair in box)].tobytes())
        for box in boxes
    ]
    bundle = Bundle(big_endian=big_endian).add("whole", number, shape, stored.tobytes())
    bundle.add_slices("sliced", number, shape, pieces)
    framer = builders.snappy_frame if compressed else builders.plain

    found = read_all(bundle.write(tmp_path, index=bundle.index(framer=framer, per_block=2)))

    np.testing.assert_array_equal(found["sliced"], full)
    np.testing.assert_array_equal(found["whole"], full)
    assert found["sliced"].dtype == found["whole"].dtype == dtype


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tensors=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable()),
        st.one_of(
            st.lists(st.floats(width=32, allow_nan=False), max_size=5),
            st.lists(st.binary(max_size=9), max_size=5),
        ),
        max_size=8,
    ),
    per_block=st.integers(1, 4),
    interval=st.integers(1, 4),
    num_shards=st.integers(1, 3),
)
def test_any_bundle_reads_back(
    tmp_path: pathlib.Path,
    tensors: dict[str, list[float] | list[bytes]],
    per_block: int,
    interval: int,
    num_shards: int,
) -> None:
    """Names of any script, floats and strings, in any division into blocks and shards."""
    bundle = Bundle(num_shards=num_shards)
    for number, (name, values) in enumerate(tensors.items()):
        if values and isinstance(values[0], bytes):
            bundle.add_strings(name, [bytes(value) for value in values], shard_id=number % num_shards)
        else:
            payload = struct.pack(f"<{len(values)}f", *values)
            bundle.add(name, builders.FLOAT, [len(values)], payload, shard_id=number % num_shards)

    found = read_all(bundle.write(tmp_path, index=bundle.index(per_block=per_block, restart_interval=interval)))

    assert {name: array.tolist() for name, array in found.items()} == tensors
    assert list(found) == sorted(tensors, key=str.encode)


def test_variant_is_listed_with_its_shape(tmp_path: pathlib.Path) -> None:
    """Whether or not its values are opened up, its row is complete."""
    prefix = Bundle().add("v", 21, [2], b"").write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        info = checkpoint.info("v")

    assert (info.tf_dtype, info.shape, info.nbytes) == ("DT_VARIANT", (2,), 0)
