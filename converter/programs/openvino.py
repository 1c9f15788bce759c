"""`.xml`: OpenVINO, from an ONNX file; the weights are in a `.bin` file next to it."""

from __future__ import annotations

import os
import tempfile

from . import onnx
from .writing import Job


def write(job: Job, path: str) -> None:
    """Write the program with its metadata; with `half`, the weights are stored in float16.

    The ONNX file keeps fixed sizes, which OpenVINO forgets when it reads an exported program.
    """
    import openvino

    with tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        onnx_path = os.path.join(folder, "program.onnx")
        onnx.write(job, onnx_path)
        model = openvino.convert_model(onnx_path)
        for name, value in job.metadata.items():
            model.set_rt_info(value, ["tf2torch", name.removeprefix("tf2torch.")])
        openvino.save_model(model, path, compress_to_fp16=job.half)
