"""What is exported: a module, the tensors it takes and returns, and where it came from."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import ExportError

#: One of our networks, a TensorFlow graph, or any other module.
Kind: TypeAlias = Literal["network", "graph", "module"]


class NamedAxis(NamedTuple):
    """An axis of any size: its name, and the largest size that the module takes, or None if it takes any.

    Axes with different `turn`s are traced and checked at different sizes, because they need not be equal.
    """

    name: str
    most: int | None = None
    turn: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An input of a module.

    `shape` has None for each axis that can have any size; the first axis counts the batch if its size is None.
    `sides` are the positions of height and width if the input is a batch of images, else empty.
    `axes` has other axes of any size, by position; those of one name have one size.
    `bound` is the number of values of a whole number, which counts from 0, or None if it is unknown.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int | None, ...]
    sides: tuple[int, ...] = ()
    axes: Mapping[int, NamedAxis] = dataclasses.field(default_factory=dict)
    bound: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A module in eval mode with its arguments in order, and the names of its outputs.

    `make_exact` returns the same module in float64.
    `by_name` says whether a program takes several arguments by their names.
    `size` is the usual side of an image in pixels, or None.
    `metadata` are the strings that a file stores, by name. `notes` are sentences for people.
    `state` are the names of the buffers that each call changes, and `reset` gives them their first values.
    """

    kind: Kind
    title: str
    module: nn.Module
    make_exact: Callable[[], nn.Module]
    arguments: tuple[Argument, ...]
    outputs: tuple[str, ...]
    by_name: bool = False
    size: int | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    reset: Callable[[], None] = lambda: None

    @property
    def parameter_count(self) -> int:
        """The number of values in all parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def call(self, module: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run the module, its float64 twin or its program, and return its outputs in the order of `outputs`."""
        if self.by_name:
            names = [argument.name for argument in self.arguments]
            return self.list_outputs(module(**dict(zip(names, inputs, strict=True))))
        return self.list_outputs(module(*inputs))

    def list_outputs(self, value: Any) -> list[Tensor]:
        """Return the tensors of the module's result, a tensor, a sequence or a mapping, in the order of `outputs`."""
        if isinstance(value, Tensor):
            return [value]
        return [value[name] for name in self.outputs] if isinstance(value, Mapping) else list(value)


def wrap_forward(
    module: nn.Module,
    names: Sequence[str],
    before: Callable[[Sequence[Any]], Sequence[Any]] = list,
    after: Callable[[Any], Any] = lambda result: result,
    call: Callable[[Sequence[Any]], Any] | None = None,
) -> nn.Module:
    """Return a module with the same parameters whose `forward` has arguments of these names.

    `before` changes the arguments, and `after` the result. `call` runs the module on its arguments in another way.
    """
    inner = module.forward
    run = call or (lambda values: inner(*values))
    signature = inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])

    def forward(*args: Any, **kwargs: Any) -> Any:
        return after(run(before(list(signature.bind(*args, **kwargs).arguments.values()))))

    forward.__signature__ = signature  # type: ignore[attr-defined]  # what torch.export reads
    wrapped = copy.copy(module)
    wrapped.forward = forward
    return wrapped


def make_double(module: nn.Module) -> nn.Module:
    """Return a copy of a module in float64."""
    return copy.deepcopy(module).double()


def open_module(module: nn.Module, example: Sequence[Tensor] | Mapping[str, Tensor] | None) -> Subject:
    """Return a module that is neither a network of ours nor a graph; its first axes count the batch.

    `example` are its inputs, in order or by the names of the arguments of `forward`.
    """
    if example is None:
        raise ExportError("the module does not say what it takes: pass example=, its inputs as tensors")
    parameters = list(inspect.signature(module.forward).parameters)
    names = list(example) if isinstance(example, Mapping) else parameters[: len(example)]
    values = list(example.values()) if isinstance(example, Mapping) else list(example)
    if len(names) != len(values) or not values or not all(isinstance(value, Tensor) for value in values):
        raise ExportError(f"example has to be one tensor for each of {', '.join(parameters)}")
    with torch.no_grad():
        result = module.eval()(*values)
    outputs = list(result) if isinstance(result, Mapping) else _number_outputs(result)
    return Subject(
        kind="module",
        title=type(module).__name__,
        module=module,
        make_exact=lambda: make_double(module),
        arguments=tuple(
            Argument(name=name, dtype=value.dtype, shape=(None, *value.shape[1:]) if value.ndim else ())
            for name, value in zip(names, values, strict=True)
        ),
        outputs=tuple(outputs),
        by_name=len(names) > 1,
    )


def _number_outputs(result: Any) -> list[str]:
    return ["output"] if isinstance(result, Tensor) else [f"output_{number}" for number in range(len(result))]
