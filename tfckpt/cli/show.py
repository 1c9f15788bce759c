"""`tfckpt show`: print the values of one tensor."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from types import EllipsisType
from typing import Any

import numpy as np

from .._typing import Array
from ..errors import pluralize, printable
from ..tensors.info import TensorInfo
from . import opening, render

HELP = """\
Print one tensor of a checkpoint.

  tfckpt show model.ckpt-322 global_step
  tfckpt show model.ckpt-322 stem/conv2d/kernel --stats
  tfckpt show model.ckpt-322 stem/conv2d/kernel --slice 0,:,:,0:4
"""

_PIECE = 1 << 20
_INDEX_PART = re.compile(r"(-?\d+)|(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "show",
        help="print one tensor",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument("name", metavar="NAME", help="name of the tensor")
    parser.add_argument(
        "--slice",
        metavar="INDEX",
        type=parse_index,
        default=(),
        help="only this part, in NumPy's notation: 0:4 or 0,...,1",
    )
    parser.add_argument(
        "--stats", action="store_true", help="print min, max, mean, std, zeros and non-finite counts instead of values"
    )
    parser.add_argument("--all", action="store_true", help="print all values, however many there are")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the tensor; exit code 3 if there is no such tensor, 2 if the index does not fit its shape."""
    with opening.open_checkpoint(options.path, options) as checkpoint:
        info = checkpoint.info(options.name)
        array = checkpoint.read(options.name)
        try:
            part = array[options.slice] if options.slice else array
        except IndexError as error:
            render.complain(f"--slice does not fit the shape {render.format_shape(info.shape)}: {error}")
            return 2
        part = np.asarray(part, dtype=array.dtype)  # an index of integers alone returns a scalar
        if options.json:
            print(render.to_json(_to_data(info, part, stats=options.stats)))
            return 0
        kind = f"{render.format_dtype(info.tf_dtype)}  {render.format_shape(info.shape)}"
        print(f"{printable(info.name)}  {kind}  {pluralize(info.nbytes, 'byte')}")
        if options.stats:
            rows = [[key, _format_number(value)] for key, value in compute_statistics(part).items()]
            print(render.format_table(["", "value"], rows, right="lr").split("\n", 1)[1])
        else:
            print(_format_values(part, everything=options.all))
    return 0


def parse_index(text: str) -> tuple[int | slice | EllipsisType, ...]:
    """Parse an index in NumPy's notation: integers, slices and an ellipsis; nothing is evaluated."""
    parts: list[int | slice | EllipsisType] = []
    for piece in text.strip().removeprefix("[").removesuffix("]").split(","):
        part = piece.strip()
        match = _INDEX_PART.fullmatch(part)
        if part == "...":
            parts.append(...)
        elif match is None:
            raise argparse.ArgumentTypeError(f"{part!r} is not an index such as 0:4 or 0,...,::2")
        elif match[1] is not None:
            parts.append(int(match[1]))
        elif match[4] == "0":
            raise argparse.ArgumentTypeError("the step of a slice cannot be 0")
        else:
            parts.append(slice(*(None if number is None else int(number) for number in match.groups()[1:])))
    if parts.count(...) > 1:
        raise argparse.ArgumentTypeError("an index can have only one ellipsis")
    return tuple(parts)


def _format_values(array: Array, *, everything: bool) -> str:
    threshold = array.size + 1 if everything else 200
    if array.dtype == object:
        return np.array2string(array, threshold=threshold, formatter={"object": _format_element}, separator=", ")
    return np.array2string(array, threshold=threshold, separator=", ")


def _format_element(value: Any) -> str:
    """Format a string element: text if it is printable UTF-8, else a bytes literal; long ones are cut."""
    shown = value if len(value) <= 200 else value[:200]
    try:
        text = shown.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    literal = f'"{text}"' if text.isprintable() and (text or not value) else repr(shown)
    return literal if shown is value else f"{literal}... ({len(value):,} bytes)"


def _format_number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.8g}"


def _to_data(info: TensorInfo, array: Array, *, stats: bool) -> dict[str, object]:
    data: dict[str, object] = {
        "name": info.name,
        "dtype": render.format_dtype(info.tf_dtype),
        "shape": list(info.shape),
    }
    if stats:
        return data | {"statistics": {key: _json_number(value) for key, value in compute_statistics(array).items()}}
    return data | {"values": _json_values(array)}


def _json_values(array: Array) -> Any:
    if array.dtype == object:
        return _nested(array, lambda value: value.decode("utf-8", "backslashreplace"))
    if array.dtype.kind == "c":
        return _nested(array, lambda value: [_json_number(value.real), _json_number(value.imag)])
    if array.dtype.kind in "biu":
        return array.tolist()
    return _nested(array, lambda value: _json_number(float(value)))


def _nested(array: Array, convert: Any) -> Any:
    if array.ndim == 0:
        return convert(array[()])
    return [_nested(row, convert) for row in array]


def _json_number(value: float) -> object:
    """Return a number as JSON can hold it: NaN and infinities become their names."""
    return value if isinstance(value, int) or np.isfinite(value) else str(float(value))


def compute_statistics(array: Array) -> dict[str, float]:
    """Return elements, min, max, mean, std, zeros and non-finite; min to std are those of the finite values.

    Complex numbers count by their absolute value, strings by their length in bytes.
    Mean and deviation are computed in float64, piece by piece, so that a large tensor is not copied as a whole.
    """
    flat = array.reshape(-1)
    elements, zeros, finite = flat.size, 0, 0
    low, high, total = np.inf, -np.inf, 0.0
    for piece in _pieces(flat):
        zeros += int(np.count_nonzero(piece == 0))
        values = piece[np.isfinite(piece)]
        if values.size:
            finite += values.size
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            total += float(values.sum())
    result: dict[str, float] = {"elements": elements}
    if finite:
        mean = total / finite
        squares = sum(float(np.square(piece[np.isfinite(piece)] - mean).sum()) for piece in _pieces(flat))
        result |= {"min": low, "max": high, "mean": mean, "std": float(np.sqrt(squares / finite))}
    return result | {"zeros": zeros, "non-finite": elements - finite}


def _pieces(flat: Array) -> Iterator[Array]:
    for start in range(0, flat.size, _PIECE):
        yield _as_float(flat[start : start + _PIECE])


def _as_float(piece: Array) -> Array:
    if piece.dtype == object:
        return np.array([len(value) for value in piece], np.float64)
    if piece.dtype.kind == "c":
        return np.abs(piece).astype(np.float64)
    return piece.astype(np.float64)
