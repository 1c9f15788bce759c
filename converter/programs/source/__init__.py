"""Source of a stand-alone PyTorch module, written from a graph."""

from __future__ import annotations

from typing import Literal

import torch

from .capture import read_program
from .folding import Leaves
from .functions import recognize_functions
from .layers import recognize_layers
from .layouts import carry_permutations
from .pooling import recognize_pools
from .same_padding import recognize_same_padding
from .sequences import recognize_sequences
from .simplifying import simplify
from .writing import Source, write_module

__all__ = ["Source", "Style", "write_source"]

#: How operations are written: as modules of `torch.nn` in channels-first layout, or each as one call.
Style = Literal["modules", "plain"]


def write_source(
    program: torch.export.ExportedProgram, *, style: Style = "modules", channels_first: bool = False
) -> Source:
    """Return the source of an exported program."""
    network = read_program(program)
    if style == "modules":
        leaves = Leaves()
        simplify(network, leaves)
        recognize_functions(network, leaves)
        simplify(network, leaves)
        carry_permutations(network, leaves, channels_first=channels_first)
        simplify(network, leaves)
        recognize_sequences(network, leaves)
        simplify(network, leaves)
        recognize_same_padding(network)
        recognize_pools(network)
        recognize_layers(network, leaves)
    return write_module(network, nests=style == "modules")
