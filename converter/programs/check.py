"""The check of a program: its own runtime runs it in a process of its own, and eager float32 and float64 judge it.

Rounding differs between runtimes, so a difference is measured in units of float32 noise: the largest distance between
the eager module's own float32 and float64 outputs. A right program is within a few units; one with a wrong padding, a
dropped constant or swapped weights is thousands away.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..errors import ProgramError, Shape
from ..verification.activations import FLOAT32_TOLERANCE
from ..verification.devices import full_float32
from . import runner
from .probes import MODULE_ERRORS, Inputs, Probes, run_eagerly
from .report import Comparison
from .subject import Subject

#: The largest distance from float64 that agrees, in units of float32 noise.
ALLOWED_UNITS = 8.0
#: The least unit, relative to an output's largest value: noise can be small by chance. 8 of them are 2e-6.
LEAST_UNIT = 2.5e-7


class Case(NamedTuple):
    """Inputs, what the eager module computes of them in float32 and in float64, and recorded outputs, by position."""

    inputs: Inputs
    single: list[Array]
    exact: list[Array]
    recorded: Mapping[int, Array] = {}


def make_cases(
    subject: Subject,
    probes: Probes,
    shapes: Sequence[Mapping[str, Shape]],
    *,
    count: int,
    device: str,
    recorded: Sequence[tuple[Inputs, Mapping[int, Array]]] = (),
) -> tuple[list[Case], list[str]]:
    """Return `count` cases for each set of shapes that the module takes, and sentences about those it does not take.

    The recorded inputs and outputs are cases too; they come first if the module keeps state, since TensorFlow began
    with them.

    Raises what the module raises if it takes none.
    """
    inputs, notes = [], []
    failure: Exception | None = None
    for number, sizes in enumerate(shapes):
        try:
            made = [probes.make(sizes, number * count + repeat) for repeat in range(count)]
            run_eagerly(subject, subject.module, made[0])
        except MODULE_ERRORS as error:
            failure = failure or error
            text = ", ".join(f"{name} {list(shape)}" for name, shape in sizes.items())
            notes.append(f"not checked with {text}: the module itself does not take it")
        else:
            inputs += made
    if not inputs and failure is not None:
        raise failure
    made_up: list[tuple[Inputs, Mapping[int, Array]]] = [(arrays, {}) for arrays in inputs]
    every = [*recorded, *made_up] if subject.state else [*made_up, *recorded]
    return judge(subject, every, device=device), notes


def judge(
    subject: Subject, inputs: Sequence[tuple[Inputs, Mapping[int, Array]]], *, device: str, exact: bool = True
) -> list[Case]:
    """Return one case for each set of inputs and recorded outputs: float32 on a device, float64 on the CPU.

    Without `exact`, float64 is left out. State is carried from one set of inputs to the next, as a program does.
    """
    subject.reset()
    module = subject.module.to(device)
    try:
        with full_float32(device):
            singles = [run_eagerly(subject, module, arrays, device=device) for arrays, _ in inputs]
    finally:
        subject.module.to("cpu")
    subject.reset()
    twin = subject.make_exact() if exact else None
    return [
        Case(arrays, single, [] if twin is None else run_eagerly(subject, twin, arrays, double=True), recorded)
        for (arrays, recorded), single in zip(inputs, singles, strict=True)
    ]


def run_program(
    path: str, subject: Subject, cases: Sequence[Case], *, destination: str, double: bool = False
) -> tuple[list[list[Array]], dict[str, str]]:
    """Run a program file on all cases in a process without this package; return its outputs, and versions of packages.

    With `double` the outputs of all cases in float64 follow.
    Raises `ProgramError` with the runtime's own words if it refuses the program or crashes.
    """
    with tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        job = {
            "runtime": destination,
            "program": os.path.abspath(path),
            "inputs": [argument.name for argument in subject.arguments],
            "outputs": subject.outputs,
            "by_name": subject.by_name,
            "double": double,
            "cases": len(cases),
        }
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
            json.dump(job, file)
        for number, case in enumerate(cases):
            arrays = {str(position): array for position, array in enumerate(case.inputs.values())}
            np.savez(os.path.join(folder, f"inputs-{number}.npz"), **arrays)  # type: ignore[arg-type]  # arrays by name
        done = subprocess.run(
            [sys.executable, runner.__file__, folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        answer = os.path.join(folder, "answer.json")
        if done.returncode or not os.path.exists(answer):
            raise ProgramError(_explain_failure(done), destination=destination)
        with open(answer, encoding="utf-8") as file:
            versions: dict[str, str] = json.load(file)
        results = []
        for number in range(len(cases) * (2 if double else 1)):
            with np.load(os.path.join(folder, f"outputs-{number}.npz"), allow_pickle=False) as stored:
                results.append([stored[str(position)] for position in range(len(stored.files))])
    return results, versions


def compare_outputs(subject: Subject, case: Case, outputs: Sequence[Array]) -> list[Comparison]:
    """Compare the outputs of a program with the eager module's, and with recorded ones if there are any."""
    sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in case.inputs.items())
    comparisons = []
    for position, name in enumerate(subject.outputs):
        values = outputs[position] if position < len(outputs) else None
        single, exact = case.single[position], case.exact[position]
        if values is None or values.shape != single.shape:
            found = "missing" if values is None else str(list(values.shape))
            comparisons.append(Comparison(name, sizes, f"is {found}, expected {list(single.shape)}"))
            continue
        distance, unit = _measure(values, exact), _find_unit(single, exact)
        if unit is None:
            # Float32 overflows where float64 does not, and so does any program in float32.
            distance, unit = _measure(values, single), LEAST_UNIT * _find_largest(single)
        agrees = distance <= ALLOWED_UNITS * unit
        units = distance / unit if unit else 0.0 if agrees else float("inf")
        problem = None if agrees else f"differs by {distance:.2g}, {units:.3g} times the float32 noise"
        recorded = case.recorded.get(position)
        comparison = Comparison(name, sizes, problem, distance, units, _find_largest(exact), ALLOWED_UNITS * unit)
        comparisons.append(comparison if recorded is None else _compare_recorded(comparison, values, recorded, unit))
    return comparisons


def _compare_recorded(comparison: Comparison, values: Array, recorded: Array, unit: float) -> Comparison:
    """Add the comparison with a value that TensorFlow recorded."""
    if recorded.shape != values.shape:
        problem = f"is {list(values.shape)}, and the recorded value is {list(recorded.shape)}"
        return dataclasses.replace(comparison, problem=comparison.problem or problem)
    distance, largest = _measure(values, recorded), _find_largest(recorded)
    relative = distance / largest if largest else distance
    agrees = distance <= max(ALLOWED_UNITS * unit, FLOAT32_TOLERANCE * largest)
    text = f"differs from the recorded value by {distance:.2g}, {relative:.2g} of its largest value"
    return dataclasses.replace(comparison, problem=comparison.problem or (None if agrees else text), recorded=relative)


def _find_unit(single: Array, exact: Array) -> float | None:
    """Return the float32 noise of an output, or a little if it has none; None if only float32 overflows.

    For whole numbers it counts elements: where float32 and float64 do not decide alike, a program may not either.
    """
    noise = _measure(single, exact)
    if noise == float("inf"):
        return None
    return max(noise, LEAST_UNIT * _find_largest(exact) if exact.dtype.kind == "f" else 0.5 / ALLOWED_UNITS)


def _measure(values: Array, reference: Array) -> float:
    """Return max|Δ| of numbers, where equal infinities and NaN do not differ, and the number of unequal others."""
    if reference.dtype.kind not in "f" or values.dtype.kind not in "f":
        return float((values != reference).sum())
    ours, theirs = values.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True) or not np.isfinite(ours[finite]).all():
        return float("inf")
    return float(np.abs(ours[finite] - theirs[finite]).max(initial=0.0))


def _find_largest(values: Array) -> float:
    numbers = np.abs(values[np.isfinite(values)]) if values.dtype.kind == "f" else np.zeros(0)
    return float(numbers.max(initial=0.0))


def _explain_failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return what the runtime said: the last line of its error, or how its process ended."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode < 0:
        return f"the runtime crashed with signal {-done.returncode}"
    return f"the runtime does not run the program: {lines[-1] if lines else f'exit code {done.returncode}'}"
