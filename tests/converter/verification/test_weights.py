"""The reverse mapping: an output reproduces its source, and any change of it is found and named."""

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
    """Write an output anew after a change of its tensors or metadata."""
    found = read_output(path)
    tensors = {name: array.copy() for name, array in found.tensors.items()}
    metadata = dict(found.metadata)
    change(tensors, metadata)
    with path.open("wb") as file:
        write_tensors(tensors, metadata, file)


def test_reverse_mapping_reproduces_stored_bytes(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Every used source tensor comes back byte for byte, and every constant is right."""
    report = verify_weights(digits, output)

    assert report.ok
    assert report.findings() == []
    assert len([record for record in report.records if record.source is not None]) == 113
    assert report.summary().splitlines() == [
        "weights   113 of 113 source tensors reproduced byte for byte (253,288 bytes, moving averages)",
        "constants 19 of 19 as they should be",
    ]
    report.require()


def test_weights_choice_of_the_output_is_followed(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An output of raw values says so and is compared with raw values; held against averages it differs everywhere."""
    path = tmp_path / "raw.safetensors"
    export(convert(digits, weights="raw"), path)

    assert verify_weights(digits, path).weights == "raw"
    assert verify_weights(digits, path).ok
    assert not any(record.equal for record in verify_weights(digits, path, weights="ema").records if record.source)


def test_pth_without_metadata_is_compared_with_the_given_choice(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A plain state dict says nothing, so that averages are expected unless raw values are."""
    pytest.importorskip("torch", reason="the output is PyTorch's")
    path = tmp_path / "raw.pth"
    export(convert(digits, weights="raw"), path)

    assert verify_weights(digits, path, weights="raw").ok
    assert not verify_weights(digits, path).ok


def test_one_changed_byte_is_found_and_placed(digits: pathlib.Path, output: pathlib.Path) -> None:
    """The finding names the tensor, the first differing element in the source's axes, and how many differ."""

    def change(tensors: dict[str, Array], _: dict[str, str]) -> None:
        kernel = tensors["stages.3.0.depthwise.conv.weight"]  # (144, 1, 3, 3)
        kernel.view(np.uint8)[100, 0, 2, 4] ^= 1  # first byte of column 1

    rewrite(output, change)

    report = verify_weights(digits, output)

    (record,) = [record for record in report.records if not record.equal]
    assert record.source == SCOPE + "blocks_5/depthwise_conv2d/depthwise_kernel" + AVERAGE
    assert (record.first_index, record.differing, record.size) == ((2, 1, 100, 0), 1, 1296)
    assert report.findings() == [
        f"{record.source} (stages.3.0.depthwise.conv.weight): 1 of 1296 elements differ, the first at [2, 1, 100, 0]"
    ]
    with pytest.raises(VerificationError, match="does not reproduce its source: 1 finding\n") as caught:
        report.require()
    assert caught.value.report is report


def test_every_changed_byte_of_the_data_is_found(digits: pathlib.Path, output: pathlib.Path) -> None:
    """A change anywhere in the data of the file is a finding, tried at places all over it."""
    sound = output.read_bytes()
    begin = 8 + int.from_bytes(sound[:8], "little")

    for offset in range(begin, len(sound), (len(sound) - begin) // 20):
        output.write_bytes(sound[:offset] + bytes([sound[offset] ^ 1]) + sound[offset + 1 :])

        assert len(verify_weights(digits, output).findings()) == 1


def test_negative_zero_and_nan_are_compared_as_bytes(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Equal numbers of other bytes differ, and equal bytes that are no number agree."""
    with_nan = convert(digits)
    arrays = {record.source: with_nan.state_dict[record.target] for record in with_nan.report.tensors}
    bias = SCOPE + "head/dense/bias" + AVERAGE
    source = {name: np.ascontiguousarray(_back(array, name)) for name, array in arrays.items()}
    source[bias] = np.array([np.nan, 0.0, *range(8)], np.float32)
    rewrite(output, lambda tensors, _: tensors.update({"classifier.bias": source[bias].copy()}))
    assert verify_weights(source, output).ok

    rewrite(output, lambda tensors, _: tensors["classifier.bias"].__setitem__(1, -0.0))

    assert verify_weights(source, output).findings() == [
        f"{bias} (classifier.bias): 1 of 10 elements differ, the first at [1]"
    ]


def _back(array: Array, name: str) -> Array:
    """Take a target back to TensorFlow's axes, written out once more for the test."""
    if "depthwise_kernel" in name:
        array = array.transpose(1, 0, 2, 3)  # C1HW -> 1CHW: below, HWC1
    back: Array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return back


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda tensors: tensors.pop("stem.bn.bias"), "(stem.bn.bias): not in the output"),
        (
            lambda tensors: tensors.update({"stem.bn.bias": np.zeros(9, np.float32)}),
            "(stem.bn.bias): shape [9], expected [8]",
        ),
        (
            lambda tensors: tensors.update({"stem.bn.bias": tensors["stem.bn.bias"].astype(np.float64)}),
            "(stem.bn.bias): dtype float64, expected float32",
        ),
        (lambda tensors: tensors.update(extra=np.zeros(1)), "extra: in the output, but not of this network"),
        (
            lambda tensors: tensors["stem.bn.num_batches_tracked"].fill(1),
            "stem.bn.num_batches_tracked: 1 of 1 elements differ, the first at []",
        ),
    ],
    ids=["missing", "shape", "dtype", "unexpected", "constant"],
)
def test_other_differences_are_findings_too(
    digits: pathlib.Path, output: pathlib.Path, change: Callable[[dict[str, Array]], object], finding: str
) -> None:
    """What is missing, unexpected, of another shape or type, or no longer its constant value is listed."""
    rewrite(output, lambda tensors, _: change(tensors))

    (found,) = verify_weights(digits, output).findings()

    assert found.endswith(finding)


def test_two_swapped_tensors_are_both_found(digits: pathlib.Path, output: pathlib.Path) -> None:
    """An exchange of equal shapes is two findings."""
    names = ["stages.1.0.project.bn.weight", "stages.1.1.project.bn.weight"]
    rewrite(output, lambda tensors, _: tensors.update({names[0]: tensors[names[1]], names[1]: tensors[names[0]]}))

    report = verify_weights(digits, output)

    assert [record.target for record in report.records if not record.equal] == names


def test_config_that_is_not_the_sources_is_a_finding(digits: pathlib.Path, output: pathlib.Path) -> None:
    """Right weights under a wrong description make another network."""

    def change(_: dict[str, Array], metadata: dict[str, str]) -> None:
        config = json.loads(metadata[CONFIG_KEY])
        config["bn_epsilon"] = 1e-5
        metadata[CONFIG_KEY] = json.dumps(config)

    rewrite(output, change)

    assert verify_weights(digits, output).findings() == ["config: bn_epsilon is 1e-05, expected 0.001"]


def test_strides_of_the_output_are_used_when_the_source_has_none(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """A network whose strides were given at the conversion need not be told them again."""
    prefix = copied(digits)
    prefix.with_name("model.ckpt-322.meta").unlink()
    path = tmp_path / "x.safetensors"
    export(convert(prefix, strides=(1, 2, 2, 1)), path)

    assert verify_weights(prefix, path).ok


def test_damaged_source_is_an_error_and_no_comparison(
    digits: pathlib.Path, output: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]
) -> None:
    """The source is read with its checksums, so that two equal mistakes do not pass."""
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
    ],
)
def test_metadata_that_cannot_be_understood_is_corrupt(
    digits: pathlib.Path, output: pathlib.Path, metadata: dict[str, str]
) -> None:
    """What an output says of itself is checked before it is believed; without any it is held against the defaults."""
    rewrite(output, lambda _, found: found.clear())
    assert verify_weights(digits, output).ok
    export(convert(digits), output, force=True)
    rewrite(output, lambda _, found: found.update(metadata))

    with pytest.raises(CorruptionError, match="metadata of the output"):
        verify_weights(digits, output)


def test_published_network_is_verified_from_arrays(tmp_path: pathlib.Path) -> None:
    """A source in memory has no files and no graph, and is compared all the same."""
    from .. import networks

    arrays = networks.arrays("efficientnetv2-b0", scope="")
    result = convert(arrays)
    path = tmp_path / "b0.safetensors"
    export(dataclasses.replace(result, state_dict=dict(reversed(result.state_dict.items()))), path)
    assert isinstance(result, ConversionResult)

    assert verify_weights(arrays, path).ok
