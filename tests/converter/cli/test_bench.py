"""Test what `tf2torch bench` prints; the times depend on the machine."""

from __future__ import annotations

import json
import pathlib

import pytest

torch = pytest.importorskip("torch")

from converter import load_model  # noqa: E402
from converter.cli import main  # noqa: E402
from converter.cli.timing import Timing, count_multiply_adds  # noqa: E402
from converter.model import CONFIGS, EfficientNet  # noqa: E402

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "preparation", [(), ("--fuse-bn",), ("--channels-last",), ("--fuse-bn", "--channels-last")], ids=" ".join
)
def test_bench_prints_what_it_measured(preparation: tuple[str, ...], output: pathlib.Path, capsys: Capture) -> None:
    """The JSON also says how the network was prepared."""
    code = main(["bench", str(output), "--size", "32", "--batch", "2", "--runs", "3", "--json", *preparation])

    figures = json.loads(capsys.readouterr().out)
    assert code == 0
    assert figures["input"] == [2, load_model(output).in_channels, 32, 32]
    assert 0 < figures["median_ms"] <= figures["p90_ms"]
    assert figures["images_per_second"] == pytest.approx(2000 / figures["median_ms"])
    assert figures["parameters"] == sum(p.numel() for p in load_model(output).parameters())
    assert (figures["fuse_bn"], figures["channels_last"]) == (
        "--fuse-bn" in preparation,
        "--channels-last" in preparation,
    )


def test_bench_prints_a_table(output: pathlib.Path, capsys: Capture) -> None:
    """Each figure has a line."""
    assert main(["bench", str(output), "--size", "32", "--runs", "1", "--dtype", "bfloat16"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["network", "input", "latency", "throughput"]
    assert "bfloat16" in lines[1]


def test_comparison_needs_a_network_of_timm(output: pathlib.Path) -> None:
    """timm has no model of the digits network."""
    assert main(["bench", str(output), "--size", "32", "--against", "timm"]) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_rejected(output: pathlib.Path) -> None:
    """Nothing is timed first."""
    assert main(["bench", str(output), "--size", "32", "--device", "cuda"]) == 5


def test_multiply_adds_match_the_published_number() -> None:
    """The README of the released code says 0.72 billion for B0 at 224 pixels; the batch size does not matter."""
    config = CONFIGS["efficientnetv2-b0"]

    count = count_multiply_adds(EfficientNet(config).eval(), torch.zeros(2, 3, 224, 224))

    assert count == pytest.approx(0.72e9, rel=0.02)


def test_timing_has_median_and_ninetieth_percentile() -> None:
    """Nine of ten passes take at most 9 seconds; each pass has all images of the batch."""
    timing = Timing(tuple(float(number) for number in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)), batch=11)

    assert (timing.median, timing.p90, timing.images_per_second) == (5.5, 9.0, 2.0)
