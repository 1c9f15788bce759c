"""Conversion from end to end, of the digits checkpoint that TensorFlow wrote, and refused sources."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import converter
import tfckpt
from converter.conversion import ConversionOptions, convert, convert_to_views, plan_conversion
from converter.errors import ConversionError, UnknownModelError
from converter.families.averages import WeightsChoice
from converter.mapping.rules import Rule
from tfckpt.errors import ChecksumError

from . import networks

AVERAGE = "/ExponentialMovingAverage"
SCOPE = "efficientnetv2-digits/"


@pytest.mark.parametrize(
    ("weights", "averaged", "suffix"), [("ema", 113, AVERAGE), ("raw", 0, "")], ids=["averages", "raw values"]
)
def test_digits_convert_with_every_tensor_accounted_for(
    digits: pathlib.Path, weights: WeightsChoice, averaged: int, suffix: str
) -> None:
    """113 tensors are used, 114 are ignored for stated reasons, and 19 of the 132 targets are constants."""
    result = convert(digits, weights=weights)

    report = result.report
    assert (len(report.tensors), len(report.ignored), len(report.constants)) == (113, 114, 19)
    assert report.averaged == averaged
    assert len(result.state_dict) == 132
    assert {record.source.endswith(AVERAGE) for record in report.tensors} == {bool(suffix)}
    with tfckpt.open(digits) as checkpoint:
        kernel = checkpoint[SCOPE + "blocks_3/conv2d_1/kernel" + suffix]
        depthwise = checkpoint[SCOPE + "blocks_5/depthwise_conv2d/depthwise_kernel" + suffix]
        dense = checkpoint[SCOPE + "head/dense/kernel" + suffix]
    assert np.array_equal(result.state_dict["stages.2.0.project.conv.weight"], kernel.transpose(3, 2, 0, 1))
    assert np.array_equal(
        result.state_dict["stages.3.0.depthwise.conv.weight"][:, 0], depthwise[..., 0].transpose(2, 0, 1)
    )
    assert np.array_equal(result.state_dict["classifier.weight"], dense.T)


def test_digits_are_described_from_shapes_and_graph(digits: pathlib.Path) -> None:
    """The stages are those of the trained network, with strides, although the network is not published."""
    config = convert(digits).config

    rows = [
        (s.block, s.kernel, s.repeats, s.stride, s.expansion, s.in_channels, s.out_channels, s.se_ratio)
        for s in config.stages
    ]
    assert rows == [
        ("fused", 3, 1, 1, 1, 8, 8, 0.0),
        ("fused", 3, 2, 2, 4, 8, 16, 0.0),
        ("mbconv", 5, 2, 2, 4, 16, 24, 0.25),
        ("mbconv", 3, 2, 1, 6, 24, 32, 0.25),
    ]
    assert (config.stem_channels, config.stem_stride, config.head_channels, config.num_classes) == (8, 2, 64, 10)
    assert config.bn_epsilon == 1e-3


def test_training_checkpoint_converts_to_the_same_network(digits: pathlib.Path, data: pathlib.Path) -> None:
    """Optimizer slots and a training graph change only the list of ignored tensors."""
    released = convert(digits)
    trained = convert(data / "digits-train")

    assert trained.config == released.config
    assert all(np.array_equal(trained.state_dict[name], array) for name, array in released.state_dict.items())
    reasons = [record.reason for record in trained.report.ignored]
    assert reasons.count("slot of the optimizer RMSProp") == 150


def test_digits_without_their_graph_need_strides(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]
) -> None:
    """Without `.meta` the conversion needs strides, and with them the network is the same."""
    prefix = copied(digits)
    prefix.with_name("model.ckpt-322.meta").unlink()

    with pytest.raises(converter.UnknownModelError):
        convert(prefix)
    assert convert(prefix, strides=(1, 2, 2, 1)).config == convert(digits).config


def test_arrays_outlive_the_checkpoint_and_are_views_where_the_order_is_the_same(digits: pathlib.Path) -> None:
    """Nothing is copied that need not be; all arrays stay valid after the checkpoint is closed."""
    with tfckpt.open(digits) as checkpoint:
        result = convert(checkpoint)

    assert not result.state_dict["stem.bn.weight"].flags.owndata
    assert np.isfinite(result.state_dict["stem.conv.weight"]).all()
    assert not any(result.state_dict[name].flags.writeable for name in ("stem.bn.weight", "stem.conv.weight"))


def test_every_array_is_in_c_order_with_the_values_of_the_views(digits: pathlib.Path) -> None:
    """Writers that ignore strides would write transposed kernels wrong; 28 of 132 arrays are transposed."""
    result = convert(digits)
    views = convert_to_views(digits).state_dict

    assert list(result.state_dict) == list(views)
    assert all(array.flags.c_contiguous for array in result.state_dict.values())
    assert sum(not array.flags.c_contiguous for array in views.values()) == 28
    assert all(np.array_equal(result.state_dict[name], array) for name, array in views.items())


def test_writers_that_ignore_strides_write_a_state_dict_right(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The library of the safetensors format, for NumPy."""
    safetensors = pytest.importorskip("safetensors.numpy")
    state_dict = convert(digits).state_dict

    safetensors.save_file(state_dict, tmp_path / "x.safetensors")

    converter.export(convert(digits), tmp_path / "ours.safetensors", proof="none")
    written, ours = (safetensors.load_file(tmp_path / name) for name in ("x.safetensors", "ours.safetensors"))
    assert len(written) == 132
    assert all(np.array_equal(written[name], array) for name, array in ours.items())


def test_arrays_of_a_writable_checkpoint_can_be_changed(digits: pathlib.Path) -> None:
    """Transposed or not, and without an effect on the next conversion."""
    with tfckpt.open(digits, writable=True) as checkpoint:
        first = convert(checkpoint).state_dict
        for name in ("stem.bn.weight", "stem.conv.weight"):
            first[name] *= 2
        second = convert(checkpoint).state_dict

    for name in ("stem.bn.weight", "stem.conv.weight"):
        assert np.array_equal(first[name], 2 * second[name])


def test_memory_of_a_conversion_is_the_size_of_the_result(tmp_path: pathlib.Path) -> None:
    """Arrays are brought into C order one at a time, and views copy nothing; NumPy's allocations are counted."""
    kernel = np.zeros((8, 8, 128, 128), np.float32)
    tfckpt.save({f"k{number}": kernel for number in range(8)}, tmp_path / "model")
    rules = converter.RuleSet(name="test", version="1", rules=(Rule("k{n}", "k{n}", "conv2d"),))
    targets = {f"k{number}": (128, 128, 8, 8) for number in range(8)}

    def peak(action: Callable[[], object]) -> int:
        tracemalloc.start()
        kept = action()
        assert kept is not None
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    def copy() -> object:
        return convert(tmp_path / "model", rules=rules, into=targets)

    peak(copy)  # imports what is imported on first use
    options = ConversionOptions(rules=rules, into=targets)
    assert peak(lambda: convert_to_views(tmp_path / "model", options)) < kernel.nbytes
    assert peak(copy) < 9 * kernel.nbytes


def test_path_and_open_checkpoint_and_arrays_convert_alike(digits: pathlib.Path) -> None:
    """A source is a path, an open checkpoint, or a mapping of arrays, which has no graph."""
    with tfckpt.open(digits) as checkpoint:
        arrays = dict(checkpoint)
        from_checkpoint = convert(checkpoint)
    from_path = convert(str(digits) + ".index")
    from_arrays = convert(arrays, strides=(1, 2, 2, 1))

    assert from_checkpoint.report == from_path.report
    assert from_arrays.config == from_path.config
    assert from_arrays.report.source == "arrays in memory"
    for name, array in from_path.state_dict.items():
        assert np.array_equal(array, from_arrays.state_dict[name])


def test_progress_counts_bytes_up_to_all_of_them(digits: pathlib.Path) -> None:
    """The callback is called after each tensor, and the last call reports all bytes as done."""
    calls: list[tuple[int, int]] = []

    report = convert(digits, progress=lambda done, total: calls.append((done, total))).report

    assert len(calls) == 113
    assert calls[-1] == (report.nbytes, report.nbytes) == (253_288, 253_288)
    assert calls == sorted(calls)


def test_report_is_complete_as_json(digits: pathlib.Path) -> None:
    """The report lists the source files, how each tensor was used, and why the others were not."""
    report = json.loads(convert(digits).report.to_json())

    assert report["source"] == "model.ckpt-322"
    index, shard = report["files"]
    assert index["name"] == "model.ckpt-322.index"
    assert index["nbytes"] == 10_916
    assert index["sha256"] == "9a81cd5e1576ccdb9e098f59017abb1c134d3638b652c1d11db8aee62af44d26"
    assert shard == {"name": "model.ckpt-322.data-00000-of-00001", "nbytes": 506_584, "sha256": None}
    assert report["model"]["evidence"] == ["described from names and shapes", "strides from the graph"]
    assert report["weights"] == {"choice": "ema", "averaged": 113, "raw": 0}
    assert report["rules"] == {"name": "automl", "version": "1", "scope": SCOPE, "head": None, "part": None}
    assert report["totals"] == {
        "source_tensors": 227,
        "used": 113,
        "ignored": 114,
        "constants": 19,
        "tied": 0,
        "targets": 132,
        "parameters": 60_698,
        "bytes": 253_288,
    }
    with tfckpt.open(digits) as checkpoint:
        stored = checkpoint.info(SCOPE + "stem/conv2d/kernel" + AVERAGE).crc32c
    assert report["tensors"][0] == {
        "source": SCOPE + "stem/conv2d/kernel" + AVERAGE,
        "target": "stem.conv.weight",
        "layout": "conv2d",
        "source_shape": [3, 3, 3, 8],
        "target_shape": [8, 3, 3, 3],
        "dtype": "float32",
        "crc32c": f"{stored:08x}",
        "variable": SCOPE + "stem/conv2d/kernel",
        "averaged": True,
        "source_part": None,
        "target_part": None,
    }
    assert {"source": "global_step", "reason": "training step counter"} in report["ignored"]
    assert set(report["versions"]) == {"tfckpt", "numpy"}


def test_report_is_the_same_for_the_same_conversion(digits: pathlib.Path) -> None:
    """The report does not depend on the run."""
    assert convert(digits).report.to_json() == convert(digits).report.to_json()


def test_changed_byte_of_a_tensor_stops_the_conversion(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path]
) -> None:
    """The error names the tensor whose checksum differs; the unchanged file converts."""
    prefix = copied(digits)
    assert convert(prefix)
    name = SCOPE + "head/dense/bias" + AVERAGE
    with tfckpt.open(prefix) as checkpoint:
        offset = checkpoint.info(name).offset
    assert offset is not None
    shard = prefix.with_name("model.ckpt-322.data-00000-of-00001")
    data = bytearray(shard.read_bytes())
    data[offset] ^= 1
    shard.write_bytes(data)

    with pytest.raises(ChecksumError) as caught:
        convert(prefix)

    assert caught.value.tensor == name


def test_tensor_of_strings_is_refused_as_a_weight() -> None:
    """The right name and shape are not enough."""
    arrays = networks.arrays("efficientnetv2-b0", averages=False)
    assert plan_conversion(arrays)
    arrays["net/stem/tpu_batch_normalization/gamma"] = np.full(32, b"x", object)

    with pytest.raises(ConversionError, match="net/stem/tpu_batch_normalization/gamma"):
        plan_conversion(arrays)


def test_unknown_weights_choice_is_refused(digits: pathlib.Path) -> None:
    """The only choices are `ema` and `raw`."""
    with pytest.raises(ValueError, match="'average'"):
        convert(digits, weights="average")  # type: ignore[arg-type]  # the mistake is the test


def test_importing_and_converting_never_load_torch(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """`import converter`, a conversion and a `.safetensors` output need only NumPy; only the proof needs torch."""
    program = (
        "import sys, converter\n"
        f"result = converter.convert({str(digits)!r})\n"
        f"converter.export(result, {str(tmp_path / 'x.safetensors')!r}, proof='none')\n"
        "packages = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(packages & {'torch', 'tensorflow', 'safetensors', 'rich'}))\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert shown == "[]\n"


def test_every_public_name_can_be_imported() -> None:
    """Each name in `__all__` is an attribute, and any other name raises `AttributeError`."""
    pytest.importorskip("torch", reason="some of the names are PyTorch classes")

    assert all(getattr(converter, name) is not None for name in converter.__all__)
    assert set(converter.__all__) <= set(dir(converter))
    with pytest.raises(AttributeError, match="nothing"):
        _ = converter.nothing


def test_graph_of_another_name_is_used_if_given(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The strides of a checkpoint without a graph come from the file that is given."""
    for ending in (".index", ".data-00000-of-00001"):
        shutil.copy(f"{digits}{ending}", tmp_path / f"mine{ending}")
    shutil.copy(f"{digits}.meta", tmp_path / "eval.meta")

    with pytest.raises(UnknownModelError):
        convert(tmp_path / "mine")
    given = convert(tmp_path / "mine", graph=tmp_path / "eval.meta")
    with tfckpt.open(tmp_path / "mine", graph=tmp_path / "eval.meta") as checkpoint:
        opened = convert(checkpoint)

    assert given.config == opened.config == convert(digits).config
    assert given.report.operations == 124


def test_graph_that_is_not_a_graph_is_an_error(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A file that was asked for is not passed over in silence."""
    (tmp_path / "notes.txt").write_text("x")

    for name in ("notes.txt", "nowhere.meta"):
        with pytest.raises(tfckpt.CheckpointNotFoundError):
            convert(digits, graph=tmp_path / name)
