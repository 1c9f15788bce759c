"""Keras files: every kind that Keras 3 and tf_keras write, compared with what h5py and Keras themselves read."""

from __future__ import annotations

import json
import pathlib
import time

import numpy as np
import pytest

import tfckpt
from tests import hdf5
from tests.arrays import digest
from tests.contracts.server import serving
from tests.keras_files import expected, files_of
from tfckpt.cli import main

FILES = sorted(expected())
OPTIMIZER = [name for name in FILES if "-optimizer" in name]


def open_file(name: str) -> tfckpt.Checkpoint:
    """Open a recorded file from memory."""
    return tfckpt.open(files_of(name))


def write_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Write a recorded file into a folder, with its shards if it has any."""
    for other, data in files_of(name).items():
        (folder / other).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("name", FILES)
def test_names_types_shapes_and_values_are_those_that_h5py_reads(name: str) -> None:
    """Legacy files have the names of weights, the others paths; a value without a type has no digest."""
    with open_file(name) as checkpoint:
        found = [
            {"name": info.name, "dtype": info.tf_dtype, "shape": list(info.shape)}
            | ({} if info.tf_dtype == "DT_INVALID" else {"sha256": digest(checkpoint[info.name])})
            for info in checkpoint.infos()
        ]

    assert found == expected()[name]["tensors"]


@pytest.mark.parametrize("name", [name for name in FILES if expected()[name]["variables"]])
def test_full_names_lead_to_the_variables_of_the_layers_in_keras(name: str) -> None:
    """Each variable of the model has its values under the names of its layer and its own.

    Legacy files leave out the name of a nested model, and tf_keras calls a depthwise kernel by a longer name.
    """

    def shorten(full_name: str) -> str:
        return full_name.removeprefix("inner/").replace("depthwise_kernel", "kernel")

    with open_file(name) as checkpoint:
        keys = {shorten(row.full_name): row.key for row in checkpoint.variables()}
        variables = {shorten(full_name): value for full_name, value in expected()[name]["variables"].items()}
        digests = {full_name: digest(checkpoint[keys[full_name]]) for full_name in variables}

    assert digests == variables


@pytest.mark.parametrize("name", OPTIMIZER)
def test_state_of_the_optimizer_is_told_apart(name: str, tmp_path: pathlib.Path) -> None:
    """A copy without it has exactly the variables of the model, and of metrics, byte for byte."""
    with open_file(name) as checkpoint:
        report = tfckpt.copy(checkpoint, tmp_path / "copy", to_v2=True, no_optimizer=True)
        summary = tfckpt.summarize(checkpoint)
        with tfckpt.open(tmp_path / "copy") as copy:
            same = {key: np.array_equal(copy[key], checkpoint[key]) for key in copy}

    assert all(same.values())
    assert set(report.dropped) == {key for key in expected_names(name) if key.startswith("optimizer")}
    assert summary.optimizer_tensors == len(report.dropped) > 20


def expected_names(name: str) -> list[str]:
    """Return the recorded names of a file's tensors."""
    return [tensor["name"] for tensor in expected()[name]["tensors"]]


def test_arrays_are_views_of_the_mapped_file(tmp_path: pathlib.Path) -> None:
    """They take no memory and cannot be written to; `mmap=False` gives copies of the same values."""
    path = write_file(tmp_path, "keras3.h5")

    with tfckpt.open(path) as checkpoint, tfckpt.open(path, mmap=False) as copied:
        first, again = checkpoint["conv2d/kernel"], checkpoint["conv2d/kernel"]
        assert np.shares_memory(first, again)
        assert not first.flags.writeable
        assert not np.shares_memory(copied["conv2d/kernel"], copied["conv2d/kernel"])
        assert np.array_equal(copied["conv2d/kernel"], first)


def test_keras_archive_is_read_in_place(tmp_path: pathlib.Path) -> None:
    """The weights of a `.keras` file are views of the zip archive, also if that is in a folder of its own."""
    path = write_file(tmp_path, "keras3.keras")

    for opened in (path, tmp_path, f"{path}!model.weights.h5"):
        with tfckpt.open(opened) as checkpoint:
            key = "layers/conv2d/vars/0"
            assert np.shares_memory(checkpoint[key], checkpoint[key])
            assert checkpoint.keras_config["class_name"] == "Functional"


def test_objects_of_a_remote_file_are_fetched_in_parallel() -> None:
    """Those of all groups on one level together, and the values of tensors only when they are read."""
    file = hdf5.File()
    layers = {}
    for number in range(40):
        dataset = file.dataset(file.put(bytes(80_000)), 80_000)
        layers[b"layer%02d" % number] = file.group({b"kernel": dataset})
    data = file.finish(file.group(layers))
    in_flight: list[int] = [0, 0]

    def wait(*_: object) -> bool:
        in_flight[0] += 1
        in_flight[1] = max(in_flight)
        time.sleep(0.02)
        in_flight[0] -= 1
        return False

    with serving({"a.h5": data}) as server:
        server.fault = wait
        with tfckpt.open(f"{server.url}a.h5") as checkpoint:
            assert len(checkpoint) == 40
            assert in_flight[1] > 3
            assert server.sent < len(data) * 0.8
            assert checkpoint["layer07/kernel"].shape == (20_000,)


def test_shard_stands_for_the_whole_sharded_file(tmp_path: pathlib.Path) -> None:
    """Any shard opens all of them, with a note; without the `.weights.json` file it is a file of its own."""
    path = write_file(tmp_path, "keras3-sharded.weights.json")
    shard = tmp_path / "keras3-sharded_00001.weights.h5"

    with tfckpt.open(shard) as checkpoint, tfckpt.open(tmp_path) as from_folder:
        assert list(checkpoint) == list(from_folder) == expected_names(path.name)
        assert checkpoint.notes
        assert checkpoint.prefix == str(path)
    path.unlink()
    with tfckpt.open(shard) as alone:
        assert 0 < len(alone) < len(expected_names(path.name))


def test_keras_files_of_a_folder_are_listed(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sorted with other checkpoints, a sharded one once; none is the latest, and `doctor` mentions those beside one."""
    for name in ("keras3.keras", "keras3.h5", "keras3-sharded.weights.json"):
        write_file(tmp_path, name)
    tfckpt.save({"w": np.zeros(1)}, tmp_path / "model.ckpt-7")

    prefixes = [pathlib.Path(known.prefix).name for known in tfckpt.checkpoints(tmp_path)]
    code = main(["doctor", str(tmp_path / "model.ckpt-7")])

    assert prefixes == ["keras3-sharded.weights.json", "keras3.h5", "keras3.keras", "model.ckpt-7"]
    assert code == 0
    assert "3 Keras files in this folder" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "checkpoint").unlink(missing_ok=True)
    assert tfckpt.latest_checkpoint(tmp_path) is None
    for known in tfckpt.checkpoints(tmp_path):
        tfckpt.open(known.prefix).close()


def test_missing_shard_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    """With the file put back the checkpoint opens."""
    path = write_file(tmp_path, "keras3-sharded.weights.json")
    shard = tmp_path / "keras3-sharded_00001.weights.h5"
    data = shard.read_bytes()
    shard.unlink()

    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(path)

    assert caught.value.path == str(shard)
    shard.write_bytes(data)
    tfckpt.open(path).close()


@pytest.mark.parametrize("name", ["../a_00000.weights.h5", "/a_00000.weights.h5", "a\\b.h5", "a.zip!b.h5", 5, [5], "a"])
def test_sharded_file_names_only_files_next_to_it(name: object) -> None:
    """A path elsewhere, or anything that is not a name, is an error; a plain name opens."""
    index = {"weight_map": {"/layers/conv2d/vars": name}}
    files = {"a_00000.weights.h5": files_of("keras3.weights.h5")["keras3.weights.h5"]}

    with pytest.raises(tfckpt.CorruptionError):
        tfckpt.open({**files, "a.weights.json": json.dumps(index).encode()})
    index = {"weight_map": {"/layers/conv2d/vars": "a_00000.weights.h5"}}
    tfckpt.open({**files, "a.weights.json": json.dumps(index).encode()}).close()


def test_repeated_tensors_must_be_equal() -> None:
    """Two layers own one variable: equal bytes are one tensor, different bytes an error that names both datasets."""
    name = "tf_keras-repeated.h5"
    data = files_of(name)[name]
    with tfckpt.open({name: data}) as checkpoint:
        table = checkpoint["table"].tobytes()

    first, second = data.index(table), data.rindex(table)
    assert first != second
    with pytest.raises(tfckpt.CorruptionError) as caught:
        tfckpt.open({name: data[:second] + bytes(len(table)) + data[second + len(table) :]})
    assert caught.value.tensor == "table"


def test_bfloat16_without_a_type_is_listed_and_not_read() -> None:
    """Neither the file nor a configuration says what the two bytes are; the float32 tensors of the file are read."""
    with open_file("tf_keras-bfloat16.weights.h5") as checkpoint:
        assert checkpoint.info("layers/conv2d/vars/0").tf_dtype == "DT_INVALID"
        assert checkpoint["layers/batch_normalization/vars/0"].dtype == np.float32
        with pytest.raises(tfckpt.UnsupportedFeatureError):
            checkpoint["layers/conv2d/vars/0"]


def test_file_that_was_cut_off_is_truncated() -> None:
    """Every shorter length is an error of ours; the whole file opens."""
    name = "tf_keras-legacy.h5"
    data = files_of(name)[name]

    for length in range(len(data) - 1, 8, -997):
        with pytest.raises(tfckpt.CorruptionError) as caught:
            tfckpt.open({name: data[:length]})
        assert isinstance(caught.value, tfckpt.TruncatedError)
    tfckpt.open({name: data}).close()


@pytest.mark.parametrize("name", FILES)
def test_every_verb_works_on_every_kind(name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All end with exit code 0, but `verify` with 5 for values without a type."""
    path = str(write_file(tmp_path, name))
    untyped = any(tensor["dtype"] == "DT_INVALID" for tensor in expected()[name]["tensors"])
    first = expected_names(name)[0]

    for arguments in (["info"], ["ls"], ["tree"], ["show", "--stats", first], ["doctor"]):
        assert main([arguments[0], path, *arguments[1:][::-1]]) == 0
    assert main(["verify", path]) == (5 if untyped else 0)
    if not untyped:
        assert "no checksums" in capsys.readouterr().out
        assert main(["export", path, "-o", str(tmp_path / "weights.safetensors")]) == 0
        assert main(["cp", path, str(tmp_path / "copy"), "--to-v2"]) == 0
        assert main(["diff", path, str(tmp_path / "copy")]) == 0
    capsys.readouterr()


def test_keras_config_of_a_file_with_weights_only_is_none() -> None:
    """A whole model has one, as JSON that was parsed."""
    with open_file("keras3.weights.h5") as weights, open_file("tf_keras.h5") as whole:
        assert weights.keras_config is None
        assert whole.keras_config["config"]["layers"]
