"""Graphs as programs and as source, in turn with TensorFlow's signature, each on one thread."""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import checkpoints, tensorflow_side
from .measure import Result

#: Networks of keras.applications, and the most that source may take, beside TensorFlow.
_NETWORKS = {"MobileNetV2": 1.4, "EfficientNetB0": 1.4, "DenseNet121": 1.4}
_ROUNDS = 15


def graphs(tensorflow: str | None) -> Iterator[Result]:
    """Time SavedModels that TensorFlow writes; nothing without an interpreter that has TensorFlow."""
    if tensorflow is None:
        return
    script = pathlib.Path(__file__).with_name("keras_graph.py")
    for name, most in _NETWORKS.items():
        folder = checkpoints.FOLDER / "graphs" / name
        command = [tensorflow, str(script), name, str(folder)]
        if not (folder / "saved_model.pb").is_file():
            subprocess.run([*command, "save"], check=True, env=tensorflow_side.environment(), capture_output=True)
        yield from _measure(name, folder, command, most)


def _measure(name: str, folder: pathlib.Path, command: list[str], most: float) -> Iterator[Result]:
    import numpy as np
    import onnxruntime
    import torch

    import converter

    torch.set_num_threads(1)
    image = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack, torch.inference_mode():
        paths = {ending: pathlib.Path(work, f"net{ending}") for ending in (".pt2", ".py", ".onnx")}
        module = converter.graph_module(folder)  # the graph, also where it is a network that `export` knows
        for ending in (".pt2", ".py"):
            converter.export_program(module, paths[ending], static=True)
        program: Any = torch.export.load(paths[".pt2"]).module()
        source = _load_source(paths[".py"])
        pixels = torch.from_numpy(image)
        torch.onnx.export(source, (pixels,), paths[".onnx"], dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(paths[".onnx"]), options, providers=["CPUExecutionProvider"])
        feeds = {session.get_inputs()[0].name: image}
        server = stack.enter_context(_Server([*command, "run"]))
        # The only argument, by position in source and by name in the program.
        (argument,) = module.inputs
        runs: dict[str, Callable[[], object]] = {
            "exported": lambda: program(**{argument.argument: pixels}),
            "source": lambda: source(pixels),
            "onnxruntime of the source": lambda: session.run(None, feeds),
        }
        times: dict[str, list[float]] = {"TensorFlow": [], **{run: [] for run in runs}}
        for _ in range(_ROUNDS):
            times["TensorFlow"].append(server.ask())
            for run, function in runs.items():
                started = time.process_time()
                function()
                times[run].append(time.process_time() - started)
    medians = {run: statistics.median(found[1:]) for run, found in times.items()}
    detail = f"TensorFlow {medians['TensorFlow'] * 1000:.1f} ms"
    for run, target in {"exported": 1.5, "source": most, "onnxruntime of the source": 0.8}.items():
        ratio = medians[run] / medians["TensorFlow"]
        yield Result(f"{run}, {name}, batch 1", ratio, target, True, "x TensorFlow", detail)


def _load_source(path: pathlib.Path) -> Any:
    """Return the network that written source defines."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.load(path.with_suffix(".safetensors"))


class _Server:
    """A process of TensorFlow that runs a signature once for each line it reads, and answers with the seconds."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=tensorflow_side.environment(),
        )

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *details: object) -> None:
        self._process.communicate()

    def ask(self) -> float:
        """Return the processor time of one run in seconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())
