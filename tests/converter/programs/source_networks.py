"""The networks of tests/data/source, and their source as modules."""

from __future__ import annotations

import functools
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from converter.engine import GraphModule, graph_module
from converter.programs.source import Source, Style, write_source
from converter.programs.source.checking import check_text

FILE = Path(__file__).parents[2] / "data" / "source" / "networks.npz"


@functools.cache
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Return all recorded arrays."""
    with np.load(FILE) as archive:
        return dict(archive)


def names() -> list[str]:
    """Return the names of the networks."""
    return sorted({key.partition("/")[0] for key in arrays()})


def load_network(name: str, folder: Path, *, dtype: str = "float32") -> GraphModule:
    """Return the module of a recorded graph."""
    path = folder / f"{name}.pb"
    path.write_bytes(arrays()[f"{name}/graph"].tobytes())
    return graph_module(str(path), inputs={"inputs": "inputs"}, outputs={"y": "y"}, dropout=True, dtype=dtype).eval()


@functools.cache
def load_exact(name: str, folder: Path) -> GraphModule:
    """Return the module of a recorded graph in float64."""
    return load_network(name, folder, dtype="float64")


def export(module: nn.Module, *inputs: torch.Tensor, axes: tuple[int, ...] = (0,)) -> torch.export.ExportedProgram:
    """Return the exported program of a module whose inputs have these axes of any size."""
    sizes = tuple(dict.fromkeys(axes, Dim.AUTO) for _ in inputs)
    return torch.export.export(module, inputs, dynamic_shapes=sizes)


def load_source(source: Source) -> nn.Module:
    """Return the module that a checked source defines, with its weights."""
    check_text(source.text)
    module = types.ModuleType("written")
    exec(compile(source.text, "written.py", "exec"), module.__dict__)
    model: nn.Module = module.Model()
    model.load_state_dict(source.tensors)
    return model.eval()


@functools.cache
def _exported(name: str, folder: Path) -> tuple[GraphModule, torch.export.ExportedProgram]:
    module = load_network(name, folder)
    x = torch.from_numpy(arrays()[f"{name}/x"])
    return module, export(module, x, axes=(0, 1, 2) if name == "any_size" else (0,))


@functools.cache
def written(name: str, folder: Path, style: Style = "modules") -> tuple[GraphModule, Source]:
    """Return the module of a recorded graph, and its source."""
    module, program = _exported(name, folder)
    return module, write_source(program, style=style)
