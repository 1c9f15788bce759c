"""`.py`: source of a PyTorch module that needs torch only, with its weights in a `.safetensors` file beside it."""

from __future__ import annotations

import os
import tempfile

import torch

from ..engine import GraphModule
from ..errors import GraphError, ProgramError
from ..formats.safetensors import read, write_tensors
from .source import Source, WrittenSource, write_source
from .writing import Job, Style


def graph_source(module: GraphModule, *, style: Style = "modules") -> Source:
    """Return the source of a graph as a PyTorch module: its text, and the tensors of its state dict by name.

    The module that the text defines takes and returns what `module` does, and needs torch only. `style` is `modules`,
    layers of `torch.nn` in channels-first layout, or `plain`, one call an operation. The source is checked like a file
    of `export_program`, in a process of its own.

    Raises `VerificationError` if it differs, and `ProgramError` if the module cannot be written as source.
    """
    from .exporting import export_program

    with tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        path = os.path.join(folder, "source.py")
        export_program(module, path, style=style)
        with open(path, encoding="ascii") as file:
            text = file.read()
        tensors = read(_name_weights(path)).tensors
        return Source(text, {name: torch.from_numpy(array.copy()) for name, array in tensors.items()})


def write(job: Job, path: str) -> tuple[str]:
    """Write the text, and the tensors with the metadata to a file of the same name that ends in `.safetensors`.

    Return a sentence about what was recognized.
    """
    source = _make_source(job)
    arrays = {name: tensor.numpy() for name, tensor in source.tensors.items()}
    with open(_name_weights(path), "wb") as file:
        write_tensors(arrays, {"format": "pt", **job.metadata}, file)
    with open(path, "w", encoding="ascii", newline="\n") as text:
        text.write(source.text)
    return (source.describe(),)


def _name_weights(path: str) -> str:
    return f"{os.path.splitext(path)[0]}.safetensors"


def _make_source(job: Job) -> WrittenSource:
    """Return the source of a traced module; raise `ProgramError` if source cannot say it."""
    names = [argument.name for argument in job.subject.arguments]
    try:
        return write_source(job.traced.program, arguments=names, style=job.style)
    except GraphError as error:
        raise ProgramError(str(error), destination=".py") from error
