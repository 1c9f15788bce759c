"""Source of a stand-alone PyTorch module, written from a graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..writing import Style
from .capture import read_program
from .checking import check_text
from .folding import Leaves
from .functions import recognize_functions
from .layers import recognize_layers
from .layouts import carry_permutations
from .pooling import recognize_pools
from .recurrence import recognize_recurrence
from .same_padding import recognize_same_padding
from .sequences import recognize_sequences
from .simplifying import drop_copies, simplify
from .writing import Source, WrittenSource, write_module

__all__ = ["Source", "Style", "WrittenSource", "write_source"]


def write_source(
    program: torch.export.ExportedProgram, *, arguments: Sequence[str] | None = None, style: Style = "modules"
) -> WrittenSource:
    """Return the source of an exported program, whose text is checked; `arguments` are the names of its inputs.

    Raises `GraphError` for a program that source cannot say, such as one with loops.
    """
    network = read_program(program)
    for node, name in zip(network.inputs, arguments or (), strict=False):
        node.args["name"] = name
    drop_copies(network)
    if style == "modules":
        leaves = Leaves()
        simplify(network, leaves)
        recognize_recurrence(network)
        recognize_functions(network, leaves)
        simplify(network, leaves, merges=True)
        carry_permutations(network, leaves)
        simplify(network, leaves, merges=True)
        recognize_sequences(network, leaves)
        simplify(network, leaves, merges=True)
        recognize_same_padding(network)
        recognize_pools(network)
        recognize_layers(network, leaves)
    source = write_module(network, nests=style == "modules")
    check_text(source.text)
    return source
