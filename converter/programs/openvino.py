"""`.xml`: OpenVINO, from an ONNX file; the weights are in a `.bin` file next to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from . import onnx
from .writing import Job


def write(job: Job, path: str) -> None:
    """Write the program with its metadata.

    It is read from an ONNX file, which keeps fixed sizes: OpenVINO forgets them when it reads an exported program.
    """
    with tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        onnx_path = os.path.join(folder, "program.onnx")
        onnx.write(job, onnx_path)
        convert(job.metadata, onnx_path, path)


def convert(metadata: Mapping[str, str], onnx_path: str, path: str) -> None:
    """Write an ONNX file as an OpenVINO program with these metadata.

    `openvino.convert_model` would read the same, and report the use to its makers over the network.
    """
    import openvino

    model = openvino.Core().read_model(onnx_path)
    for name, value in metadata.items():
        model.set_rt_info(value, ["tf2torch", name.removeprefix("tf2torch.")])
    openvino.save_model(model, path, compress_to_fp16=False)


def halve(job: Job, precise: str, path: str) -> None:
    """Write a checked program with weights in float16."""
    import openvino

    openvino.save_model(openvino.Core().read_model(precise), path, compress_to_fp16=True)
