"""From a module to an exported program of PyTorch, with axes of any size where the module allows them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tfckpt.errors import join_some, pluralize, printable

from .._typing import Array
from ..engine.evaluator import NODE_KEY
from ..errors import ConversionError, ProgramError
from .probes import MODULE_ERRORS, Inputs, Probes, run_eagerly
from .shapes import BATCH, Axis, Shapes, checked_shapes, fix_axes, list_axes, traced_shapes
from .subject import Subject, wrap_forward

#: What the nodes of a program record about the machine that traced it: the paths and lines of source files.
_TRACES = ("stack_trace", "source_fn_stack")


#: How far a rightly traced program may be from its module, relative to the largest value, and the least share of equal
#: whole numbers; the check of the written file is exact.
_CLOSE = 1e-3
_MOST_EQUAL = 0.99
#: The most parameters without gradient that a sentence names.
_MOST_NAMES = 4


class Traced(NamedTuple):
    """An exported program, the shapes it takes, sentences about axes that became fixed, and how it was traced."""

    program: ExportedProgram
    shapes: Shapes
    notes: tuple[str, ...]
    uses_hints: bool


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings and log messages of exporters, which are about each other."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def trace(subject: Subject, shapes: Shapes, probes: Probes, *, destination: str) -> Traced:
    """Trace a module with as many axes of any size as it allows; the others become fixed.

    Raises `ProgramError` if it cannot be traced, or if a required axis would be fixed.
    """
    first: Exception | None = None
    given_up: set[str] = set()
    while True:
        wanted = fix_axes(shapes, given_up)
        axes = list_axes(wanted)
        optional = {name for name, axis in axes.items() if not axis.is_required}
        fixed: set[str] = set()
        # Without hints a feature map of a single pixel is like any other, but some graphs then refuse a batch of 1.
        for uses_hints in (True, False) if axes else (True,):
            try:
                program = _export(subject, wanted, probes.make(traced_shapes(wanted), 0), uses_hints=uses_hints)
            except ConversionError:
                if not axes:
                    raise
            except Exception as error:  # torch.export raises errors of its own kinds and Python's
                first = first or error
            else:
                bound = set(axes) - _find_free(program, wanted)
                misled = set() if bound else _find_misled(program, subject, wanted, probes)
                # A required axis that misled the trace is left to the check of the file, which says what differs.
                if not bound and not (misled if uses_hints else misled & optional):
                    reset_program(program, subject)
                    return Traced(_strip(program), wanted, _describe(given_up, shapes), uses_hints)
                fixed = bound or misled
        # The batch is given up last: nearly every module allows it.
        fixed = (fixed & optional) or (optional - {BATCH}) or optional
        if not fixed:
            raise ProgramError(_explain(first, axes), destination=destination) from first
        given_up |= fixed


def reset_program(program: ExportedProgram, subject: Subject) -> None:
    """Give the module and the program the first values of the buffers that each run changes."""
    subject.reset()
    buffers = dict(subject.module.named_buffers())
    for name in subject.state:
        program.state_dict[name].copy_(buffers[name])


def trace_half(subject: Subject, traced: Traced) -> ExportedProgram:
    """Return the program of a traced module with weights in float16, with which it computes in float32."""
    inputs = Probes(subject, traced_shapes(traced.shapes)).make(traced_shapes(traced.shapes), 0)
    half = dataclasses.replace(subject, module=_HalfWeights(subject.module))
    return _strip(_export(half, traced.shapes, inputs, uses_hints=traced.uses_hints))


class _HalfWeights(nn.Module):
    """A module whose weights are kept in float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # Not a submodule: its own weights are not part of the program.
        self._inner = [module]
        self._names: dict[str, str] = {}
        for name, tensor in module.state_dict().items():
            half = tensor.detach().half() if tensor.is_floating_point() else tensor.detach()
            short = name.replace(".", "__")
            while hasattr(self, short):
                short += "_"
            self._names[name] = short
            self.register_buffer(short, half)

    def forward(self, *args: Tensor) -> Any:
        """Run the module with its weights in float32."""
        state = {name: getattr(self, short) for name, short in self._names.items()}
        full = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        return torch.func.functional_call(self._inner[0], full, args)


def _export(subject: Subject, shapes: Shapes, inputs: Inputs, *, uses_hints: bool = True) -> ExportedProgram:
    """Trace a module; with hints, conditions on sizes are decided by those of the inputs if they can be."""
    names = list(inputs)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    dims = {
        name: {
            number: Dim.DYNAMIC if axis.is_required else Dim.AUTO
            for number, axis in enumerate(axes)
            if isinstance(axis, Axis)
        }
        for name, axes in shapes.items()
    }
    args: tuple[Any, ...] = () if subject.by_name else tuple(tensors.values())
    kwargs = tensors if subject.by_name else None
    module = wrap_forward(subject.module, names)
    patch = torch.fx.experimental._config.patch(backed_size_oblivious=not uses_hints)  # type: ignore[attr-defined]  # added
    with quiet(), patch:
        return torch.export.export(module, args, kwargs, dynamic_shapes=dims)


def _find_free(program: ExportedProgram, shapes: Shapes) -> set[str]:
    """Return the names of the axes that kept any size."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    free: set[str] = set()
    bound: set[str] = set()
    for name, axes in zip(program.graph_signature.user_inputs, shapes.values(), strict=True):
        for number, axis in enumerate(axes):
            if isinstance(axis, Axis):
                is_free = isinstance(values[str(name)].shape[number], torch.SymInt)
                (free if is_free else bound).add(axis.name)
    return free - bound


def _find_misled(program: ExportedProgram, subject: Subject, shapes: Shapes, probes: Probes) -> set[str]:
    """Return axes at whose sizes the program fails or computes something else: its trace used the size it saw."""
    traced = traced_shapes(shapes)
    reset_program(program, subject)
    module = program.module()
    for sizes in checked_shapes(shapes) if list_axes(shapes) else ():
        inputs = probes.make(sizes, 0)
        try:
            expected = run_eagerly(subject, subject.module, inputs)
        except MODULE_ERRORS:
            continue  # the module itself does not take this size
        try:
            is_right = all(map(_are_close, run_eagerly(subject, module, inputs), expected))
        except Exception:  # whatever the program's own checks of sizes raise
            is_right = False
        if not is_right:
            changed = {
                axis.name
                for name, axes in shapes.items()
                for axis, size, before in zip(axes, sizes[name], traced[name], strict=True)
                if isinstance(axis, Axis) and size != before
            }
            # The batch differs from the traced one in every case.
            return changed - {BATCH} or changed
    return set()


def _are_close(values: Array, expected: Array) -> bool:
    """Whether two outputs are the same but for rounding, which a wrong size exceeds by far."""
    if values.shape != expected.shape:
        return False
    if expected.dtype.kind != "f":
        return bool((values == expected).mean() > _MOST_EQUAL) if expected.size else True
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return bool(np.allclose(values, expected, rtol=0.0, atol=_CLOSE * largest, equal_nan=True))


def describe_untrained(program: ExportedProgram, subject: Subject, inputs: Inputs) -> list[str]:
    """Return a sentence that lists the trainable parameters that get no gradient from any output, if there are some."""
    count = sum(parameter.requires_grad for parameter in program.parameters())
    try:
        names = _find_untrained(program, subject, inputs)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        return [f"no parameter gets a gradient: {reason}"]
    listed = join_some(tuple(map(printable, names)), most=_MOST_NAMES)
    return [f"{len(names)} of {pluralize(count, 'parameter')} get no gradient: {listed}"] if names else []


def _find_untrained(program: ExportedProgram, subject: Subject, inputs: Inputs) -> list[str]:
    """Return the parameters of a program that get no gradient from any output, by name."""
    module = program.module()
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not trained:
        return []
    outputs = subject.call(module, [torch.from_numpy(inputs[argument.name]) for argument in subject.arguments])
    differentiable = [output for output in outputs if output.requires_grad]
    if not differentiable:
        return list(trained)
    total = sum(output.float().sum() for output in differentiable)
    gradients = torch.autograd.grad(total, list(trained.values()), allow_unused=True)  # type: ignore[arg-type]  # tensor
    return [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]


def _strip(program: ExportedProgram) -> ExportedProgram:
    """Remove what would tell where the program was traced, and make files of the same module differ.

    TensorFlow's names of nodes stay.
    """
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in _TRACES:
                    node.meta.pop(key, None)
                name = node.meta.pop("custom", {}).get(NODE_KEY)
                if name is not None:
                    node.meta["custom"] = {NODE_KEY: name}
    return program


def _describe(names: set[str], shapes: Shapes) -> tuple[str, ...]:
    axes = list_axes(shapes)
    return tuple(
        f"{name} is fixed at {axis.fixed}: the module cannot be traced for any size"
        for name, axis in axes.items()
        if name in names
    )


def _explain(error: Exception | None, axes: dict[str, Axis]) -> str:
    what = f"for any {' and '.join(axes)}" if axes else "at fixed sizes"
    reason = "a size became fixed" if error is None else str(error).strip().partition("\n")[0]
    return f"torch.export cannot trace the module {what}: {reason}"
