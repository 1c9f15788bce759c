"""Runs a program file on recorded inputs with its own runtime: `python runner.py FOLDER`; see `check`.

This is a script for a process of its own. It uses nothing of this package, and the program cannot either.

The folder has `job.json`, with `runtime` (the ending of the program), `program` (its path), `inputs` and `outputs`
(names; empty for those of the program), `by_name`, `double` (whether to run all cases in float64, too), `cases` (a
count) and perhaps `threads`, and `inputs-N.npz` with one array for each input, named by its position.
The script writes `outputs-N.npz` in the same form, those of float64 after all others, and, when all cases have run,
`answer.json` with the versions of the packages that it used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

#: Returns the outputs of a program, in order, for its inputs, in order.
Run = Callable[[list[Any]], Sequence[Any]]


def run_torch_export(job: dict[str, Any]) -> tuple[Run, dict[str, str]]:
    """Load a `.pt2` file."""
    import torch

    if job.get("threads"):
        torch.set_num_threads(job["threads"])
    with open(job["program"], "rb") as file:
        module = torch.export.load(file).module()

    def run(inputs: list[Any]) -> Sequence[Any]:
        tensors = [torch.from_numpy(array) for array in inputs]
        with torch.no_grad():
            value = module(**dict(zip(job["inputs"], tensors, strict=True))) if job["by_name"] else module(*tensors)
        if isinstance(value, torch.Tensor):
            return [value.numpy()]
        values = [value[name] for name in job["outputs"]] if isinstance(value, dict) else value
        return [tensor.numpy() for tensor in values]

    return run, {"torch": torch.__version__}


def run_python(job: dict[str, Any]) -> tuple[Run, dict[str, str]]:
    """Import a `.py` file, and load the weights of its `.safetensors` file."""
    import importlib.util

    import safetensors
    import torch

    spec = importlib.util.spec_from_file_location("program", job["program"])
    assert spec is not None and spec.loader is not None, "the name ends in .py"
    program = importlib.util.module_from_spec(spec)
    keeps_no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the file's folder is published
    try:
        spec.loader.exec_module(program)
    finally:
        sys.dont_write_bytecode = keeps_no_bytecode
    model = program.load(f"{os.path.splitext(job['program'])[0]}.safetensors")
    if job["double"]:
        torch.set_default_dtype(torch.float64)
        model.double()

    def run(inputs: list[Any]) -> Sequence[Any]:
        tensors = [torch.from_numpy(array) for array in inputs]
        if job["double"]:
            tensors = [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors]
        with torch.no_grad():
            value = model(*tensors)
        if isinstance(value, torch.Tensor):
            return [value.numpy()]
        values = [value[name] for name in job["outputs"]] if isinstance(value, dict) else value
        return [tensor.numpy() for tensor in values]

    return run, {"torch": torch.__version__, "safetensors": safetensors.__version__}


def run_onnx(job: dict[str, Any]) -> tuple[Run, dict[str, str]]:
    """Load a `.onnx` file."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.get("threads", 0)  # 0 is onnxruntime's choice
    session = onnxruntime.InferenceSession(job["program"], options, providers=["CPUExecutionProvider"])

    names = job["inputs"] or [argument.name for argument in session.get_inputs()]

    def run(inputs: list[Any]) -> Sequence[Any]:
        values: Sequence[Any] = session.run(job["outputs"] or None, dict(zip(names, inputs, strict=True)))
        return values

    return run, {"onnxruntime": onnxruntime.__version__}


def run_openvino(job: dict[str, Any]) -> tuple[Run, dict[str, str]]:
    """Load an `.xml` file, and compute in float32, since the processor's own choice may be less precise."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    if job.get("threads"):
        settings["INFERENCE_NUM_THREADS"] = str(job["threads"])
    model = openvino.Core().compile_model(job["program"], "CPU", settings)

    def run(inputs: list[Any]) -> Sequence[Any]:
        results = model(dict(zip(job["inputs"], inputs, strict=True)) if job["inputs"] else inputs)
        return [results[name] for name in job["outputs"] or range(len(model.outputs))]

    return run, {"openvino": openvino.__version__.partition("-")[0]}


def run_executorch(job: dict[str, Any]) -> tuple[Run, dict[str, str]]:
    """Load a `.pte` file."""
    from importlib.metadata import version

    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(job["program"]).load_method("forward")

    def run(inputs: list[Any]) -> Sequence[Any]:
        return [tensor.numpy() for tensor in method.execute([torch.from_numpy(array) for array in inputs])]

    return run, {"executorch": version("executorch")}


def run_litert(job: dict[str, Any]) -> tuple[Run, dict[str, str]]:
    """Load a `.tflite` file."""
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=job["program"])
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    details = runner.get_input_details()
    (signature,) = interpreter.get_signature_list().values()

    def run(inputs: list[Any]) -> Sequence[Any]:
        arrays = dict(zip(job["inputs"] or signature["inputs"], inputs, strict=True))
        # The converter makes int32 of int64.
        results = runner(**{name: array.astype(details[name]["dtype"], copy=False) for name, array in arrays.items()})
        return [results[name] for name in job["outputs"] or signature["outputs"]]

    return run, {"ai-edge-litert": version("ai-edge-litert")}


RUNTIMES: dict[str, Callable[[dict[str, Any]], tuple[Run, dict[str, str]]]] = {
    ".pt2": run_torch_export,
    ".py": run_python,
    ".onnx": run_onnx,
    ".xml": run_openvino,
    ".pte": run_executorch,
    ".tflite": run_litert,
}


def main(folder: str) -> None:
    """Run the job in a folder."""
    here = os.path.dirname(os.path.abspath(__file__))
    # This folder has modules with the names of packages.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    for name in ("converter", "tfckpt"):
        sys.modules[name] = None  # type: ignore[assignment]  # makes their import fail

    import json

    import numpy as np

    with open(os.path.join(folder, "job.json"), encoding="utf-8") as file:
        job = json.load(file)
    count = job["cases"]
    for part, double in enumerate((False, True) if job["double"] else (False,)):
        run, versions = RUNTIMES[job["runtime"]](job | {"double": double})
        for case in range(count):
            with np.load(os.path.join(folder, f"inputs-{case}.npz"), allow_pickle=False) as arrays:
                inputs = [arrays[str(position)] for position in range(len(job["inputs"]))]
            outputs = {str(position): np.asarray(value) for position, value in enumerate(run(inputs))}
            path = os.path.join(folder, f"outputs-{part * count + case}.npz")
            np.savez(path, **outputs)  # type: ignore[arg-type]  # arrays by name
    with open(os.path.join(folder, "answer.json"), "w", encoding="utf-8") as file:
        json.dump(versions, file)


if __name__ == "__main__":
    main(sys.argv[1])
