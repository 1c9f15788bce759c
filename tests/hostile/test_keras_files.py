"""Hostile Keras files: what Keras does not write is refused by name, and what cannot be is rejected.

Each file is refused, or damaged, in one place; the plain file that it was made from opens.
"""

from __future__ import annotations

import os
import random
import struct
import time

import pytest

import tfckpt
from tests import hdf5
from tests.hostile.sealing import mutate, nudge
from tests.keras_files import expected, files_of, hostile, hostile_names

MUTATIONS = int(os.environ.get("TFCKPT_MUTATIONS", "600"))

#: File -> words of the message. h5py opens all of these but the last two, and follows the links to other files.
REFUSED = {
    "external-link": "link",
    "soft-link": "soft link",
    "hard-link": "hard link",
    "cycle": "hard link",
    "external-data": "external",
    "virtual": "virtual",
    "chunked": "chunked",
    "filtered": "",
    "variable-length": "variable-length",
    "fixed-text": "text",
    "compact": "compact",
    "committed-type": "",
    "compound": "compound",
    "never-written": "never written",
    "newer-links": "newer",
    "deep": "deep",
    "superblock-2": "superblock version 2",
    "superblock-3": "superblock version 3",
    "outside": "outside",
}


def test_every_recorded_hostile_file_is_in_the_table() -> None:
    """And the plain files open, one of them as deep as is allowed."""
    assert {name.removesuffix(".h5") for name in hostile_names()} == set(REFUSED)
    for name in ("plain.h5", "plain-deep.h5"):
        with tfckpt.open({name: hostile(name)}) as checkpoint:
            assert checkpoint["group/kernel"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("name", REFUSED)
def test_part_of_hdf5_that_keras_does_not_write_is_refused_by_name(name: str) -> None:
    """Nothing is followed or read, although the files it refers to are there."""
    files = {f"{name}.h5": hostile(f"{name}.h5"), "elsewhere.raw": hostile("elsewhere.raw")}

    with pytest.raises(tfckpt.CorruptionError if name == "outside" else tfckpt.UnsupportedFeatureError) as caught:
        tfckpt.open(files)

    assert REFUSED[name] in caught.value.message


# Files made by hand, byte by byte: what no library writes.


def test_handmade_file_opens() -> None:
    """The twin of all the files below."""
    with tfckpt.open({"a.h5": hdf5.File().write({"x": b"\0" * 8})}) as checkpoint:
        assert checkpoint["x"].tolist() == [0, 0]


def test_datasets_that_share_bytes_are_rejected() -> None:
    """A thousand datasets of one megabyte each in a file of one megabyte would take a gigabyte."""
    file = hdf5.File()
    data = file.put(bytes(1 << 20))
    members = {f"x{number:04}": file.dataset(data, 1 << 20) for number in range(1000)}

    start = time.perf_counter()
    with pytest.raises(tfckpt.CorruptionError, match="overlaps"):
        tfckpt.open({"a.h5": file.finish(file.group(members))})

    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("kind", ["headers", "nodes", "symbols", "names", "heaps", "blocks"])
def test_structures_that_share_bytes_are_rejected_in_linear_time(kind: str) -> None:
    """Whatever refers to one structure many times, or in a circle, claims more bytes than the file has."""
    start = time.perf_counter()
    with pytest.raises(tfckpt.CheckpointError):
        tfckpt.open({"a.h5": hdf5.OVERLAPPING[kind]()})

    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", [b"a/b", b".", b"..", b""])
def test_name_that_is_not_a_name_is_rejected(name: bytes) -> None:
    """A slash would make the path of another object; control characters are names, and are escaped when shown."""
    file = hdf5.File()

    with pytest.raises(tfckpt.CorruptionError):
        tfckpt.open({"a.h5": file.finish(file.group({name: file.dataset(file.put(bytes(8)), 8)}))})

    file = hdf5.File()
    data = file.finish(file.group({b"a\x1b[2J": file.dataset(file.put(bytes(8)), 8)}))
    with tfckpt.open({"a.h5": data}) as checkpoint:
        assert list(checkpoint) == ["a\x1b[2J"]


def test_names_out_of_order_or_twice_are_rejected() -> None:
    """HDF5 keeps them sorted, so two equal names are next to each other."""
    for names in ((b"b", b"a"), (b"a", b"a")):
        file = hdf5.File()
        members = [(name, file.dataset(file.put(bytes(8)), 8)) for name in names]
        with pytest.raises(tfckpt.CorruptionError, match="order"):
            tfckpt.open({"a.h5": file.finish(file.group(members))})


@pytest.mark.parametrize(
    ("shape", "nbytes"),
    [((1 << 62, 4), 0), ((3,), 8), ((2**63,), 8), ((0, 2**61), 0), ((1,) * 33, 4)],
    ids=["product overflows", "wrong size", "too many", "empty but huge", "too many dimensions"],
)
def test_shape_that_does_not_fit_the_data_is_rejected(shape: tuple[int, ...], nbytes: int) -> None:
    """Nothing is allocated; an empty shape with a huge dimension is only refused when it is read."""
    file = hdf5.File()
    data = file.finish(file.group({b"x": file.dataset(file.put(bytes(8)), nbytes, shape)}))

    with pytest.raises(tfckpt.CheckpointError), tfckpt.open({"a.h5": data}) as checkpoint:
        checkpoint["x"]


def test_long_text_that_many_attributes_share_is_rejected() -> None:
    """Each of 4,000 references to one text of a megabyte claims it again."""
    file = hdf5.File()
    heap = file.put(b"GCOL" + struct.pack("<4xQHHIQ", 32 + (1 << 20), 1, 1, 0, 1 << 20) + b"a" * (1 << 20))
    references = struct.pack("<IQI", 1 << 20, heap, 1) * 4000
    attribute = hdf5.attribute(b"layer_names", hdf5.VARIABLE_TEXT, (4000,), references)

    with pytest.raises(tfckpt.CorruptionError, match="overlap"):
        tfckpt.open({"a.h5": file.finish(file.group({}, [attribute]))})


def test_layers_and_weights_that_are_listed_many_times_take_linear_time() -> None:
    """Each list has 4,000 times one name; together they would be 16 million weights."""
    file = hdf5.File()
    data = file.dataset(file.put(bytes(8)), 8)
    weights = hdf5.attribute(b"weight_names", hdf5.text(8), (4000,), b"weight:0" * 4000)
    layer = file.group({b"weight:0": data}, [weights])
    layers = hdf5.attribute(b"layer_names", hdf5.text(8), (4000,), b"layer_00" * 4000)

    start = time.perf_counter()
    with tfckpt.open({"a.h5": file.finish(file.group({b"layer_00": layer}, [layers]))}) as checkpoint:
        assert list(checkpoint) == ["weight"]

    assert time.perf_counter() - start < 5


def test_long_name_of_a_model_around_many_layers_is_limited() -> None:
    """Each of 100 full names would contain a megabyte; the paths are still listed and read."""
    file = hdf5.File()
    heap = file.put(b"GCOL" + struct.pack("<4xQHHIQ", 32 + (1 << 20), 1, 1, 0, 1 << 20) + b"a" * (1 << 20))
    long = hdf5.attribute(b"name", hdf5.VARIABLE_TEXT, (), struct.pack("<IQI", 1 << 20, heap, 1))
    short = hdf5.attribute(b"name", hdf5.text(8), (), b"dense\0\0\0")

    def layer() -> int:
        return file.group({b"vars": file.group({b"0": file.dataset(file.put(bytes(8)), 8)}, [short])})

    dense = {b"dense" if not number else b"dense_%04d" % number: layer() for number in range(100)}
    model = file.group({b"layers": file.group(dense), b"vars": file.group({}, [long])})
    data = file.finish(file.group({b"layers": file.group({b"functional": model})}))

    with tfckpt.open({"a.h5": data}) as checkpoint:
        assert len(checkpoint) == 100
        with pytest.raises(tfckpt.LimitExceededError):
            checkpoint.variables()


def test_mutated_files_give_tensors_or_our_errors() -> None:
    """Whatever changes in the bytes of a file; each in linear time."""
    draw = random.Random("keras files")
    names = [name for name in sorted(expected()) if name.endswith(".h5")]
    outcomes = {True: 0, False: 0}
    for _ in range(MUTATIONS):
        name = draw.choice(names)
        data = draw.choice((mutate, nudge))(files_of(name)[name], draw)
        start = time.perf_counter()
        try:
            with tfckpt.open({name: data}) as checkpoint:
                for info in checkpoint.infos():
                    assert info.tf_dtype == "DT_INVALID" or checkpoint[info.name].shape == info.shape
                checkpoint.variables()
                tfckpt.summarize(checkpoint)
            outcomes[True] += 1
        except tfckpt.CheckpointError as error:
            assert "\n" not in str(error)
            outcomes[False] += 1
        assert time.perf_counter() - start < 5
    assert min(outcomes.values()) > MUTATIONS // 100
