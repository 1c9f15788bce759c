"""Proposed rules that cut, join or order: recurrent cells, and query, key and value of attention."""

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
#: Keras numbers the layers of a kind, the first without a number.
_LAYER = re.compile(r"(?:lstm|gru)_(?P<number>[0-9]+)/")
#: The gates of Keras's cells in PyTorch's order, by their number; those of an LSTM need none.
_KERAS = {4: None, 3: "G: z r h -> r z h"}
_PARTS = ("query", "key", "value")


def propose_parts(sources: Sequence[Source], targets: Mapping[str, Shape], scope: str) -> Iterator[tuple[Rule, int]]:
    """Yield rules for sources and targets that are left, with the number of sources of each."""
    by_name = {source.variable.removeprefix(scope): source.shape for source in sources}
    for name, shape in by_name.items():
        yield from _propose_cell(name, shape, by_name, targets)
        yield from _propose_keras_cell(name, shape, by_name, targets)
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
        inner = _name_like(match, "weight_ih")
        inner_shape = targets.get(inner, ())
        if len(inner_shape) != 2 or inner_shape[1] + hidden_shape[1] != shape[0] or hidden_shape[0] != shape[1]:
            continue
        yield Rule(name, (inner, hidden), "IG -> GI", cut="I", order=_LSTM), 1
        bias = _name_like(match, "bias_ih")
        if by_name.get(f"{cell}/bias") == targets.get(bias, ()):
            yield Rule(f"{cell}/bias", bias, "G -> G", order=_LSTM), 1
        return


def _propose_keras_cell(
    name: str, shape: Shape, by_name: Mapping[str, Shape], targets: Mapping[str, Shape]
) -> Iterator[tuple[Rule, int]]:
    """Propose the three rules of a cell of Keras, whose state has a kernel of its own."""
    cell, _, last = name.rpartition("/")
    kernel = by_name.get(f"{cell}/kernel", ())
    if last != "recurrent_kernel" or len(shape) != 2 or len(kernel) != 2 or not shape[0]:
        return
    units, gates = shape[0], shape[1] // shape[0]
    bias = by_name.get(f"{cell}/bias")
    # A GRU with one bias resets before the product, which PyTorch's does not.
    if gates not in _KERAS or bias not in (None, (4 * units,) if gates == 4 else (2, 3 * units)):
        return
    fitting = [
        match
        for hidden, hidden_shape in targets.items()
        if (match := _HIDDEN.fullmatch(hidden)) is not None
        and hidden_shape == shape[::-1]
        and targets.get(_name_like(match, "weight_ih")) == kernel[::-1]
        and bool(match["reverse"]) == (_BACKWARD.search(cell) is not None)
    ]
    number = _LAYER.search(name)
    numbered = [match for match in fitting if number is not None and match["number"] == number["number"]]
    if not fitting:
        return
    match, order = (numbered or fitting)[0], _KERAS[gates]
    for one, target in (("kernel", "weight_ih"), ("recurrent_kernel", "weight_hh")):
        yield Rule(f"{cell}/{one}", _name_like(match, target), "IG -> GI" if order else "dense", order=order), 1
    biases = tuple(_name_like(match, target) for target in ("bias_ih", "bias_hh"))
    if bias is None or not all(target in targets for target in biases):
        return
    if gates == 4:
        yield Rule(f"{cell}/bias", biases[0]), 1
    else:
        yield Rule(f"{cell}/bias", biases, "BG -> G", cut="B", order=order), 1


def _name_like(match: re.Match[str], tensor: str) -> str:
    """Return the name of another tensor of the same layer and direction."""
    return f"{match['before']}{tensor}{match['layer'] or ''}"


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
