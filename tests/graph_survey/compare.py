"""What the engine computes for the graphs that `record.py` recorded, beside TensorFlow's values; prints counts.

Usage: python -m tests.graph_survey.compare FOLDER [--export] [--again] [--only PART-OF-A-PATH ...]

A case agrees if it differs by at most 2e-5 of the largest value, or by 8 times what rounding to float32 changes in the
engine's own result. Cases that TensorFlow cannot run, and those that are random, are counted apart. With `--export`
what agrees is exported by torch.export, with its own sizes and with any batch, and to ONNX, which onnxruntime runs.

Graphs are compared one after the other, each in a process of its own with limits of time and memory. What was found out
is kept in FOLDER/compared, so that an interrupted survey continues; `--again` begins anew.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import multiprocessing
import os
import pathlib
import re
import resource
import tempfile
import warnings
from typing import Any

import numpy as np
import torch

from converter.engine import ReferenceGraph, graph_module, load_graph
from converter.errors import ConversionError, UnsupportedOpError
from converter.programs.onnx import make_translations
from tfckpt.errors import CheckpointError

TOLERANCE = 2e-5
NOISE = 8
#: What onnxruntime may differ by, relative to the largest value.
ONNX_TOLERANCE = 1e-4
#: What one graph may take: seconds, and bytes of memory.
SECONDS = 600
BYTES = 8 << 30
FINE = ("recorded", "agrees", "exported", "exported with any batch", "ONNX agrees", "random, of the same shapes")


def main() -> None:
    """Compare all recorded graphs, or those whose path contains one of the parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--export", action="store_true", help="also export with torch.export and to ONNX")
    parser.add_argument("--again", action="store_true", help="forget what was found out before")
    parser.add_argument("--only", nargs="+", metavar="PART", help="only graphs whose path contains one of these")
    arguments = parser.parse_args()
    (arguments.folder / "compared").mkdir(exist_ok=True)
    if arguments.export:
        warm_up()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    # Small graphs first, so that an interrupted survey has seen many.
    for path in sorted((arguments.folder / "recorded").glob("*.json"), key=measure):
        recorded = json.loads(path.read_text())
        name = recorded["graph"]
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        kind = name.partition("/")[0]
        if recorded["error"] or not recorded["cases"]:
            counts[kind]["TensorFlow cannot load it, or it has nothing to run"] += 1
            continue
        target = arguments.folder / "compared" / path.name
        if arguments.again:
            target.unlink(missing_ok=True)
        if not target.exists():
            judge_apart(arguments.folder, path, target, export=arguments.export)
        for label, verdicts in json.loads(target.read_text()):
            for verdict in verdicts:
                counts[kind][verdict.partition(":")[0]] += 1
                if verdict not in FINE:
                    print(f"{name} {label}: {verdict}", flush=True)
    for kind, counter in counts.items():
        print(kind, dict(sorted(counter.items())))


def measure(path: pathlib.Path) -> tuple[int, str]:
    """Return the bytes of what was recorded for a graph, and its path."""
    return path.with_suffix(".npz").stat().st_size if path.with_suffix(".npz").exists() else 0, str(path)


def warm_up() -> None:
    """Import what exports, which takes longer than most exports, before processes are forked."""
    module, values = torch.nn.Linear(2, 2), (torch.ones(3, 2),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try_onnx(torch.export.export(module, values, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), module, values)


def judge_apart(folder: pathlib.Path, path: pathlib.Path, target: pathlib.Path, *, export: bool) -> None:
    """Judge the cases of one graph in a process of its own, and write what was found out as JSON."""
    process = multiprocessing.get_context("fork").Process(target=judge_all, args=(folder, path, target, export))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    if not target.exists():
        how = f"no result within {SECONDS} seconds" if process.exitcode == -9 else f"exit code {process.exitcode}"
        target.write_text(json.dumps([["", [f"CRASH: {how}"]]]))


def judge_all(folder: pathlib.Path, path: pathlib.Path, target: pathlib.Path, export: bool) -> None:
    """Judge the cases of one graph, and write what was found out."""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    recorded = json.loads(path.read_text())
    place = folder / recorded["graph"]
    if recorded["graph"].startswith("tfjs-lowered/"):
        place = folder / place.with_suffix(".txt").read_text()
    arrays = dict(np.load(path.with_suffix(".npz")))
    found = [(case["label"], judge(place, case, arrays, export=export)) for case in recorded["cases"]]
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.rename(target)


def judge(path: pathlib.Path, case: Any, arrays: dict[str, np.ndarray], *, export: bool) -> list[str]:
    """Return what was found out about a case, as phrases; the part before a colon is counted."""
    if case["error"]:
        return ["TensorFlow fails"]
    feeds = {value["tensor"]: read(value, arrays) for value in case["inputs"].values()}
    expected = {value["tensor"]: read(value, arrays) for value in case["outputs"].values()}
    verdicts = ["recorded"]
    try:
        with load_graph(path) as graph:
            verdicts.append(compare(graph, feeds, expected, is_random=case["random"]))
            if export and verdicts[-1] == "agrees":
                verdicts += try_export(graph, feeds, expected)
    except UnsupportedOpError as error:
        return [*verdicts, f"unsupported: {', '.join(sorted({op for _, op in error.ops}))}"]
    except (ConversionError, CheckpointError) as error:
        return [*verdicts, f"refused: {type(error).__name__} {str(error)[:250]!r}"]
    except Exception as error:
        return [*verdicts, f"CRASH: {type(error).__name__} {str(error)[:250]!r}"]
    return verdicts


def read(value: Any, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return a recorded array; strings as objects."""
    array = arrays[value["array"]]
    return array.astype(object) if value["string"] else array


def compare(graph: ReferenceGraph, feeds: Any, expected: Any, *, is_random: bool) -> str:
    """Return whether the engine's outputs are TensorFlow's."""
    outputs = graph.run(list(expected), feeds)
    if is_random:
        shapes = [value.shape == output.shape for value, output in zip(expected.values(), outputs, strict=True)]
        return "random, of the same shapes" if all(shapes) else "differs: in shape"
    worst = max((distance(*pair) for pair in zip(outputs, expected.values(), strict=True)), default=0.0)
    if worst <= TOLERANCE:
        return "agrees"
    exact = graph.run(list(expected), feeds, dtype="float64")
    noise = max((distance(*pair) for pair in zip(outputs, exact, strict=True)), default=0.0)
    return "agrees" if worst <= NOISE * noise else f"differs: by {worst:.1e}, noise {noise:.1e}"


def distance(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest number; infinity for different shapes or kinds."""
    if actual.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind not in "fc" or actual.dtype.kind not in "fc":
        return 0.0 if np.array_equal(actual, expected) else float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(np.where(finite, 0, actual), np.where(finite, 0, expected), equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = np.abs(expected[finite]).max()
    return float(np.abs(actual[finite] - expected[finite]).max() / (scale or 1))


def try_export(graph: ReferenceGraph, feeds: dict[str, np.ndarray], expected: Any) -> list[str]:
    """Return whether the module exports, with any batch if its inputs leave the batch open, and to ONNX."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        module = graph_module(graph, inputs=list(feeds), outputs=list(expected)).eval()
        try:
            values = tuple(torch.tensor(value) for value in feeds.values())
        except TypeError:
            return ["strings"]
        is_open = [port.shape is not None and len(port.shape) > 0 and port.shape[0] == -1 for port in module.inputs]
        more = tuple(
            torch.cat([value, value[:1]]) if each else value for value, each in zip(values, is_open, strict=True)
        )
        verdicts = []
        if any(is_open):
            shapes = tuple({0: torch.export.Dim.DYNAMIC} if each else None for each in is_open)
            try:
                program = torch.export.export(module, values, dynamic_shapes=shapes)
                for inputs in (values, more):
                    for a, b in zip(program.module()(*inputs), module(*inputs), strict=True):
                        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
            except Exception as error:
                verdicts.append(f"not exported with any batch: {explain(error)}")
            else:
                return ["exported", "exported with any batch", try_onnx(program, module, more)]
        try:
            program = torch.export.export(module, values)
            results = program.module()(*values)
            if not all(torch.equal(a, b) for a, b in zip(results, module(*values), strict=True)):
                return [*verdicts, "export differs"]
        except Exception as error:
            return [*verdicts, f"not exported: {explain(error)}"]
        return [*verdicts, "exported", try_onnx(program, module, values)]


def try_onnx(program: torch.export.ExportedProgram, module: torch.nn.Module, values: tuple[torch.Tensor, ...]) -> str:
    """Return whether a program written as ONNX computes in onnxruntime what the module computes."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    results = module(*values)
    expected = [result.detach().numpy() for result in ((results,) if isinstance(results, torch.Tensor) else results)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        try:
            written = torch.onnx.export(
                program,
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=20,
                custom_translation_table=make_translations(),
            )
            assert written is not None
            written.save(path)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            names = [argument.name for argument in session.get_inputs()]
            arrays = [value.numpy() for value in values]
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
        except Exception as error:
            return f"not ONNX: {explain(error)}"
    worst = max(map(distance, outputs, expected), default=0.0)
    return "ONNX agrees" if worst <= ONNX_TOLERANCE else f"ONNX differs: by {worst:.1e}"


def explain(error: Exception) -> str:
    """Return the most telling line of an error."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__} {(lines or [''])[0][:200]}"


if __name__ == "__main__":
    main()
