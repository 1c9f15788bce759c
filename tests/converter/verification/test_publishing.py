"""The proof before an output is published: what agrees is recorded in it, and nothing else gets its name."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil

import pytest

pytest.importorskip("torch", reason="the graph runs in PyTorch")

import converter
import tfckpt
from converter.conversion import ConversionResult
from converter.errors import GraphError, VerificationError
from converter.formats.files import read_output
from converter.formats.proof import NO_GRAPH, ProofRecord, hash_tensors, read_proof
from converter.model import EfficientNetConfig

from .cases import DATA

DIGITS = DATA / "digits" / "efficientnetv2-digits"


@pytest.fixture(scope="module")
def result() -> ConversionResult:
    """The converted network of the digits."""
    return converter.convert(DIGITS)


def stored(path: pathlib.Path) -> ProofRecord | None:
    """Return the record stored with an output."""
    return read_proof(read_output(path), path)


def change(result: ConversionResult, **values: object) -> ConversionResult:
    """Return the result with another config, as a wrong conversion would have it."""
    assert result.config is not None
    config: EfficientNetConfig = dataclasses.replace(result.config, **values)
    return dataclasses.replace(result, config=config)


@pytest.mark.parametrize("name", ["d.safetensors", "d.npz", "folder"])
def test_proof_is_stored_with_the_output(result: ConversionResult, tmp_path: pathlib.Path, name: str) -> None:
    """The record has the layers, the measure, the files and the versions, and belongs to the written tensors."""
    path = tmp_path / name

    record = converter.export(result, path)

    assert record is not None and record == stored(path)
    assert record.layers is not None
    assert (record.weights, record.constants, record.layers.count) == (113, 19, 37)
    assert record.layers.difference <= record.layers.allowed < 1e-4
    assert record.layers.alone <= record.layers.alone_allowed
    assert set(record.files) == {"model.ckpt-322.index", "model.ckpt-322.meta"}
    assert {"tfckpt", "torch", "numpy"} == set(record.versions)
    assert record.tensors_sha256 == hash_tensors(read_output(path).tensors)


def test_shards_have_the_proof_in_a_file_of_their_folder(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The metadata of the shards are written before the proof."""
    record = converter.export(result, tmp_path / "folder", shard_size=100_000)

    assert record == stored(tmp_path / "folder")


def test_changes_are_proved_apart_from_the_layers(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Rounded weights are not the checkpoint's, so the record names the change."""
    record = converter.export(result, tmp_path / "d.safetensors", dtype="float16")

    assert record is not None and record.layers is not None
    assert len(record.changes) == 1
    assert record.tensors_sha256 == hash_tensors(read_output(tmp_path / "d.safetensors").tensors)


@pytest.mark.parametrize(
    ("values", "cause"),
    [({"activation": "relu"}, "activation"), ({"bn_epsilon": 0.002}, "epsilon"), ({"pooling": "max"}, None)],
    ids=["activation", "epsilon", "pooling"],
)
def test_network_that_its_graph_contradicts_is_not_published(
    *, result: ConversionResult, tmp_path: pathlib.Path, values: dict[str, object], cause: str | None
) -> None:
    """The error has the comparison with the cause, and neither output nor report exist."""
    wrong = change(result, **values)

    with pytest.raises(VerificationError) as caught:
        converter.export(wrong, tmp_path / "d.safetensors", report=tmp_path / "d.json")

    assert caught.value.exit_code == 1
    causes = [text for _, text in caught.value.report.layers.causes]  # type: ignore[attr-defined]  # a Proof
    assert cause is None or any(cause in text for text in causes)
    assert os.listdir(tmp_path) == []


def test_tensor_that_differs_from_the_source_is_not_published(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """A single changed value is enough."""
    changed = {name: array.copy() for name, array in result.state_dict.items()}
    changed["classifier.bias"][0] += 1

    with pytest.raises(VerificationError):
        converter.export(dataclasses.replace(result, state_dict=changed), tmp_path / "d.npz")

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["stem.conv.weight", "stem.bn.num_batches_tracked"])
def test_result_that_lacks_a_tensor_is_not_published(
    result: ConversionResult, tmp_path: pathlib.Path, name: str
) -> None:
    """A variable and a constant; a caller may have changed the state dict."""
    state_dict = {key: array for key, array in result.state_dict.items() if key != name}

    with pytest.raises(VerificationError):
        converter.export(dataclasses.replace(result, state_dict=state_dict), tmp_path / "d.safetensors")

    assert os.listdir(tmp_path) == []


def test_without_a_graph_only_the_weights_are_proved(tmp_path: pathlib.Path) -> None:
    """That is recorded, and an error if the proof of layers is required."""
    for path in DIGITS.iterdir():
        if path.suffix != ".meta":
            shutil.copy(path, tmp_path)
    result = converter.convert(tmp_path, strides=(1, 2, 2, 1))

    record = converter.export(result, tmp_path / "d.safetensors")

    assert record is not None
    assert (record.layers, record.reason, record.weights) == (None, NO_GRAPH, 113)
    with pytest.raises(GraphError):
        converter.export(result, tmp_path / "other.safetensors", proof="require")
    assert not (tmp_path / "other.safetensors").exists()


def test_no_proof_leaves_no_record(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Nothing is compared or reserved."""
    assert converter.export(result, tmp_path / "d.safetensors", proof="none") is None
    assert stored(tmp_path / "d.safetensors") is None


def test_closed_checkpoint_is_opened_again(tmp_path: pathlib.Path) -> None:
    """The graph is needed after the conversion."""
    with tfckpt.open(DIGITS) as checkpoint:
        result = converter.convert(checkpoint)

    record = converter.export(result, tmp_path / "d.safetensors")

    assert record is not None and record.layers is not None
