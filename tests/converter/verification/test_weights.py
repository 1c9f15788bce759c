"""The reverse mapping: an output reproduces its source, and any change is found in its place."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from converter._typing import Array
from converter.conversion import ConversionResult, convert
from converter.errors import VerificationError
from converter.exporting import export
from converter.formats.files import CONFIG_KEY, PROVENANCE_KEY, read_output
from converter.formats.safetensors import write_tensors
from converter.verification.weights import verify_weights
from tfckpt.errors import ChecksumError, CorruptionError

AVERAGE = "/ExponentialMovingAverage"
SCOPE = "efficientnetv2-digits/"


def rewrite(path: pathlib.Path, change: Callable[[dict[str, Array], dict[str, str]], object]) -> None:
    """Write an output again after a change of its tensors or metadata."""
    output = read_output(path)
    tensors = {name: array.copy() for name, array in output.tensors.items()}
    metadata = dict(output.metadata)
    change(tensors, metadata)
    with path.open("wb") as file:
        write_tensors(tensors, metadata, file)


def test_reverse_mapping_reproduces_stored_bytes(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Every used source tensor is reproduced byte for byte, and every constant is correct."""
    report = verify_weights(digits, output)

    assert report.ok
    assert report.findings() == []
    assert len([record for record in report.records if record.source is not None]) == 113
    assert len([record for record in report.records if record.source is None]) == 19
    assert report.nbytes == 253_288
    report.require()


def test_recorded_choice_of_weights_is_the_default(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An output of raw values is compared with raw values, and differs everywhere from averages."""
    path = tmp_path / "raw.safetensors"
    export(convert(digits, weights="raw"), path, proof="none")

    assert verify_weights(digits, path).weights == "raw"
    assert verify_weights(digits, path).ok
    assert not any(record.equal for record in verify_weights(digits, path, weights="ema").records if record.source)


def test_pth_without_metadata_is_compared_with_the_given_choice(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A plain state dict records no choice, so averages are the default."""
    pytest.importorskip("torch", reason="the output is PyTorch's")
    path = tmp_path / "raw.pth"
    export(convert(digits, weights="raw"), path, proof="none")

    assert verify_weights(digits, path, weights="raw").ok
    assert not verify_weights(digits, path).ok


def test_one_changed_byte_is_found_and_placed(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The record has the tensor, the first different element in the source's axes, and the number of different ones."""

    def change(tensors: dict[str, Array], _: dict[str, str]) -> None:
        kernel = tensors["stages.3.0.depthwise.conv.weight"]  # (144, 1, 3, 3)
        kernel.view(np.uint8)[100, 0, 2, 4] ^= 1  # first byte of column 1

    rewrite(output, change)

    report = verify_weights(digits, output)

    (record,) = [record for record in report.records if not record.equal]
    assert record.source == SCOPE + "blocks_5/depthwise_conv2d/depthwise_kernel" + AVERAGE
    assert (record.first_index, record.differing, record.size) == ((2, 1, 100, 0), 1, 1296)
    assert len(report.findings()) == 1
    with pytest.raises(VerificationError) as caught:
        report.require()
    assert caught.value.report is report


def test_every_changed_byte_of_the_data_is_found(digits: pathlib.Path, output: pathlib.Path, run_all: bool) -> None:
    """A change anywhere in the data of the file is a finding; 5 positions are tried, or 20."""
    sound = output.read_bytes()
    begin = 8 + int.from_bytes(sound[:8], "little")

    for offset in range(begin, len(sound), (len(sound) - begin) // (20 if run_all else 5)):
        output.write_bytes(sound[:offset] + bytes([sound[offset] ^ 1]) + sound[offset + 1 :])

        assert len(verify_weights(digits, output).findings()) == 1


def test_negative_zero_and_nan_are_compared_as_bytes(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Equal numbers with different bytes differ, and NaNs with equal bytes agree."""
    with_nan = convert(digits)
    arrays = {record.source: with_nan.state_dict[record.target] for record in with_nan.report.tensors}
    bias = SCOPE + "head/dense/bias" + AVERAGE
    source = {name: np.ascontiguousarray(_invert(array, name)) for name, array in arrays.items()}
    source[bias] = np.array([np.nan, 0.0, *range(8)], np.float32)
    rewrite(output, lambda tensors, _: tensors.update({"classifier.bias": source[bias].copy()}))
    assert verify_weights(source, output).ok

    rewrite(output, lambda tensors, _: tensors["classifier.bias"].__setitem__(1, -0.0))

    (record,) = [record for record in verify_weights(source, output).records if not record.equal]
    assert (record.source, record.first_index, record.differing) == (bias, (1,), 1)


def _invert(array: Array, name: str) -> Array:
    """Return a target in TensorFlow's axes, without the code under test."""
    if "depthwise_kernel" in name:
        array = array.transpose(1, 0, 2, 3)  # C1HW -> 1CHW, which becomes HWC1 below
    inverted: Array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return inverted


@pytest.mark.parametrize(
    ("change", "target"),
    [
        (lambda tensors: tensors.pop("stem.bn.bias"), "stem.bn.bias"),
        (lambda tensors: tensors.update({"stem.bn.bias": np.zeros(9, np.float32)}), "stem.bn.bias"),
        (lambda tensors: tensors.update({"stem.bn.bias": np.zeros(8, np.float64)}), "stem.bn.bias"),
        (lambda tensors: tensors.update(extra=np.zeros(1)), "extra"),
        (lambda tensors: tensors["stem.bn.num_batches_tracked"].fill(1), "stem.bn.num_batches_tracked"),
    ],
    ids=["missing", "shape", "dtype", "unexpected", "constant"],
)
def test_other_differences_are_findings_too(
    digits: pathlib.Path, output: pathlib.Path, change: Callable[[dict[str, Array]], object], target: str
) -> None:
    """The report lists a missing or unexpected tensor, a wrong shape or dtype, and a wrong constant."""
    rewrite(output, lambda tensors, _: change(tensors))

    report = verify_weights(digits, output)

    assert len(report.findings()) == 1
    assert [*(record.target for record in report.records if not record.equal), *report.unexpected] == [target]


def test_two_swapped_tensors_are_both_found(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Swapping two tensors of equal shape gives two findings."""
    names = ["stages.1.0.project.bn.weight", "stages.1.1.project.bn.weight"]
    rewrite(output, lambda tensors, _: tensors.update({names[0]: tensors[names[1]], names[1]: tensors[names[0]]}))

    report = verify_weights(digits, output)

    assert [record.target for record in report.records if not record.equal] == names


def test_config_that_differs_from_the_source_is_a_finding(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Correct weights with a wrong config are a different network."""

    def change(_: dict[str, Array], metadata: dict[str, str]) -> None:
        config = json.loads(metadata[CONFIG_KEY])
        config["bn_epsilon"] = 1e-5
        metadata[CONFIG_KEY] = json.dumps(config)

    rewrite(output, change)

    (difference,) = verify_weights(digits, output).config_differences
    assert "bn_epsilon" in difference


def test_strides_of_the_output_are_used_if_the_source_has_none(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """Strides that were given for the conversion need not be repeated."""
    prefix = copied(digits)
    prefix.with_name("model.ckpt-322.meta").unlink()
    path = tmp_path / "x.safetensors"
    export(convert(prefix, strides=(1, 2, 2, 1)), path, proof="none")

    assert verify_weights(prefix, path).ok


def test_damaged_source_is_an_error(
    digits: pathlib.Path, output: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]
) -> None:
    """The checksums of the source are verified, so an equally damaged output does not agree."""
    prefix = copied(digits)
    shard = prefix.with_name("model.ckpt-322.data-00000-of-00001")
    shard.write_bytes(bytes(len(shard.read_bytes())))

    with pytest.raises(ChecksumError):
        verify_weights(prefix, output)


@pytest.mark.parametrize(
    "metadata",
    [
        {CONFIG_KEY: "{"},
        {CONFIG_KEY: "{}"},
        {PROVENANCE_KEY: "{}"},
        {PROVENANCE_KEY: '{"weights": {"choice": "best"}, "rules": {"scope": ""}}'},
        {
            PROVENANCE_KEY: '{"weights": {"choice": "ema"}, "rules": {"scope": "", "name": "automl"}, '
            '"model": {"specified": {"epsilon": 2}}}'
        },
    ],
)
def test_invalid_metadata_is_refused(digits: pathlib.Path, output: pathlib.Path, metadata: dict[str, str]) -> None:
    """The metadata of an output are checked; without metadata the defaults are used."""
    rewrite(output, lambda _, recorded: recorded.clear())
    assert verify_weights(digits, output).ok
    export(convert(digits), output, force=True, proof="none")
    rewrite(output, lambda _, recorded: recorded.update(metadata))

    with pytest.raises(CorruptionError) as caught:
        verify_weights(digits, output)
    assert caught.value.path == str(output)


def test_published_network_is_verified_from_arrays(tmp_path: pathlib.Path) -> None:
    """Arrays in memory have no files and no graph, and can be a source too."""
    from .. import networks

    arrays = networks.arrays("efficientnetv2-b0", scope="")
    result = convert(arrays)
    path = tmp_path / "b0.safetensors"
    export(dataclasses.replace(result, state_dict=dict(reversed(result.state_dict.items()))), path)
    assert isinstance(result, ConversionResult)

    assert verify_weights(arrays, path).ok
