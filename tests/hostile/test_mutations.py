"""Small checkpoints with random changes give the correct values or one of our errors.

`TFCKPT_MUTATIONS` raises the number of checkpoints that are tried.
Seeds are fixed, so failures can be reproduced.
"""

from __future__ import annotations

import collections
import os
import pathlib
import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfckpt
from tests import builders
from tests.builders import Bundle
from tests.hostile.sealing import mutate, reseal

MUTATIONS = int(os.environ.get("TFCKPT_MUTATIONS", "600"))
Files = dict[str, bytes]


def bundle_files(*, big_endian: bool = False, framer: Callable[[bytes], bytes] = builders.plain) -> Files:
    """Return the files of a bundle with many kinds of tensors, by suffix."""
    order = ">" if big_endian else "<"
    bundle = Bundle(num_shards=2, big_endian=big_endian)
    bundle.add("scope/w", builders.FLOAT, [2, 3], struct.pack(order + "6f", *range(6)))
    bundle.add("scope/words", builders.STRING, [0], b"", crc=0)
    bundle.add_strings("scope/more", [b"one", b"", b"three" * 40], shard_id=1)
    bundle.add("scope/flags", builders.BOOL, [3], b"\1\0\1", shard_id=1)
    bundle.add("scope/int4", 29, [2], b"\x0e\x03")
    bundle.add("scope/empty", builders.DOUBLE, [3, 0], b"")
    bundle.add("step", builders.INT64, [], struct.pack(order + "q", 322))
    halves = [([(1, 1), None], struct.pack(order + "2f", 3, 4)), ([(0, 1), None], struct.pack(order + "2f", 1, 2))]
    bundle.add_slices("scope/part", builders.FLOAT, [2, 2], halves)
    return {
        ".index": bundle.index(per_block=5, restart_interval=2, framer=framer),
        ".data-00000-of-00002": bytes(bundle.shards[0]),
        ".data-00001-of-00002": bytes(bundle.shards[1]),
    }


SEEDS = {
    "plain": bundle_files(),
    "big-endian": bundle_files(big_endian=True),
    "snappy": bundle_files(framer=builders.snappy_frame),
}


def write_files(folder: pathlib.Path, files: Files) -> pathlib.Path:
    """Write the files of a checkpoint, and return its prefix."""
    for ending, data in files.items():
        (folder / f"model{ending}").write_bytes(data)
    return folder / "model"


def read_all(prefix: pathlib.Path) -> tuple[dict[str, object], list[tfckpt.CheckpointError]]:
    """Return the tensors that can be read, and the errors of the others and of the listing."""
    values: dict[str, object] = {}
    errors: list[tfckpt.CheckpointError] = []
    try:
        with tfckpt.open(prefix) as checkpoint:
            names = list(checkpoint)
            assert [info.name for info in checkpoint.infos()] == names
            for name in names:
                try:
                    values[name] = checkpoint[name].tolist()
                except tfckpt.CheckpointError as error:
                    errors.append(error)
    except tfckpt.CheckpointError as error:
        errors.append(error)
    return values, errors


@pytest.mark.parametrize("name", SEEDS)
def test_checkpoint_without_mutations_is_read(tmp_path: pathlib.Path, name: str) -> None:
    """All mutations below start from this; the function that corrects checksums leaves it unchanged."""
    values, errors = read_all(write_files(tmp_path, SEEDS[name]))

    assert errors == []
    assert values == {
        "scope/empty": [[], [], []],
        "scope/flags": [True, False, True],
        "scope/int4": [-2, 3],
        "scope/more": [b"one", b"", b"three" * 40],
        "scope/part": [[1, 2], [3, 4]],
        "scope/w": [[0, 1, 2], [3, 4, 5]],
        "scope/words": [],
        "step": 322,
    }
    assert reseal(SEEDS["plain"][".index"]) == SEEDS["plain"][".index"]


@pytest.mark.parametrize("name", SEEDS)
def test_any_changed_byte_is_noticed(tmp_path: pathlib.Path, name: str, run_all: bool) -> None:
    """Every third byte (with `--all` each of the plain file) is changed in turn; values that are read are right."""
    files = SEEDS[name]
    expected, _ = read_all(write_files(tmp_path, files))
    generator = random.Random(20_260_000)
    tried = noticed = 0

    for ending, data in files.items():
        for place in range(0, len(data), 1 if run_all and name == "plain" else 3):
            broken = bytearray(data)
            broken[place] ^= generator.randint(1, 255)
            prefix = write_files(tmp_path, {**files, ending: bytes(broken)})
            values, errors = read_all(prefix)

            assert values.items() <= expected.items(), f"{ending}, byte {place}"
            assert errors or values == expected, f"{ending}, byte {place}"
            tried += 1
            noticed += bool(errors)
        write_files(tmp_path, files)

    # Every byte of these files is covered by a checksum or a rule.
    assert noticed == tried > 100


@pytest.mark.parametrize("name", SEEDS)
def test_truncation_of_any_file_is_noticed(tmp_path: pathlib.Path, name: str) -> None:
    """Every seventh length of every file is tried."""
    files = SEEDS[name]
    expected, _ = read_all(write_files(tmp_path, files))

    for ending, data in files.items():
        for length in range(0, len(data), 7):
            values, errors = read_all(write_files(tmp_path, {**files, ending: data[:length]}))

            assert errors, f"{ending} of {length} bytes"
            assert values.items() <= expected.items()
        write_files(tmp_path, files)


def test_forged_indexes_give_values_or_our_errors(tmp_path: pathlib.Path) -> None:
    """The index is mutated at random and its checksums are corrected, so that the mutations reach every rule."""
    generator = random.Random(41)
    outcomes: collections.Counter[str] = collections.Counter()
    names = ["plain", "big-endian", "snappy"]

    for number in range(MUTATIONS):
        files = SEEDS[names[number % 7 % 3]]
        forged = mutate(files[".index"][:-48], generator) + files[".index"][-48:] if number % 3 else files[".index"]
        if number % 3 == 0:
            forged = mutate(files[".index"], generator)
        prefix = write_files(tmp_path, {**files, ".index": reseal(forged)})

        values, errors = read_all(prefix)

        outcomes.update(type(error).__name__ for error in errors)
        outcomes["read"] += bool(values)
        for error in errors:
            assert str(error).isprintable()
            assert len(str(error)) < 5000

    assert outcomes["read"] > MUTATIONS // 100
    assert {"CorruptionError", "TruncatedError", "ChecksumError"} <= set(outcomes)


def test_forged_entries_give_values_or_our_errors(tmp_path: pathlib.Path) -> None:
    """The messages in a valid table are mutated at random."""
    generator = random.Random(7)
    outcomes: collections.Counter[str] = collections.Counter()
    bundle = Bundle().add("w", builders.FLOAT, [2], bytes(8)).add_strings("s", [b"a", b"bc"])
    bundle.add_slices("p", builders.INT32, [2, 2], [([None, (0, 1)], bytes(8)), ([None, (1, 1)], bytes(8))])
    keys = sorted(bundle.entries)

    for _ in range(MUTATIONS):
        entries = dict(bundle.entries)
        for key in generator.sample(keys, generator.randint(1, 2)):
            entries[key] = mutate(entries[key], generator)
        forged = builders.table(sorted(entries.items()))
        values, errors = read_all(builders.write_index(tmp_path, forged, bytes(bundle.shards[0])))

        outcomes.update(type(error).__name__ for error in errors)
        outcomes["read"] += bool(values)

    assert outcomes["read"] > MUTATIONS // 50
    assert {"CorruptionError", "TruncatedError", "ChecksumError"} <= set(outcomes)


def test_forged_payloads_give_values_or_our_errors_without_verification(tmp_path: pathlib.Path) -> None:
    """Without checksums, any bytes of a shard give arrays of the correct shape, or one of our errors."""
    generator = random.Random(99)
    files = SEEDS["plain"]

    for _ in range(MUTATIONS // 5):
        shards = {ending: mutate(data, generator) for ending, data in files.items() if ending != ".index"}
        with tfckpt.open(write_files(tmp_path, {**files, **shards})) as checkpoint:
            for info in checkpoint.infos():
                try:
                    array = checkpoint.read(info.name, verify=False)
                except tfckpt.CheckpointError:
                    continue
                assert (array.shape, array.dtype) == (info.shape, info.dtype)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.binary(max_size=200), sealed=st.booleans())
def test_arbitrary_index_gives_our_error(tmp_path: pathlib.Path, index: bytes, sealed: bool) -> None:
    """Arbitrary bytes are tried with and without a correct footer and checksums."""
    forged = builders.table_of_blocks([index], [b"z"]) if sealed else index

    values, errors = read_all(builders.write_index(tmp_path, forged))

    assert values == {}
    assert errors or sealed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.dictionaries(st.binary(max_size=8), st.binary(max_size=30), max_size=6),
    per_block=st.integers(1, 3),
    interval=st.integers(1, 3),
)
def test_compression_of_an_index_does_not_change_the_result(
    tmp_path: pathlib.Path, entries: dict[bytes, bytes], per_block: int, interval: int
) -> None:
    """The values and the errors are the same for a plain and a compressed index of any entries."""
    table = sorted({**entries, b"": builders.header_proto()}.items())
    outcomes = []
    for framer in (builders.plain, builders.snappy_frame):
        index = builders.table(
            table, per_block=per_block, restart_interval=interval, frame_data=framer, frame_index=framer
        )
        values, errors = read_all(builders.write_index(tmp_path, index, bytes(64)))
        outcomes.append((values, [(type(error), error.message) for error in errors]))

    assert outcomes[0] == outcomes[1]
