"""The inputs and outputs of a part of a graph: TensorFlow's names, valid Python names, dtypes and shapes."""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Collection, Sequence

from tfckpt.graphs.graph import Node

from .bodies import PLACEHOLDERS

#: Operations with outputs of one dtype, whatever their inputs are.
_BOOL = {"All", "Any", "Equal", "Greater", "GreaterEqual", "IsFinite", "IsInf", "IsNan", "Less", "LessEqual"}
_BOOL |= {"LogicalAnd", "LogicalNot", "LogicalOr", "NotEqual", "InTopK", "InTopKV2", "IsVariableInitialized"}
_FIXED = {**dict.fromkeys(_BOOL, "bool"), "Rank": "int32", "Where": "int64", "VarIsInitializedOp": "bool"}
#: Attributes with the dtype of the output, those that say more first; the last item is the default of the operation.
_ATTRIBUTES = ("dtype", "DstT", "out_type", "output_type", "Tparams", "Tidx", "T")
_DEFAULTS = {"Shape": "int32", "ShapeN": "int32", "Size": "int32", "ArgMax": "int64", "ArgMin": "int64"}
_LISTS = ("Tout", "output_types", "T")


@dataclasses.dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a module or a signature.

    `key` is the name that a signature or the caller gives it, `tensor` the name of the tensor in the graph, and
    `argument` the key as a valid Python name, different from those of all others.
    `dtype` is a short name such as float32, or None if it is not known.
    `shape` has -1 for each unknown dimension, and is None if the rank is unknown.
    """

    key: str
    argument: str
    tensor: str
    dtype: str | None
    shape: tuple[int, ...] | None


def make_identifiers(names: Sequence[str], *, reserved: Collection[str] = ("self",)) -> list[str]:
    """Return valid Python names for strings of any kind, all different and none of them reserved.

    Strings that are valid stay as they are.
    """
    valid = {name for name in names if _to_identifier(name) == name} - set(reserved)
    taken = {*reserved, *valid}
    identifiers = []
    numbers: dict[str, int] = {}  # all lower ones are taken, so that many equal identifiers take linear time
    for name in names:
        identifier = _to_identifier(name)
        if name in valid:
            valid.remove(name)  # the same string a second time gets another name
            identifiers.append(identifier)
            continue
        free, number = identifier, numbers.get(identifier, 1)
        while free in taken:
            number += 1
            free = f"{identifier}_{number}"
        numbers[identifier] = number
        taken.add(free)
        identifiers.append(free)
    return identifiers


def _to_identifier(name: str) -> str:
    plain = name.removesuffix(":0")
    identifier = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in plain)
    if not identifier.strip("_"):
        return "tensor"
    if not identifier.isidentifier():
        identifier = f"tensor_{identifier}"
    return f"{identifier}_" if keyword.iskeyword(identifier) or keyword.issoftkeyword(identifier) else identifier


def output_dtype(node: Node, index: int = 0) -> str | None:
    """Return the dtype of a node's output as its attributes declare it, by its short name; None if they do not."""
    if node.op in _FIXED:
        return _FIXED[node.op]
    for name in _LISTS:
        listed = node.attributes.get(name)
        if isinstance(listed, tuple) and index < len(listed):
            return str(listed[index]).removesuffix("_ref")
    if node.op in _DEFAULTS:
        return str(node.attributes.get("out_type") or node.attributes.get("output_type") or _DEFAULTS[node.op])
    for name in _ATTRIBUTES:
        value = node.attributes.get(name)
        if isinstance(value, str):
            return value.removesuffix("_ref")
    return None


def output_shape(node: Node, index: int = 0) -> tuple[int, ...] | None:
    """Return the shape that a placeholder declares, or that the graph notes for an output; None if it is unknown."""
    if node.op in PLACEHOLDERS:
        shape = node.attributes.get("shape")
        return shape if isinstance(shape, tuple) else None
    noted = node.attributes.get("_output_shapes")
    if isinstance(noted, tuple) and index < len(noted) and isinstance(noted[index], tuple):
        return noted[index]  # type: ignore[no-any-return]  # a tuple of ints, as checked above
    return None
