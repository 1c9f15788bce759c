"""`.onnx`: ONNX, for onnxruntime and everything else that reads it."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import ProgramError
from .shapes import Axis
from .tracing import quiet
from .writing import Job

#: Metadata that torch.onnx adds to every node, for its own developers; they double the size of a file.
_TRACE_KEYS = tuple(f"pkg.torch.onnx.{name}" for name in ("stack_trace", "fx_node", "class_hierarchy"))


def write(job: Job, path: str) -> None:
    """Write the program with its metadata; weights of more than 2 GB go to a file next to it.

    Nothing is optimized: the optimizer of onnxscript drops small constants, as in log(x + 1e-10), and runtimes optimize
    what they load.
    """
    names = [argument.name for argument in job.subject.arguments]
    with quiet():
        try:
            exported = torch.onnx.export(
                job.traced.program,
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=job.opset,
                input_names=names,
                output_names=list(job.subject.outputs),
            )
        except Exception as error:  # the exporter raises errors of many kinds
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ProgramError(f"torch.onnx cannot write the program: {reason}", destination=".onnx") from error
        assert exported is not None
        _name_axes(exported.model, job)
        for node in exported.model.graph.all_nodes():
            for key in _TRACE_KEYS:
                node.metadata_props.pop(key, None)
        exported.model.metadata_props.update(job.metadata)
        exported.save(path)


def _name_axes(model: Any, job: Job) -> None:
    """Name the axes of any size, which the exporter numbers."""
    import onnx_ir

    names: dict[str, str] = {}
    for value, axes in zip(model.graph.inputs, job.traced.shapes.values(), strict=True):
        for size, axis in zip(value.shape, axes, strict=True):
            if isinstance(axis, Axis) and size.value is not None:
                names.setdefault(str(size.value), axis.name)
    computed = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in (*model.graph.inputs, *computed):
        if value.shape is not None:
            sizes = [
                onnx_ir.SymbolicDim(names[str(size.value)])
                if isinstance(size, onnx_ir.SymbolicDim) and str(size.value) in names
                else size
                for size in value.shape
            ]
            value.shape = onnx_ir.Shape(sizes)
