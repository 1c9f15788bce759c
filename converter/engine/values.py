"""The values on the edges of a graph, and the conversion between their NumPy and PyTorch forms.

Floating-point tensors are PyTorch tensors of one dtype, which the caller chooses, whatever the graph declares.
Running the same graph in float32 and in float64 shows how much rounding costs.
Shapes, axes and other small integers stay on the host as NumPy arrays, so that they are known while a module is
exported; an array of dtype object holds strings (`bytes`), or dimensions that are symbols during an export.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import numpy as np
import torch

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """The handle of a variable; `name` is the expanded name of its node."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reference(Resource):
    """A variable of TensorFlow 1 that changes during the run: operations use the value that it has when they run."""


@dataclasses.dataclass(frozen=True, slots=True)
class TensorList:
    """The immutable list of tensors, or of lists, that the TensorList operations pass on."""

    items: tuple[torch.Tensor | Array | TensorList | None, ...]
    #: The shape of every element, with -1 for an unknown size; None if the rank is unknown.
    element_shape: tuple[int, ...] | None
    element_dtype: str


class Dead:
    """The value on a branch that a Switch did not take."""

    def __repr__(self) -> str:
        return "DEAD"


DEAD: Final = Dead()

Tensor: TypeAlias = torch.Tensor
Value: TypeAlias = Tensor | Array | Resource | TensorList | Dead

_FLOATS = {"float16", "float32", "float64", "bfloat16"}
_COMPLEX = {"complex64", "complex128"}
_TORCH = {
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "uint64": torch.uint64,
    "bool": torch.bool,
    "qint8": torch.int8,
    "quint8": torch.uint8,
    "qint32": torch.int32,
}
_NUMPY_FLOATS: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


_NUMPY_COMPLEX: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.complex64),
    torch.float64: np.dtype(np.complex128),
}


def is_float(name: str) -> bool:
    """Return whether a dtype, by TensorFlow's short name, is floating-point and so replaced by the engine's dtype."""
    return name in _FLOATS


def is_known(name: str) -> bool:
    """Return whether tensors of a dtype, by TensorFlow's short name, are supported; float8 is not."""
    return name in _FLOATS or name in _COMPLEX or name in _TORCH or name in ("string", "resource", "variant")


def torch_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Return PyTorch's dtype for TensorFlow's short name; `dtype` for any floating-point type.

    The parts of complex numbers have this `dtype`, too.
    """
    if name in _COMPLEX:
        return dtype.to_complex()
    return dtype if name in _FLOATS else _TORCH[name]


def numpy_dtype(name: str, dtype: torch.dtype) -> np.dtype[Any]:
    """Return NumPy's dtype for TensorFlow's short name; `dtype` for any floating-point type."""
    if name in _FLOATS:
        return _NUMPY_FLOATS[dtype]
    if name in _COMPLEX:
        return _NUMPY_COMPLEX[dtype]
    return np.dtype(object) if name == "string" else np.dtype(name.removeprefix("q"))


def host_float(dtype: torch.dtype) -> np.dtype[Any]:
    """Return NumPy's dtype for the engine's dtype."""
    return _NUMPY_FLOATS[dtype]


def is_floating(array: Array) -> bool:
    """Return whether an array is floating-point, including the bfloat16 of ml_dtypes."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def to_tensor(value: Value, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Return a PyTorch tensor as it is, or convert a host array: a floating-point one to a copy in `dtype`."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray):
        raise TypeError(f"expected a tensor, not a {type(value).__name__}")
    if value.dtype == object:
        # During an export these are symbols, which only PyTorch can turn into a tensor.
        return _stack_symbols(value, dtype, device)
    if is_floating(value):
        return torch.from_numpy(value.astype(_NUMPY_FLOATS[dtype])).to(device)
    if value.dtype.kind == "c":
        return torch.from_numpy(value.astype(_NUMPY_COMPLEX[dtype])).to(device)
    if not value.flags.writeable or not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    return torch.from_numpy(value).to(device)


def _stack_symbols(value: Array, dtype: torch.dtype, device: torch.device | None) -> Tensor:
    items = value.ravel().tolist()
    if any(isinstance(item, bytes | str) for item in items):
        raise TypeError("expected numbers, not strings")
    kind = dtype if any(isinstance(item, float | torch.SymFloat) for item in items) else torch.int64
    scalars = [torch.scalar_tensor(item, dtype=kind, device=device) for item in items]
    return torch.stack(scalars).reshape(value.shape) if scalars else torch.empty(value.shape, dtype=kind)


def is_known_true(condition: Any) -> bool:
    """Return whether a comparison is true; of symbols of an export, whether it is for every size."""
    if isinstance(condition, bool):
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # an export has loaded it

    return statically_known_true(condition)


def to_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in a dtype; the tensor itself if it has this dtype, since an export would record a check."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def to_tensors(dtype: torch.dtype, *values: Value) -> list[Tensor]:
    """Convert all values to PyTorch tensors, host arrays on the device of the first tensor."""
    device = next((value.device for value in values if isinstance(value, Tensor)), None)
    return [to_tensor(value, dtype, device) for value in values]


def to_array(value: Value) -> Array:
    """Return a host array; a PyTorch tensor is detached and moved to the CPU."""
    if isinstance(value, Tensor):
        return cast(Array, value.detach().cpu().numpy())
    if isinstance(value, np.ndarray):
        return value
    raise TypeError(f"expected a tensor, not a {type(value).__name__}")


def to_ints(value: Value) -> list[int]:
    """Return the integers of a vector or scalar: a shape, a permutation, axes."""
    if isinstance(value, np.ndarray):
        return cast("list[int]", value.ravel().tolist())
    if isinstance(value, Tensor):
        return cast("list[int]", value.reshape(-1).tolist())
    raise TypeError(f"expected integers, not a {type(value).__name__}")


def to_int(value: Value) -> int:
    """Return the integer of a scalar."""
    (number,) = to_ints(value)
    return number


def to_number(value: Value) -> Any:
    """Return the number of a scalar; a symbol during an export if it comes from a shape."""
    if isinstance(value, np.ndarray | Tensor):
        return value.reshape(()).item()
    raise TypeError(f"expected a number, not a {type(value).__name__}")


def to_bool(value: Value) -> bool:
    """Return the truth of a scalar predicate: its bool, or whether its number is not zero."""
    if isinstance(value, np.ndarray | Tensor):
        return bool(value.reshape(()))
    raise TypeError(f"expected a predicate, not a {type(value).__name__}")


def make_shape_array(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Return dimensions as a host array; its dtype is object if some are symbols during an export."""
    if all(type(size) is int for size in shape):
        return np.array(shape, dtype)
    symbols = np.empty(len(shape), object)
    symbols[:] = list(shape)
    return symbols
