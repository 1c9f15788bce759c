"""Recurrent cells that torch has no counterpart for: rules could fill torch's tensors, with wrong results.

A cell is known by the names of its variables; only cells that fill tensors of `torch.nn.LSTM` or `GRU` are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tfckpt.errors import printable

from ..errors import ConversionError, Shape

#: torch's names for the tensors of a recurrent layer or cell.
_TARGET = re.compile(r"(?:.*\.)?(?:weight|bias)_(?:ih|hh)(?:_l[0-9]+(?:_reverse)?)?", re.DOTALL)
_PEEPHOLES = {"w_f_diag", "w_i_diag", "w_o_diag", "wci", "wcf", "wco", "w_f_peephole", "w_i_peephole", "w_o_peephole"}
_RESET_FIRST = "the reset gate of this GRU is applied before the product with the recurrent kernel, in torch after it"


def check_cells(moves: Iterable[tuple[str, str]], shapes: Mapping[str, Shape]) -> None:
    """Raise `ConversionError` if a variable that fills a tensor of torch's LSTM or GRU belongs to another cell.

    `moves` has pairs of a variable and its target, and `shapes` all variables of the checkpoint.
    """
    cells = dict.fromkeys(name.rpartition("/")[0] for name, target in moves if _TARGET.fullmatch(target) is not None)
    problems = {cell: reason for cell in cells if (reason := _find_reason(cell, shapes)) is not None}
    if problems:
        lines = "\n".join(f"  {printable(cell)}: {reason}" for cell, reason in problems.items())
        raise ConversionError(
            f"torch has no counterpart of these recurrent cells:\n{lines}\n"
            "the graph itself runs in PyTorch with these weights: converter.graph_module(PATH, outputs=[NAME])"
        )


def _find_reason(cell: str, shapes: Mapping[str, Shape]) -> str | None:
    """Return why torch has no counterpart of a cell, or None."""
    names = {name.removeprefix(cell + "/"): shape for name, shape in shapes.items() if name.startswith(cell + "/")}
    if _PEEPHOLES & names.keys():
        return "peephole connections"
    if "opaque_kernel" in names:
        return "an opaque buffer of cuDNN; save the weights in the canonical form"
    is_gates = cell.endswith(("/gates", "/candidate")) or cell in ("gates", "candidate")
    if is_gates or {"w_ru", "w_c"} <= names.keys():
        return _RESET_FIRST
    bias = names.get("bias")
    is_gru = "gru" in cell.rpartition("/")[2].lower() and "recurrent_kernel" in names
    return _RESET_FIRST if is_gru and bias is not None and len(bias) == 1 else None
