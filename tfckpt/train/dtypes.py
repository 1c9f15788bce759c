"""TensorFlow's data types as objects that print, compare and hash like `tf.float32`.

Source: `tf.DType` of TensorFlow 2.21; the tests compare every attribute with a record of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensors import dtypes
from ..tensors.dtypes import DataType

#: Offset from the number of a type to that of its reference type, which only graphs of TF1 use.
_REFERENCE = 100
_SYNONYMS = {"half": "float16", "float": "float32", "double": "float64"}
_PARTS = {"complex64": "float32", "complex128": "float64"}
_LARGEST = 33
_NO_NUMPY = ("resource", "variant")


class DType:
    """A data type; `as_dtype` returns the only instance for each type."""

    __slots__ = ("_number", "_row")

    def __init__(self, type_enum: int) -> None:
        """Create the type with TensorFlow's number; use `as_dtype` instead."""
        self._number = type_enum
        self._row: DataType = dtypes.data_type(type_enum % _REFERENCE)

    @property
    def name(self) -> str:
        """The name, such as "float32"."""
        return f"{self._row.name}_ref" if self._is_ref_dtype else self._row.name

    @property
    def as_datatype_enum(self) -> int:
        """The number in TensorFlow's `types.proto`."""
        return self._number

    @property
    def as_numpy_dtype(self) -> Any:
        """NumPy's scalar class; a structured dtype for quantized types, `object` for strings.

        Raises `KeyError` for resources and variants.
        """
        if not self.is_numpy_compatible:
            raise KeyError(self._number)
        if self.is_quantized:
            return np.dtype([(self._row.name, self._row.to_numpy())])
        return object if self._row.is_string else self._row.to_numpy().type

    @property
    def size(self) -> int:
        """The size of an element in bytes; 0 for strings, resources and variants."""
        return self._row.itemsize

    @property
    def base_dtype(self) -> DType:
        """The type that a reference type refers to; otherwise the type itself."""
        return DTYPES[self._row.name]

    @property
    def real_dtype(self) -> DType:
        """The type of the real part of a complex type; otherwise the type itself."""
        return DTYPES[_PARTS[self._row.name]] if self._row.name in _PARTS else self

    @property
    def is_bool(self) -> bool:
        """True for the boolean type."""
        return self._row.name == "bool"

    @property
    def is_complex(self) -> bool:
        """True for complex types."""
        return self._row.name.startswith("complex")

    @property
    def is_floating(self) -> bool:
        """True for real floating-point types."""
        return self._row.name.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        """True for integer types that are not quantized."""
        return self._row.name.startswith(("int", "uint"))

    @property
    def is_numeric(self) -> bool:
        """True for numbers, except the types of ml_dtypes with 8 bits or less, as in TensorFlow."""
        is_number = self.is_complex or self.is_quantized or self.is_floating or self.is_integer
        return is_number and self._number % _REFERENCE < dtypes.data_type_named("float8_e5m2").number

    @property
    def is_numpy_compatible(self) -> bool:
        """True if NumPy has a dtype for it."""
        return self._row.name not in _NO_NUMPY

    @property
    def is_quantized(self) -> bool:
        """True for quantized types, whose scale is stored elsewhere."""
        return self._row.name.startswith(("qint", "quint"))

    @property
    def is_unsigned(self) -> bool:
        """True for unsigned integer types that are not quantized."""
        return self._row.name.startswith("uint")

    @property
    def min(self) -> Any:
        """The smallest finite element; `TypeError` if there is none."""
        return self._bound("min")

    @property
    def max(self) -> Any:
        """The largest finite element; `TypeError` if there is none."""
        return self._bound("max")

    @property
    def limits(self) -> tuple[Any, Any]:
        """The range of pixel values of this type: from 0 to the largest value, or to 1 for floating point."""
        kind = np.dtype(self.as_numpy_dtype).kind
        if kind == "b":
            return 0, True
        if self._row.name in ("float32", "float64"):
            return 0, 1
        if kind not in "iu":
            raise ValueError(f"{self} does not have defined limits.")
        return 0, self.max

    def is_compatible_with(self, other: object) -> bool:
        """Return whether `other` is this type or a reference to it; `other` is anything that `as_dtype` accepts."""
        return self._number in (as_dtype(other).as_datatype_enum, as_dtype(other).base_dtype.as_datatype_enum)

    @property
    def _is_ref_dtype(self) -> bool:
        return self._number > _REFERENCE

    def _bound(self, which: str) -> Any:
        words = {"min": "minimum", "max": "maximum"}[which]
        if self.is_quantized:
            raise TypeError(f"Cannot find {words} value of {self} with quantized type {self.base_dtype}.")
        if self.is_bool or self.is_complex or self._row.is_string:
            raise TypeError(f"Cannot find {words} value of {self} with type {self.base_dtype}.")
        if not self.is_numpy_compatible:
            raise TypeError(f"Cannot find {words} value of {self}.")
        dtype = np.dtype(self.as_numpy_dtype)
        library: Any = np if dtype.isbuiltin == 1 else _ml_dtypes()
        return getattr(library.finfo(dtype) if self.is_floating else library.iinfo(dtype), which)

    def __eq__(self, other: object) -> bool:
        if other is None:
            return False
        try:
            return as_dtype(other).as_datatype_enum == self._number
        except TypeError:
            return False

    def __hash__(self) -> int:
        return self._number

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


_BY_NUMBER = {
    number: DType(number) for base in range(1, _LARGEST + 1) for number in (base, base + _REFERENCE)
}  # the numbers have no gaps
_BY_NAME = {dtype.name: dtype for dtype in _BY_NUMBER.values()}

_BY_PYTHON_TYPE: dict[type, DType] = {float: _BY_NAME["float32"], bool: _BY_NAME["bool"], object: _BY_NAME["string"]}

#: All types that a tensor can have, by name.
DTYPES = {name: dtype for name, dtype in _BY_NAME.items() if not name.endswith("_ref")}


def as_dtype(type_value: Any) -> DType:
    """Return the type for a number, a name, a NumPy type or array, `float`, `bool` or `object`.

    Raises `TypeError` for anything else.
    """
    result = None
    if isinstance(type_value, DType):
        result = type_value
    elif isinstance(type_value, str):
        result = _BY_NAME.get(_SYNONYMS.get(type_value, type_value))
    elif isinstance(type_value, int):
        result = _BY_NUMBER.get(type_value)
    elif isinstance(type_value, type):
        is_numpy = issubclass(type_value, np.generic)
        result = _from_numpy(np.dtype(type_value)) if is_numpy else _BY_PYTHON_TYPE.get(type_value)
    else:
        dtype = getattr(type_value, "dtype", type_value)
        result = _from_numpy(dtype) if isinstance(dtype, np.dtype) else None
    if result is None:
        raise TypeError(f"Cannot convert the argument `type_value`: {type_value!r} to a TensorFlow DType.")
    return result


def _from_numpy(dtype: np.dtype[Any]) -> DType | None:
    if dtype.names is not None:
        return _BY_NAME.get(dtype.names[0]) if len(dtype.names) == 1 else None
    if dtype.kind in "SU":
        return _BY_NAME["string"]
    try:
        return _BY_NAME[dtypes.data_type_of(dtype).name]
    except TypeError:
        return None


def _ml_dtypes() -> Any:
    import ml_dtypes  # only for the bounds of its own types, so not when the module is imported

    return ml_dtypes
