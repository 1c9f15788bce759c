"""What flows along the edges of a graph, and how its NumPy and PyTorch forms become each other.

Floating-point tensors are PyTorch tensors of the one dtype the evaluation runs in, whatever the graph declares.
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
    """A variable's handle: `name` is that of its node."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class TensorList:
    """A list of tensors as the TensorList operations pass it; never changed in place."""

    items: tuple[torch.Tensor | Array | None, ...]
    #: The shape of every element, -1 where it is not known; None if nothing is known of it.
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


def is_float(name: str) -> bool:
    """Whether a data type, by TensorFlow's short name, is computed in the evaluation's own dtype."""
    return name in _FLOATS


def is_known(name: str) -> bool:
    """Whether tensors of a data type can flow through the evaluator; complex and float8 ones cannot."""
    return name in _FLOATS or name in _TORCH or name in ("string", "resource", "variant")


def torch_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """PyTorch's dtype for TensorFlow's short name; every floating-point type is `dtype`."""
    return dtype if name in _FLOATS else _TORCH[name]


def numpy_dtype(name: str, dtype: torch.dtype) -> np.dtype[Any]:
    """NumPy's dtype for TensorFlow's short name; every floating-point type is `dtype`."""
    if name in _FLOATS:
        return _NUMPY_FLOATS[dtype]
    return np.dtype(object) if name == "string" else np.dtype(name.removeprefix("q"))


def host_float(dtype: torch.dtype) -> np.dtype[Any]:
    """NumPy's form of the evaluation's dtype."""
    return _NUMPY_FLOATS[dtype]


def is_floating(array: Array) -> bool:
    """Whether an array holds floating-point numbers, those of ml_dtypes included."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def to_tensor(value: Value, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """A PyTorch tensor: itself, or a copy of a host array, floating-point numbers in `dtype`."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a tensor is needed here and not a {type(value).__name__}")
    if value.dtype == object:
        # During an export these are symbols; a list of them becomes a tensor by PyTorch's own means.
        return _stack_symbols(value, device)
    if is_floating(value):
        return torch.from_numpy(value.astype(_NUMPY_FLOATS[dtype])).to(device)
    if not value.flags.writeable or not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    return torch.from_numpy(value).to(device)


def _stack_symbols(value: Array, device: torch.device | None) -> Tensor:
    items = value.ravel().tolist()
    if any(isinstance(item, bytes | str) for item in items):
        raise TypeError("a number is needed here and not a string")
    scalars = [torch.scalar_tensor(item, dtype=torch.int64, device=device) for item in items]
    return torch.stack(scalars).reshape(value.shape) if scalars else torch.empty(value.shape, dtype=torch.int64)


def to_tensors(dtype: torch.dtype, *values: Value) -> list[Tensor]:
    """All as PyTorch tensors, host arrays on the device of the first that is one already."""
    device = next((value.device for value in values if isinstance(value, Tensor)), None)
    return [to_tensor(value, dtype, device) for value in values]


def to_array(value: Value) -> Array:
    """A host array; a PyTorch tensor is copied from its device and loses its gradient."""
    if isinstance(value, Tensor):
        return cast(Array, value.detach().cpu().numpy())
    if isinstance(value, np.ndarray):
        return value
    raise TypeError(f"a tensor is needed here and not a {type(value).__name__}")


def to_ints(value: Value) -> list[int]:
    """The integers of a vector or scalar: a shape, a permutation, axes."""
    if isinstance(value, np.ndarray):
        return cast("list[int]", value.ravel().tolist())
    if isinstance(value, Tensor):
        return cast("list[int]", value.reshape(-1).tolist())
    raise TypeError(f"integers are needed here and not a {type(value).__name__}")


def to_int(value: Value) -> int:
    """The one integer of a scalar."""
    (number,) = to_ints(value)
    return number


def to_bool(value: Value) -> bool:
    """What a scalar predicate says: a bool, or a number that is not zero."""
    if isinstance(value, np.ndarray | Tensor):
        return bool(value.reshape(()))
    raise TypeError(f"a predicate is needed here and not a {type(value).__name__}")


def make_shape_array(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Dimensions as a host array; of dtype object while some are symbols of an export."""
    if all(type(size) is int for size in shape):
        return np.array(shape, dtype)
    symbols = np.empty(len(shape), object)
    symbols[:] = list(shape)
    return symbols
