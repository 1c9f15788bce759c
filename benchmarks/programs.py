"""Exported programs: B0 beside eager PyTorch, and every installed destination of the digits network."""

from __future__ import annotations

import os
import pathlib
import tarfile
import tempfile
from collections.abc import Iterator

import numpy as np

import converter

from .measure import Result, best_of_each
from .models import import_timm, make_network

_NAME, _TIMM_NAME, _SIZE = "efficientnetv2-b0", "tf_efficientnetv2_b0", 224
_EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
#: Images that calibrate B0, whose weights are random, and digits.
_CALIBRATION, _DIGITS = 30, 100
_RUNS = 15


def programs() -> Iterator[Result]:
    """Measure B0 at batch 1 on one thread, and then how right the programs of the digits network are."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _time_b0(pathlib.Path(folder))
        yield from _judge_digits(pathlib.Path(folder))


def _time_b0(folder: pathlib.Path) -> Iterator[Result]:
    import onnxruntime
    import torch

    torch.set_num_threads(1)
    theirs = import_timm().create_model(_TIMM_NAME).eval()
    ours = make_network(_NAME)
    random = np.random.default_rng(0)
    calibration = random.standard_normal((2 * _CALIBRATION, 3, _SIZE, _SIZE)).astype(np.float32)
    for name, options in {
        "b0.pt2": {},
        "b0.onnx": {},
        "b0-int8.onnx": {"quantize": "int8", "calibrate": calibration, "calibrate_images": _CALIBRATION},
    }.items():
        converter.export_program(ours, folder / name, size=_SIZE, **options)  # type: ignore[arg-type]  # by name
    program = torch.export.load(folder / "b0.pt2").module()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(folder / name, settings, providers=["CPUExecutionProvider"])
        for name in ("b0.onnx", "b0-int8.onnx")
    ]
    image = calibration[:1]
    tensor = torch.from_numpy(image)
    with torch.inference_mode():
        timm, eager, exported, full, int8 = best_of_each(
            lambda: theirs(tensor),
            lambda: ours(tensor),
            lambda: program(tensor),
            *(lambda session=session: session.run(None, {"image": image}) for session in sessions),
            runs=_RUNS,
        )
    times = f"{full * 1000:.1f} ms, timm {timm * 1000:.1f} ms, int8 {int8 * 1000:.1f} ms"
    yield Result("onnxruntime float32, B0, batch 1", full / timm, 0.5, True, "x timm's eager", times)
    yield Result(".pt2, B0, batch 1", exported / eager, 1.05, True, "x our eager", f"{eager * 1000:.1f} ms eager")
    yield Result("onnxruntime int8 (U8S8), B0, batch 1", int8 / full, 1.0, True, "x float32 ONNX")
    sizes = [os.path.getsize(folder / name) for name in ("b0-int8.onnx", "b0.onnx")]
    share = f"{sizes[0] / 1e6:.1f} of {sizes[1] / 1e6:.1f} MB"
    yield Result("size of int8 ONNX, B0", sizes[0] / sizes[1], 0.35, True, "x float32 ONNX", share)


def _judge_digits(folder: pathlib.Path) -> Iterator[Result]:
    """Compare every installed destination with the network on 200 images that calibrated nothing."""
    from converter.programs.comparing import compare_outputs
    from converter.programs.destinations import DESTINATIONS
    from tfckpt.errors import MissingDependencyError

    with tarfile.open(_EXAMPLES / "efficientnetv2-digits.tgz") as archive:
        archive.extractall(folder, filter="data")
    weights = folder / "digits.safetensors"
    converter.export(converter.convert(folder / "efficientnetv2-digits"), weights, proof="none")
    with np.load(_EXAMPLES / "digits-test.npz") as digits:
        pixels = (digits["images"].repeat(4, axis=1).repeat(4, axis=2).astype(np.float32) - 8) / 8
        labels = digits["labels"][_DIGITS:]
    images = np.repeat(pixels[:, None], 3, axis=1)
    paths: dict[str, pathlib.Path] = {}
    for ending, destination in DESTINATIONS.items():
        if ending == ".py":
            continue  # source, which torch runs as any module
        try:
            destination.require()
        except MissingDependencyError:
            continue
        paths[ending] = folder / f"digits{ending}"
        converter.export_program(weights, paths[ending], size=32)
        if "int8" in destination.precisions:
            paths[f"{ending}, int8"] = folder / f"digits-int8{ending}"
            converter.export_program(
                weights,
                paths[f"{ending}, int8"],
                size=32,
                quantize="int8",
                calibrate=images[:_DIGITS],
                calibrate_images=_DIGITS - 20,
            )
    measured = compare_outputs(
        [str(weights), *map(str, paths.values())], images[_DIGITS:], labels, runs=1, threads=1, options={}
    )
    for kind, figures in zip(paths, measured[1:], strict=True):
        versions = ", ".join(f"{package} {version}" for package, version in figures.versions.items())
        if kind.endswith("int8"):
            accuracy = 100 * (figures.accuracy or 0.0)
            yield Result(f"digits, {kind}", accuracy, 98.0, False, "% of 200 images", versions)
        else:
            yield Result(f"digits, {kind}", figures.difference, 1e-6, True, "of the largest logit", versions)
