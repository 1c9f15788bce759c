"""`tf.Tensor` with a value: an array with TensorFlow's attributes, and the functions that return one.

None of them computes; they convert, rearrange and create values.
In a graph the same functions take tensors without a value, and return one that `Session.run` evaluates (`symbols`).
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._typing import Array
from ..train.dtypes import DType, as_dtype
from ..train.errors import InvalidArgumentError, UnimplementedError
from .shapes import TensorShape

_SMALL = range(-(2**31), 2**31)


class Tensor:
    """A read-only array with TensorFlow's attributes."""

    __slots__ = ("_array", "_dtype")
    __hash__ = None  # type: ignore[assignment]  # as in TensorFlow, because == compares elements
    __array_priority__ = 100

    def __init__(self, array: Array, dtype: DType | None = None) -> None:
        """Wrap an array, without a copy."""
        self._array = array
        self._dtype = as_dtype(array) if dtype is None else dtype

    @property
    def dtype(self) -> DType:
        """The data type."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape, which is always known."""
        return TensorShape(self._array.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def get_shape(self) -> TensorShape:
        """Return the shape."""
        return self.shape

    def numpy(self) -> Any:
        """Return a copy as a NumPy array, or a NumPy scalar; strings are `bytes`."""
        return self._array[()] if self._array.ndim == 0 else self._array.copy()

    def eval(self, feed_dict: object = None, session: object = None) -> Any:
        """Return the value, as a session does."""
        return self.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None or copy:
            return np.array(self._array, dtype=dtype)
        view: Array = self._array.view()
        view.flags.writeable = False
        return view

    def __getitem__(self, key: Any) -> Tensor:
        return Tensor(np.asarray(self._array[key], self._array.dtype), self._dtype)

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("Scalar tensor has no `len()`")
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        if self._array.ndim == 0:
            raise TypeError("Cannot iterate over a scalar tensor.")
        return (self[index] for index in range(len(self._array)))

    def __eq__(self, other: object) -> Any:
        return self._compare(other, is_equal=True)

    def __ne__(self, other: object) -> Any:
        return self._compare(other, is_equal=False)

    def _compare(self, other: object, *, is_equal: bool) -> Any:
        if other is None:
            return not is_equal
        right = convert_to_tensor(other, dtype=self._dtype if isinstance(other, builtins.float | int) else None)
        if right.dtype != self._dtype:
            raise InvalidArgumentError(None, None, f"cannot compare {self._dtype.name} with {right.dtype.name}")
        equal = np.asarray(self._array == right._array, np.bool_)
        return Tensor(equal if is_equal else ~equal)

    def __bool__(self) -> bool:
        return builtins.bool(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __float__(self) -> float:
        return float(self._array)

    def __index__(self) -> int:
        return self._array.__index__()

    def __str__(self) -> str:
        return f"tf.Tensor({_text(self._array)}, shape={self.shape}, dtype={self._dtype.name})"

    def __repr__(self) -> str:
        value = _on_lines_of_its_own(repr(self.numpy()))
        return f"<tf.Tensor: shape={self.shape}, dtype={self._dtype.name}, numpy={value}>"


def _text(array: Array) -> str:
    is_text = array.dtype == object and array.ndim == 0
    return _on_lines_of_its_own(repr(array[()]) if is_text else str(array))


def _on_lines_of_its_own(text: str) -> str:
    """Return a text, after a line break if it has several lines."""
    return f"\n{text}" if "\n" in text else text


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const") -> Tensor:
    """Return a tensor with a copy of a value; `shape` reshapes it, or repeats a scalar."""
    tensor = convert_to_tensor(value, dtype)
    if shape is None:
        return tensor
    target = _known_shape(shape)
    array = tensor._array
    if array.size == 1 and array.shape != target:
        array = np.full(target, array.reshape(())[()], array.dtype)
    elif array.size == math.prod(target):
        array = array.reshape(target)
    else:
        raise TypeError(f"Eager execution of tf.constant with unsupported shape. Tensor {tensor} has {array.size}")
    return Tensor(array, tensor.dtype)


def convert_to_tensor(
    value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None, preferred_dtype: Any = None
) -> Tensor:
    """Return a tensor with a copy of a value.

    Floats become float32, ints int32 or int64, and text strings of UTF-8; arrays keep their types.
    Raises `TypeError` or `ValueError` if `dtype` cannot hold the value.
    """
    wanted = None if dtype is None else as_dtype(dtype).base_dtype
    if isinstance(value, Tensor):
        if wanted is not None and wanted != value.dtype:
            raise ValueError(
                f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype {value.dtype.name}: {value!r}"
            )
        return value
    if hasattr(value, "numpy") and hasattr(value, "dtype"):  # a variable with a value
        value = value.numpy()
    is_array = isinstance(value, np.ndarray | np.generic)
    array = _to_array(value)
    if wanted is None:
        hint = dtype_hint if dtype_hint is not None else preferred_dtype
        wanted = as_dtype(array) if is_array else _kind_of_python_value(value, array)
        if hint is not None and not is_array and _is_lossless(array, as_dtype(hint)):
            wanted = as_dtype(hint)
    elif not (_is_cast(array, wanted) if is_array else _is_lossless(array, wanted)):
        raise TypeError(f"Cannot convert {value!r} to EagerTensor of dtype {wanted.name}")
    return Tensor(np.array(array, dtype=_numpy_type(wanted)), wanted)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Return a tensor with its elements in another type; fractions are cut off, and imaginary parts dropped."""
    tensor = convert_to_tensor(x)
    wanted = as_dtype(dtype).base_dtype
    if wanted == tensor.dtype:
        return tensor
    if "string" in (tensor.dtype.name, wanted.name):
        raise UnimplementedError(None, None, f"Cast {tensor.dtype.name} to {wanted.name} is not supported")
    array = tensor._array
    if np.iscomplexobj(array) and not wanted.is_complex and not wanted.is_bool:
        array = np.real(array)
    with np.errstate(all="ignore"):
        return Tensor(array.astype(_numpy_type(wanted)), wanted)


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """Return a tensor without the dimensions of size 1, or without those that `axis` lists."""
    tensor = convert_to_tensor(input)
    chosen = squeeze_dims if axis is None else axis
    axes = None if chosen is None else tuple(int(item) for item in np.atleast_1d(chosen))
    return _rearrange(lambda: np.squeeze(tensor._array, axes or None), tensor.dtype)


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """Return a tensor with another dimension of size 1 at `axis`."""
    tensor = convert_to_tensor(input)
    return _rearrange(lambda: np.expand_dims(tensor._array, int(dim if axis is None else axis)), tensor.dtype)


def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str = "transpose") -> Tensor:
    """Return a tensor with its dimensions in the order `perm`, or reversed."""
    tensor = convert_to_tensor(a)
    axes = None if perm is None else tuple(int(item) for item in np.asarray(perm))
    array = np.conj(tensor._array) if conjugate and tensor.dtype.is_complex else tensor._array
    return _rearrange(lambda: np.transpose(array, axes), tensor.dtype)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """Return a tensor with the same elements in another shape; one dimension may be -1."""
    source = convert_to_tensor(tensor)
    target = tuple(int(item) for item in np.atleast_1d(np.asarray(shape, np.int64)))
    return _rearrange(lambda: source._array.reshape(target), source.dtype)


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """Return tensors of one type joined along a dimension."""
    tensors = _of_one_type(values)
    return _rearrange(lambda: np.concatenate([item._array for item in tensors], int(axis)), tensors[0].dtype)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Return tensors of one type and shape joined along a new dimension."""
    tensors = _of_one_type(values)
    return _rearrange(lambda: np.stack([item._array for item in tensors], int(axis)), tensors[0].dtype)


def identity(input: Any, name: str | None = None) -> Tensor:
    """Return the tensor."""
    return convert_to_tensor(input)


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    """Return a tensor of zeros, or of empty strings."""
    kind = as_dtype(dtype)
    return Tensor(_filled(TensorShape(shape), b"" if kind.name == "string" else 0, kind), kind)


def ones(shape: Any, dtype: Any = "float32", name: str | None = None) -> Tensor:
    """Return a tensor of ones."""
    kind = as_dtype(dtype)
    return Tensor(_filled(TensorShape(shape), 1, kind), kind)


def zeros_like(input: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Return a tensor of zeros in the shape of another."""
    tensor = convert_to_tensor(input)
    return zeros(tensor.shape, tensor.dtype if dtype is None else dtype)


def is_tensor(x: object) -> bool:
    """Return whether an object is a tensor or a variable, with or without a value."""
    return isinstance(x, Tensor) or getattr(type(x), "is_symbolic", False)


def constant_value(tensor: Any, partial: bool = False) -> Any:
    """Return the value of a tensor as an array, or None if it has none before a session runs."""
    return tensor.numpy() if isinstance(tensor, Tensor) else None


def _filled(shape: TensorShape, value: object, dtype: DType) -> Array:
    return np.full(_known_shape(shape), value, _numpy_type(dtype))


def _known_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape as ints; `ValueError` if a dimension is unknown."""
    dims = TensorShape(shape).as_list()
    if None in dims:
        raise ValueError(f"Cannot convert a partially known TensorShape {TensorShape(shape)} to a Tensor.")
    return tuple(dim for dim in dims if dim is not None)


def _rearrange(function: Callable[[], Array], dtype: DType) -> Tensor:
    try:
        return Tensor(np.array(function(), order="C"), dtype)
    except ValueError as error:  # also numpy.exceptions.AxisError
        raise InvalidArgumentError(None, None, str(error)) from error


def _of_one_type(values: Any) -> list[Tensor]:
    items = list(values) if isinstance(values, list | tuple | Tensor | np.ndarray) else [values]
    known = next((item.dtype for item in items if isinstance(item, Tensor)), None)
    tensors = [item if isinstance(item, Tensor) else convert_to_tensor(item, _kind_for(item, known)) for item in items]
    kinds = {tensor.dtype.name for tensor in tensors}
    if len(kinds) != 1:
        raise InvalidArgumentError(None, None, f"cannot join tensors of different types: {', '.join(sorted(kinds))}")
    return tensors


def _kind_for(item: object, known: DType | None) -> DType | None:
    """Return the type of the other tensors for a value of Python's own types."""
    return None if isinstance(item, np.ndarray | np.generic) else known


def _to_array(value: Any) -> Array:
    """Return a value as an array; text becomes UTF-8 in an array of `bytes`."""
    if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
        value = [item.numpy() if isinstance(item, Tensor) else item for item in value]
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError("Can't convert non-rectangular Python sequence to Tensor.") from error
    if array.dtype.kind in "SUO" or array.dtype.hasobject:
        array = np.asarray(value, dtype=object)
        return np.array([_to_bytes(item) for item in array.ravel()], dtype=object).reshape(array.shape)
    return array


def _to_bytes(item: object) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8")
    if isinstance(item, bytes):
        return bytes(item)
    raise ValueError(f"Attempt to convert a value ({item!r}) with an unsupported type ({type(item)}) to a Tensor.")


def _kind_of_python_value(value: Any, array: Array) -> DType:
    """Return TensorFlow's type for numbers and text of Python; lists of NumPy's numbers keep their type."""
    leaf = value
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    if isinstance(leaf, np.generic | np.ndarray):
        return as_dtype(array)
    if array.dtype.kind == "f":
        return as_dtype("float32")
    if array.dtype.kind == "i":
        is_small = array.size == 0 or (int(array.min()) in _SMALL and int(array.max()) in _SMALL)
        return as_dtype("int32" if is_small else "int64")
    return as_dtype(array)


def _is_lossless(array: Array, wanted: DType) -> bool:
    """Return whether TensorFlow converts Python's numbers or text to this type."""
    kind = array.dtype.kind
    if kind == "O" or wanted.name == "string":
        return kind == "O" and wanted.name == "string"
    if array.size == 0:
        return True
    if kind == "b" or wanted.is_bool:
        return kind == "b"
    if kind == "c":
        return wanted.is_complex
    if kind == "f":
        return wanted.is_floating or wanted.is_complex
    return True  # also an int that does not fit: TensorFlow keeps its low bits


def _is_cast(array: Array, wanted: DType) -> bool:
    """Return whether TensorFlow converts an array to this type without being asked to cast."""
    return (array.dtype.kind == "O") == (wanted.name == "string")


def _numpy_type(dtype: DType) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(dtype.as_numpy_dtype)
    return kind
