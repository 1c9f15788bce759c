"""Random inputs for tracing and checking a module, which a seed determines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch

from .._typing import Array
from ..errors import ConversionError, Shape
from .subject import Argument, Subject

#: Input arrays by the name of the argument.
Inputs: TypeAlias = dict[str, Array]

#: Exclusive upper bounds of whole numbers, which may be indices into tables of unknown length; the first that works.
_BOUNDS = (100, 10, 2, 1)
#: What a module raises for inputs it cannot take.
MODULE_ERRORS = (
    ConversionError,
    ArithmeticError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Probes:
    """Random inputs of a module: normally distributed numbers, and whole numbers that it accepts."""

    def __init__(self, subject: Subject, shapes: Mapping[str, Shape]) -> None:
        """Find whole numbers that the module accepts by running it at these shapes.

        Raises what the module raises if it accepts none.
        """
        self._subject = subject
        self._bound = _BOUNDS[0]
        has_indices = any(_is_index(argument) and argument.bound is None for argument in subject.arguments)
        for bound in _BOUNDS if has_indices else _BOUNDS[:1]:
            self._bound = bound
            try:
                run_eagerly(subject, subject.module, self.make(shapes, 0))
                return
            except MODULE_ERRORS as error:
                failure = error
        raise failure

    def make(self, shapes: Mapping[str, Shape], number: int) -> Inputs:
        """Return inputs of these shapes; `number` chooses one of many."""
        random = np.random.default_rng(number)
        return {
            argument.name: _make_array(argument, shapes[argument.name], random, self._bound)
            for argument in self._subject.arguments
        }


def run_eagerly(
    subject: Subject, module: torch.nn.Module, inputs: Mapping[str, Array], *, device: str = "cpu", double: bool = False
) -> list[Array]:
    """Run a module of the subject on arrays and return its outputs as arrays; with `double`, it is the float64 twin."""
    tensors = []
    for argument in subject.arguments:
        tensor = torch.from_numpy(inputs[argument.name])
        if double and tensor.is_floating_point():
            tensor = tensor.double()
        tensors.append(tensor.to(device))
    with torch.inference_mode():
        return [output.cpu().numpy() for output in subject.call(module, tensors)]


def _is_index(argument: Argument) -> bool:
    is_whole = not argument.dtype.is_floating_point and argument.dtype != torch.bool
    return is_whole and not (argument.dtype == torch.uint8 and argument.sides)


def _make_array(argument: Argument, shape: Shape, random: np.random.Generator, bound: int) -> Array:
    dtype = np.dtype(str(argument.dtype).removeprefix("torch."))
    if dtype.kind == "f":
        # A scalar is a factor or a probability to keep values, for which 1 changes nothing.
        values = random.standard_normal(shape) if shape else np.ones(shape)
        return values.astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(dtype)
    return random.integers(0, argument.bound or (bound if _is_index(argument) else 256), shape).astype(dtype)
