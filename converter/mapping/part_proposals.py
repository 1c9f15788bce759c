"""Proposed rules that cut or join: kernels of recurrent cells, and query, key and value of attention."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ..errors import Shape
from .planning import Source
from .rules import Rule

_LSTM = "G: i j f o -> i f j o"
_HIDDEN = re.compile(r"(?P<before>(?:.*\.)?)weight_hh(?P<layer>_l(?P<number>[0-9]+)(?P<reverse>_reverse)?)?")
_BACKWARD = re.compile(r"(?:^|[/_])(?:bw|backward)(?:[/_]|$)")
_CELL = re.compile(r"cell_(?P<number>[0-9]+)/")
_PARTS = ("query", "key", "value")


def propose_parts(sources: Sequence[Source], targets: Mapping[str, Shape], scope: str) -> Iterator[tuple[Rule, int]]:
    """Yield rules for sources and targets that are left, with the number of sources of each."""
    by_name = {source.variable.removeprefix(scope): source.shape for source in sources}
    for name, shape in by_name.items():
        yield from _propose_cell(name, shape, by_name, targets)
        yield from _propose_attention(name, by_name, targets)


def _propose_cell(
    name: str, shape: Shape, by_name: Mapping[str, Shape], targets: Mapping[str, Shape]
) -> Iterator[tuple[Rule, int]]:
    """Propose to cut the kernel of a cell of TensorFlow 1, whose inputs and state have one kernel."""
    cell, _, last = name.rpartition("/")
    if last != "kernel" or "lstm" not in cell.lower() or len(shape) != 2:
        return
    cell_number = _CELL.search(name)
    for hidden, hidden_shape in targets.items():
        match = _HIDDEN.fullmatch(hidden)
        if match is None or bool(match["reverse"]) != (_BACKWARD.search(cell) is not None):
            continue
        if cell_number is not None and match["number"] not in (None, cell_number["number"]):
            continue
        inner = f"{match['before']}weight_ih{match['layer'] or ''}"
        inner_shape = targets.get(inner, ())
        if len(inner_shape) != 2 or inner_shape[1] + hidden_shape[1] != shape[0] or hidden_shape[0] != shape[1]:
            continue
        yield Rule(name, (inner, hidden), "IG -> GI", cut="I", order=_LSTM), 1
        bias = f"{match['before']}bias_ih{match['layer'] or ''}"
        if by_name.get(f"{cell}/bias") == targets.get(bias, ()):
            yield Rule(f"{cell}/bias", bias, "G -> G", order=_LSTM), 1
        return


def _propose_attention(
    name: str, by_name: Mapping[str, Shape], targets: Mapping[str, Shape]
) -> Iterator[tuple[Rule, int]]:
    """Propose to join query, key and value."""
    before, part, after = name.partition("query")
    names = tuple(f"{before}{part}{after}" for part in _PARTS)
    if not part or any(one not in by_name for one in names):
        return
    shape = by_name[name]
    kind, layout = ("in_proj_weight", "IO -> OI") if len(shape) == 2 else ("in_proj_bias", "O -> O")
    wanted = (3 * shape[-1], *shape[:-1])
    fitting = [target for target, size in targets.items() if target.endswith(kind) and size == wanted]
    if len(fitting) == 1:  # more are told apart by hand
        yield Rule(names, fitting[0], layout, join="O"), 3
