"""Strings, which stay on the host: an exported module has none."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Array, Value, numpy_dtype, to_array, to_ints, to_tensor
from converter.errors import GraphError

#: Patterns whose time is linear in the text with any matcher: characters and sets of characters, the last one repeated.
_SIMPLE = re.compile(
    r"(?:\[\^?(?:\\.|[^\]\\])+\]|\\[^0-9A-Za-z]|\\[sdw]|[^\\\[\](){}*+?|^$.])+(?:(?<=\])\+|(?<=\\[sdw])\+)?"
)


def _check_strings(value: Value) -> Array:
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value
    raise TypeError("expected strings")


def _map(function: Callable[[bytes], bytes], value: Value) -> Array:
    array = _check_strings(value)
    return _as_strings([function(item) for item in array.ravel().tolist()], array.shape)


def _as_strings(items: Sequence[bytes], shape: Sequence[int]) -> Array:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def _is_unicode(call: Call, name: str = "encoding") -> bool:
    return str(call.get(name, "")).lower() in ("utf-8", "utf8_char")


@op("StringLower", "StringUpper")
def change_case(call: Call, value: Value) -> Value:
    """Return the strings in lower or upper case; only ASCII letters unless the encoding is UTF-8."""
    name = "lower" if call.op == "StringLower" else "upper"
    if _is_unicode(call):
        return _map(
            lambda item: getattr(item.decode("utf-8", "surrogateescape"), name)().encode("utf-8", "surrogateescape"),
            value,
        )
    return _map(lambda item: getattr(item, name)(), value)


@op("StringStrip")
def strip(call: Call, value: Value) -> Value:
    """Return the strings without white space at both ends."""
    del call
    return _map(bytes.strip, value)


@op("StringJoin")
def join(call: Call, *values: Value) -> Value:
    """Join strings element by element; all shapes are the same or scalar."""
    separator = str(call.get("separator", "")).encode("utf-8", "surrogateescape")
    arrays = np.broadcast_arrays(*map(_check_strings, values))
    parts = [separator.join(items) for items in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
    return _as_strings(parts, arrays[0].shape)


@op("StringLength")
def length(call: Call, value: Value) -> Value:
    """Return the number of bytes, or of characters."""
    array = _check_strings(value)
    is_unicode = str(call.get("unit", "BYTE")) == "UTF8_CHAR"
    sizes = [len(item.decode("utf-8", "replace")) if is_unicode else len(item) for item in array.ravel().tolist()]
    return to_tensor(np.array(sizes, np.int32).reshape(array.shape), call.dtype)


@op("StringSplitV2", outputs=("indices", "values", "shape"))
def split(call: Call, value: Value, separator: Value) -> tuple[Value, ...]:
    """Return the parts of each string as a sparse tensor; an empty separator means white space."""
    rows = _check_strings(value).ravel().tolist()
    by = _check_strings(separator).item()
    most = int(call.get("maxsplit", -1))
    if most >= 0 and not by:
        raise GraphError("a largest number of parts is supported only with a separator")
    parts = [row.split(by or None, most) if row or by else [] for row in rows]
    places = [[number, place] for number, row in enumerate(parts) for place, _ in enumerate(row)]
    flat = [part for row in parts for part in row]
    shape = np.array([len(rows), max(map(len, parts), default=0)], np.int64)
    return to_tensor(np.array(places, np.int64).reshape(-1, 2), call.dtype), _as_strings(flat, [len(flat)]), shape


@op("StaticRegexReplace")
def replace_static(call: Call, value: Value) -> Value:
    """Replace the matches of a pattern; see `replace`."""
    return _replace(call, value, str(call.get("pattern", "")), str(call.get("rewrite", "")))


@op("RegexReplace")
def replace(call: Call, value: Value, pattern: Value, rewrite: Value) -> Value:
    """Replace the matches of a pattern. Only patterns of characters and sets of characters are supported."""
    texts = (_check_strings(each).item().decode("utf-8", "surrogateescape") for each in (pattern, rewrite))
    return _replace(call, value, *texts)


def _replace(call: Call, value: Value, pattern: str, rewrite: str) -> Value:
    if _SIMPLE.fullmatch(pattern) is None or "\\" in rewrite:
        raise GraphError(f"the pattern {pattern!r} is not supported, only characters and sets of characters are")
    compiled = re.compile(pattern.replace("[[", "[\\["), re.ASCII)
    count = 0 if call.flag("replace_global", default=True) else 1

    def change(item: bytes) -> bytes:
        text = item.decode("utf-8", "surrogateescape")
        return compiled.sub(lambda _: rewrite, text, count=count).encode("utf-8", "surrogateescape")

    return _map(change, value)


@op("StringToNumber")
def to_number(call: Call, value: Value) -> Value:
    """Parse numbers."""
    array = _check_strings(value)
    kind = numpy_dtype(call.type_name("out_type", "float32"), call.dtype)
    parse: Callable[[bytes], float] = float if kind.kind == "f" else int
    return to_tensor(np.array([parse(item) for item in array.ravel().tolist()], kind).reshape(array.shape), call.dtype)


@op("ReduceJoin")
def reduce_join(call: Call, value: Value, axes: Value) -> Value:
    """Join the strings along axes; the first axis of the list is the innermost."""
    array = _check_strings(value)
    separator = str(call.get("separator", "")).encode("utf-8", "surrogateescape")
    chosen = [axis % max(array.ndim, 1) for axis in to_ints(axes)]
    if not chosen or not array.ndim:
        return array
    rest = [axis for axis in range(array.ndim) if axis not in chosen]
    moved = np.transpose(array, [*rest, *reversed(chosen)]).reshape(
        -1, int(np.prod([array.shape[axis] for axis in chosen]))
    )
    joined = [separator.join(row) for row in moved.tolist()]
    sizes = [array.shape[axis] for axis in rest]
    kept = [1 if axis in chosen else size for axis, size in enumerate(array.shape)]
    return _as_strings(joined, kept if call.flag("keep_dims") else sizes)


@op("Substr")
def substring(call: Call, value: Value, position: Value, size: Value) -> Value:
    """Return a part of each string: the same part of all, or one part for each."""
    array = _check_strings(value)
    starts, sizes = (np.broadcast_to(to_array(each), array.shape).ravel().tolist() for each in (position, size))
    is_unicode = str(call.get("unit", "BYTE")) == "UTF8_CHAR"
    parts = []
    for item, start, count in zip(array.ravel().tolist(), starts, sizes, strict=True):
        text = item.decode("utf-8", "surrogateescape") if is_unicode else item
        if not -len(text) <= start <= len(text):
            raise GraphError(f"position {start} is not inside of a string of {len(text)}")
        begin = start % len(text) if start < 0 else start
        part = text[begin : begin + count]
        parts.append(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part)
    return _as_strings(parts, array.shape)


@op("DecodeRaw")
def decode_raw(call: Call, value: Value) -> Value:
    """Return the bytes of strings of one length as numbers."""
    array = _check_strings(value)
    kind = numpy_dtype(call.type_name("out_type", "float32"), torch.float64)
    stored = {"float32": "<f4", "float64": "<f8", "float16": "<f2"}.get(call.type_name("out_type", "float32"), kind.str)
    rows = [np.frombuffer(item, np.dtype(stored).newbyteorder("<")) for item in array.ravel().tolist()]
    if len({len(row) for row in rows}) > 1:
        raise GraphError("the strings have different lengths")
    numbers = np.stack(rows) if rows else np.zeros((0, 0), kind)
    return to_tensor(numbers.reshape([*array.shape, numbers.shape[-1]]).astype(kind), call.dtype)
