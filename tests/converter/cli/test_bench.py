"""`tf2torch bench`: what it prints; the times themselves are the machine's."""

from __future__ import annotations

import json
import pathlib

import pytest

torch = pytest.importorskip("torch")

from converter import load_model  # noqa: E402
from converter.cli import main  # noqa: E402
from converter.cli.timing import Timing, multiply_adds  # noqa: E402
from converter.model import CONFIGS, EfficientNet  # noqa: E402

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "preparation", [(), ("--fuse-bn",), ("--channels-last",), ("--fuse-bn", "--channels-last")], ids=" ".join
)
def test_bench_prints_what_it_measured(preparation: tuple[str, ...], output: pathlib.Path, capsys: Capture) -> None:
    """As JSON, with how the network was prepared."""
    code = main(["bench", str(output), "--size", "32", "--batch", "2", "--runs", "3", "--json", *preparation])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["input"] == [2, load_model(output).in_channels, 32, 32]
    assert 0 < found["median_ms"] <= found["p90_ms"]
    assert found["images_per_second"] == pytest.approx(2000 / found["median_ms"])
    assert found["parameters"] == sum(p.numel() for p in load_model(output).parameters())
    assert (found["fuse_bn"], found["channels_last"]) == ("--fuse-bn" in preparation, "--channels-last" in preparation)


def test_bench_prints_a_table(output: pathlib.Path, capsys: Capture) -> None:
    """One line a figure."""
    assert main(["bench", str(output), "--size", "32", "--runs", "1", "--dtype", "bfloat16"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["network", "input", "latency", "throughput"]
    assert "bfloat16" in lines[1]


def test_comparison_needs_a_network_that_timm_has(output: pathlib.Path) -> None:
    """The digits network is nobody's but ours."""
    assert main(["bench", str(output), "--size", "32", "--against", "timm"]) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_there_is_refused(output: pathlib.Path) -> None:
    """Before anything is timed."""
    assert main(["bench", str(output), "--size", "32", "--device", "cuda"]) == 5


def test_multiply_adds_are_those_of_the_paper() -> None:
    """0.72 billion for B0 at 224 pixels, in the released code's README; counted for one image of any batch."""
    config = CONFIGS["efficientnetv2-b0"]

    found = multiply_adds(EfficientNet(config).eval(), torch.zeros(2, 3, 224, 224))

    assert found == pytest.approx(0.72e9, rel=0.02)


def test_timing_gives_median_and_ninetieth_percentile() -> None:
    """Of ten passes the ninth slowest bounds nine; images count for each pass."""
    timing = Timing(tuple(float(number) for number in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)), batch=11)

    assert (timing.median, timing.p90, timing.images_per_second) == (5.5, 9.0, 2.0)
