"""Reading bundles: values, locations, slices, shards."""

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
    """Read every tensor."""
    with tfckpt.open(prefix) as checkpoint:
        return dict(checkpoint)


@pytest.mark.parametrize("number", FIXED_WIDTH, ids=[data_type(number).name for number in FIXED_WIDTH])
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_bundle_reads_scalar_and_empty_tensors(tmp_path: pathlib.Path, number: int, big_endian: bool) -> None:
    """This holds for every type in both byte orders, and `info` has the right dtype."""
    row = data_type(number)
    one = b"\1" + bytes(row.itemsize - 1)
    bundle = Bundle(big_endian=big_endian).add("scalar", number, [], one).add("empty", number, [2, 0, 3], b"")

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        scalar, empty = checkpoint["scalar"], checkpoint["empty"]
        info = checkpoint.info("scalar")

    swapped = b"".join(one[at : at + row.unit][::-1] for at in range(0, len(one), row.unit))
    assert (scalar.shape, scalar.tobytes()) == ((), swapped if big_endian else one)
    assert (empty.shape, empty.dtype) == ((2, 0, 3), scalar.dtype)
    assert (info.dtype, info.shape, info.size, info.nbytes) == (scalar.dtype, (), 1, row.itemsize)


def test_names_are_sorted_by_their_bytes(tmp_path: pathlib.Path) -> None:
    """The order of writing does not matter."""
    bundle = Bundle()
    for name in ("b", "a/b", "a", "Z", "\u00e9", "a0", "\U0001f600", "\uffff"):
        bundle.add(name, builders.FLOAT, [], bytes(4))

    names = list(read_all(bundle.write(tmp_path)))

    assert names == ["Z", "a", "a/b", "a0", "b", "\u00e9", "\uffff", "\U0001f600"]


def test_data_is_read_from_the_location_in_the_entry(tmp_path: pathlib.Path) -> None:
    """The data may be in any order, with gaps, aligned or not, in several shards."""
    bundle = Bundle(num_shards=3)
    bundle.add("z", builders.FLOAT, [2], struct.pack("<2f", 1, 2), shard_id=2)
    bundle.put(b"gap", shard_id=2)
    bundle.add("odd", builders.DOUBLE, [1], struct.pack("<d", 3), shard_id=2)
    bundle.add("aligned", builders.INT32, [1], struct.pack("<i", 4), shard_id=2, alignment=64)
    bundle.add("a", builders.FLOAT, [], struct.pack("<f", 5), shard_id=0)

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        locations = {info.name: (info.shard, info.offset) for info in checkpoint.infos()}
        values = {name: array.tolist() for name, array in checkpoint.items()}

    assert values == {"a": 5, "aligned": [4], "odd": [3], "z": [1, 2]}
    assert locations == {"a": (0, 0), "aligned": (2, 64), "odd": (2, 11), "z": (2, 0)}


def test_little_endian_tensors_are_views_of_the_mapped_file(tmp_path: pathlib.Path) -> None:
    """Arrays share memory, are read-only, and outlive the checkpoint."""
    prefix = Bundle().add("w", builders.FLOAT, [1000], bytes(4000)).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        first, second = checkpoint["w"], checkpoint["w"]

    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    assert not first.flags.owndata
    assert first.sum() == 0


def test_big_endian_tensors_are_read_only_copies_in_native_order(tmp_path: pathlib.Path) -> None:
    """The bytes in the file cannot be used directly."""
    prefix = Bundle(big_endian=True).add("w", builders.FLOAT, [2], struct.pack(">2f", 1, 2)).write(tmp_path)

    array = read_all(prefix)["w"]

    assert array.tolist() == [1, 2]
    assert array.dtype.isnative
    assert not array.flags.writeable


def test_opening_and_listing_do_not_need_the_shards(tmp_path: pathlib.Path) -> None:
    """The index contains everything about the tensors except their values."""
    prefix = Bundle().add("w", builders.FLOAT, [2], bytes(8)).write(tmp_path)
    prefix.with_name("model.data-00000-of-00001").unlink()

    with tfckpt.open(prefix) as checkpoint:
        assert [info.name for info in checkpoint.infos()] == ["w"]
        assert checkpoint.files == (f"{prefix}.index", f"{prefix}.data-00000-of-00001")


def test_thousands_of_entries_in_many_blocks_are_found(tmp_path: pathlib.Path) -> None:
    """Lookups work before and without listing."""
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


def test_error_for_an_unknown_name_offers_close_names(tmp_path: pathlib.Path) -> None:
    """They are in an attribute and in the message; there may be none."""
    prefix = Bundle().add("weights", builders.FLOAT, [], bytes(4)).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        reader = checkpoint.reader
        with pytest.raises(tfckpt.TensorNotFoundError, match="weights") as close:
            reader.info("weight")
        with pytest.raises(tfckpt.TensorNotFoundError) as unlike:
            reader.info("z")

    assert (close.value.path, close.value.tensor, close.value.close_names) == (str(prefix), "weight", ("weights",))
    assert unlike.value.close_names == ()


@pytest.mark.parametrize("length", [1, 127, 128, 5000, 300_000])
def test_names_of_any_length_are_found(tmp_path: pathlib.Path, length: int) -> None:
    """The lengths include those at which varints grow."""
    name = "n" * length
    prefix = Bundle().add(name, builders.FLOAT, [], struct.pack("<f", 7)).write(tmp_path)

    assert read_all(prefix) == {name: 7}


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("order", ORDERS, ids=[str(order) for order in ORDERS])
def test_partitioned_variable_assembles_from_slices_in_any_order(
    tmp_path: pathlib.Path, order: tuple[int, ...]
) -> None:
    """Both the parent and the data may have any order; `info` has the slices and no single location."""
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
    """This includes types that TensorFlow writes in slices but cannot assemble itself."""
    itemsize = data_type(number).itemsize
    one, two = b"\1" + bytes(itemsize - 1), bytes(2 * itemsize)
    prefix = Bundle().add_slices("v", number, [3], [([(0, 1)], one), ([(1, 2)], two)]).write(tmp_path)

    assert read_all(prefix)["v"].tobytes() == one + two


def test_slices_of_strings_are_assembled(tmp_path: pathlib.Path) -> None:
    """Only the format of their payloads differs."""
    bundle = Bundle().put_entry("v", builders.entry_proto(7, [2, 2], slices=[[None, (1, 1)], [None, (0, 1)]]))
    bundle.add_strings(builders.slice_key(b"v", [None, (0, 1)]), [b"a", b"b"], [2, 1])
    bundle.add_strings(builders.slice_key(b"v", [None, (1, 1)]), [b"c", b""], [2, 1])

    assert read_all(bundle.write(tmp_path))["v"].tolist() == [[b"a", b"c"], [b"b", b""]]


def test_slices_may_be_in_several_shards(tmp_path: pathlib.Path) -> None:
    """If one of the shards is missing, the tensor cannot be read, and `missing_files` lists it."""
    bundle = Bundle(num_shards=2).put_entry("v", builders.entry_proto(1, [2], slices=[[(0, 1)], [(1, 1)]]))
    bundle.add(builders.slice_key(b"v", [(0, 1)]), builders.FLOAT, [1], struct.pack("<f", 1), shard_id=0)
    bundle.add(builders.slice_key(b"v", [(1, 1)]), builders.FLOAT, [1], struct.pack("<f", 2), shard_id=1)
    prefix = bundle.write(tmp_path)
    assert read_all(prefix)["v"].tolist() == [1, 2]
    lost = tmp_path / "model.data-00001-of-00002"

    lost.unlink()

    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint.missing_files() == {str(lost): ("v",)}
        with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
            checkpoint["v"]

    assert (caught.value.path, caught.value.tensor) == (str(lost), "v")


def test_error_of_a_payload_has_the_path_of_the_wrong_file(tmp_path: pathlib.Path) -> None:
    """It is the index for a wrong entry, and the data shard for a payload past its end."""
    bundle = Bundle().put_entry("v", builders.entry_proto(1, [2], slices=[[(0, 1)], [(1, 1)]]))
    bundle.add("w", builders.FLOAT, [2], bytes(8), size=7).add("x", builders.FLOAT, [2], b"", offset=5, size=8)
    prefix = bundle.write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        reader = checkpoint.reader
        with pytest.raises(tfckpt.CorruptionError) as no_slice:
            reader.payloads("v")
        with pytest.raises(tfckpt.CorruptionError) as undescribed:
            reader.info("v")
        (past,) = reader.payloads("x")
        with pytest.raises(tfckpt.TruncatedError) as past_the_end:
            reader.read_payload("x", past)
        (payload,) = reader.payloads("w")
        with pytest.raises(tfckpt.CorruptionError) as wrong_size:
            reader.read_payload("w", payload)

    assert (no_slice.value.path, no_slice.value.tensor) == (f"{prefix}.index", "v")
    assert (undescribed.value.path, undescribed.value.tensor) == (f"{prefix}.index", "v")
    assert (past_the_end.value.needed, past_the_end.value.available) == (8, 3)
    assert (past_the_end.value.path, past_the_end.value.offset) == (f"{prefix}.data-00000-of-00001", 5)
    assert (wrong_size.value.path, wrong_size.value.tensor) == (f"{prefix}.index", "w")


def test_damage_inside_a_string_tensor_is_located(tmp_path: pathlib.Path) -> None:
    """The offset is that of an invalid length, or else that of the payload."""
    bundle = Bundle()
    bundle.put(bytes(10))
    bundle.add("length", builders.STRING, [2], b"\0" + b"\x80" * 20)
    bundle.add("sum", builders.STRING, [1], b"\0" + bytes(9))

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        with pytest.raises(tfckpt.CorruptionError) as length:
            checkpoint["length"]
        with pytest.raises(tfckpt.CorruptionError) as total:
            checkpoint["sum"]

    assert (length.value.offset, total.value.offset) == (11, 31)


def test_error_of_a_damaged_entry_has_path_and_tensor(tmp_path: pathlib.Path) -> None:
    """Listing and lookups raise the same error."""
    bundle = Bundle().add("a", builders.FLOAT, [], bytes(4))
    prefix = bundle.put_entry("w", builders.entry_proto(1, [-1])).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.CorruptionError) as lookup:
            checkpoint.info("w")
        with pytest.raises(tfckpt.CorruptionError) as listing:
            list(checkpoint.infos())

    for caught in (lookup, listing):
        assert (caught.value.path, caught.value.tensor) == (f"{prefix}.index", "w")


def test_key_of_a_slice_is_not_a_name(tmp_path: pathlib.Path) -> None:
    """This is true even before anything has been listed."""
    prefix = Bundle().add_slices("v", builders.FLOAT, [1], [([(0, 1)], bytes(4))]).write(tmp_path)
    key = builders.slice_key(b"v", [(0, 1)]).decode("utf-8", "surrogateescape")

    with tfckpt.open(prefix) as checkpoint:
        assert key not in checkpoint.reader
        assert "v" in checkpoint.reader


def test_names_that_look_like_slice_keys_are_names(tmp_path: pathlib.Path) -> None:
    """A tensor with such a name may itself be partitioned."""
    name = b"\0w\0\1\0"
    bundle = Bundle().add_slices(name, builders.FLOAT, [2], [([(0, 1)], bytes(4)), ([(1, 1)], bytes(4))])
    bundle.add(b"\0", builders.FLOAT, [], bytes(4))

    tensors = read_all(bundle.write(tmp_path))

    assert {key: array.shape for key, array in tensors.items()} == {"\0": (), name.decode(): (2,)}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    cuts=st.lists(st.lists(st.integers(1, 4), max_size=2), min_size=3, max_size=3),
    order=st.randoms(use_true_random=False),
    big_endian=st.booleans(),
    compressed=st.booleans(),
    number=st.sampled_from([1, 3, 9, 10, 17, 18]),
)
def test_any_grid_of_slices_reads_like_the_whole_tensor(
    tmp_path: pathlib.Path,
    *,
    shape: list[int],
    cuts: list[list[int]],
    order: random.Random,
    big_endian: bool,
    compressed: bool,
    number: int,
) -> None:
    """Neither the slices and their order, nor byte order and compression matter."""
    dtype = data_type(number).to_numpy()
    full: Array = (np.arange(math.prod(shape)) % 2 if dtype.kind == "b" else np.arange(math.prod(shape))).astype(dtype)
    full = full.reshape(shape)
    stored: Any = full.astype(dtype.newbyteorder(">" if big_endian else "<"))
    edges = [
        sorted({0, size, *(cut for cut in positions if cut < size)})
        for size, positions in zip(shape, cuts, strict=False)
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

    tensors = read_all(bundle.write(tmp_path, index=bundle.index(framer=framer, per_block=2)))

    np.testing.assert_array_equal(tensors["sliced"], full)
    np.testing.assert_array_equal(tensors["whole"], full)
    assert tensors["sliced"].dtype == tensors["whole"].dtype == dtype


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
    """Names may have any script, and tensors any division into blocks and shards."""
    bundle = Bundle(num_shards=num_shards)
    for number, (name, values) in enumerate(tensors.items()):
        if values and isinstance(values[0], bytes):
            bundle.add_strings(name, [bytes(value) for value in values], shard_id=number % num_shards)
        else:
            payload = struct.pack(f"<{len(values)}f", *values)
            bundle.add(name, builders.FLOAT, [len(values)], payload, shard_id=number % num_shards)

    arrays = read_all(bundle.write(tmp_path, index=bundle.index(per_block=per_block, restart_interval=interval)))

    assert {name: array.tolist() for name, array in arrays.items()} == tensors
    assert list(arrays) == sorted(tensors, key=str.encode)


def test_variant_is_listed_with_its_shape(tmp_path: pathlib.Path) -> None:
    """Its values cannot be read, but its description is complete."""
    prefix = Bundle().add("v", 21, [2], b"").write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        info = checkpoint.info("v")

    assert (info.tf_dtype, info.shape, info.nbytes) == ("DT_VARIANT", (2,), 0)
