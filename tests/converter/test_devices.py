"""`--device`: the network runs on a GPU, and what is compared with it stays on the CPU."""

from __future__ import annotations

import pathlib
from typing import Any, TypeAlias

import numpy as np
import pytest

import converter
import converter.cli
import tfckpt
from converter.errors import ConversionError
from converter.verification.devices import check_device, full_float32
from tests.arrays import distance
from tests.conftest import DATA
from tests.converter.conftest import DIGITS

torch = pytest.importorskip("torch", reason="runs networks")

from converter.verification.modules import GUESSED, prove_module  # noqa: E402
from converter.verification.oracle import build_oracle  # noqa: E402

#: An NHWC image, and the logits that TensorFlow recorded for it.
Probe: TypeAlias = "dict[str, np.ndarray[Any, Any]]"

FAMILIES = DATA / "families"
LOGITS = "efficientnetv2-digits/head_1/dense/BiasAdd"
#: Of the largest logit: sums of float32 in another order. The CPU has 3e-7.
ALLOWED = 5e-6


def has(device: str) -> bool:
    """Return whether this machine has such a device."""
    if device == "cpu":
        return True
    return bool(torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available())


@pytest.fixture(params=["cpu", "cuda", "mps"])
def device(request: pytest.FixtureRequest) -> str:
    """A device of this machine; the CPU shows that the tests themselves are right."""
    name: str = request.param
    if not has(name):
        pytest.skip(f"torch finds no {name.upper()} device on this machine")
    return name


@pytest.fixture(scope="module")
def probe() -> Probe:
    """An NHWC image, and the logits that TensorFlow recorded for it."""
    with np.load(DATA / "digits" / "probe.npz") as arrays:
        return {name: arrays[name] for name in ("input", "logits")}


def test_model_computes_on_a_device_what_tensorflow_recorded(device: str, probe: Probe) -> None:
    """In float32."""
    model = converter.load_model(DIGITS).to(device)

    with full_float32(device), torch.inference_mode():
        logits = model(torch.from_numpy(probe["input"].transpose(0, 3, 1, 2).copy()).to(device))

    assert logits.device.type == device
    assert distance(logits.cpu().numpy(), probe["logits"]) < ALLOWED


def test_graph_computes_on_a_device_what_tensorflow_recorded(device: str, probe: Probe) -> None:
    """Its constants and tables move with its variables."""
    module = converter.graph_module(f"{DIGITS}.meta", inputs={"x": "input"}, outputs={"y": LOGITS}, weights="averages")

    with full_float32(device), torch.inference_mode():
        logits = module.to(device)(x=torch.from_numpy(probe["input"]).to(device))["y"]

    assert logits.device.type == device
    assert distance(logits.cpu().numpy(), probe["logits"]) < ALLOWED


@pytest.mark.slow
def test_exported_program_computes_on_a_device_what_tensorflow_recorded(
    device: str,
    probe: Probe,
    tmp_path: pathlib.Path,
) -> None:
    """The network that judges runs there, and then the file is moved there."""
    report = converter.export_program(DIGITS, tmp_path / "digits.pt2", size=32, device=device)
    program = torch.export.passes.move_to_device_pass(torch.export.load(report.path), device)

    with full_float32(device), torch.inference_mode():
        logits = program.module()(torch.from_numpy(probe["input"].transpose(0, 3, 1, 2).copy()).to(device))

    assert report.device == device
    assert report.passes
    assert logits.device.type == device
    assert distance(logits.cpu().numpy(), probe["logits"]) < ALLOWED


def test_module_of_a_family_is_proved_on_a_device(device: str) -> None:
    """Its outputs are compared with the graph, which runs on the CPU."""
    result = converter.convert(FAMILIES / "resnet-v1.tar.xz")
    module = converter.load_network(result)
    variables = {record.variable: record.source_shape for record in result.report.tensors}

    with tfckpt.open(FAMILIES / "resnet-v1.tar.xz") as checkpoint:
        graph = build_oracle(checkpoint)
        assert graph is not None
        report = prove_module(graph, module, variables, GUESSED, weights="raw", device=device)

    assert report.ok, report.summary()
    assert {parameter.device.type for parameter in module.parameters()} == {device}


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("verb", ["export", "verify", "evaluate", "bench"])
def test_network_runs_on_a_device_or_the_command_says_that_there_is_none(
    device: str, verb: str, output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The results are those of the CPU within the same limits."""
    with np.load(DATA / "digits" / "digits-test.npz") as test:
        pixels = (test["images"][:20].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        np.savez(tmp_path / "digits.npz", images=pixels[..., None].repeat(3, axis=3), labels=test["labels"][:20])
    arguments = {
        "export": [str(output), "-o", str(tmp_path / "digits.pt2"), "--size", "32"],
        "verify": [str(DIGITS), str(output), "--brief"],
        "evaluate": [str(output), "--data", str(tmp_path / "digits.npz")],
        "bench": [str(output), "--size", "32", "--runs", "1"],
    }[verb]

    code = converter.cli.main([verb, *arguments, "--device", device])

    if has(device):
        assert code == 0
    else:
        assert code == 5
        assert device.upper() in capsys.readouterr().err


def test_device_of_another_name_is_refused() -> None:
    """The processor is always there."""
    check_device("cpu")
    with pytest.raises(ValueError, match="tpu"):
        check_device("tpu")
    if not has("cuda"):
        with pytest.raises(ConversionError):
            check_device("cuda")
