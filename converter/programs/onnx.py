"""`.onnx`: ONNX, for onnxruntime and everything else that reads it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from ..engine.evaluator import NODE_KEY
from ..errors import ProgramError
from .metadata import NODE_NAME_KEY
from .probes import Inputs
from .shapes import Axis
from .tracing import quiet
from .writing import Job

#: Metadata that torch.onnx adds to every node, for its own developers; they double the size of a file.
_TRACED_NODE = "pkg.torch.onnx.fx_node"
_TRACE_KEYS = ("pkg.torch.onnx.stack_trace", _TRACED_NODE, "pkg.torch.onnx.class_hierarchy")


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
                custom_translation_table=make_translations(),
            )
        except Exception as error:  # the exporter raises errors of many kinds
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ProgramError(f"torch.onnx cannot write the program: {reason}", destination=".onnx") from error
        assert exported is not None
        _name_axes(exported.model, job)
        _name_nodes(exported)
        for node in exported.model.graph.all_nodes():
            for key in _TRACE_KEYS:
                node.metadata_props.pop(key, None)
        exported.model.metadata_props.update(job.metadata)
        exported.save(path)


def make_translations() -> dict[Any, Any]:
    """Return functions in ONNX for operations of PyTorch that torch.onnx does not translate."""
    from onnxscript import opset18 as ops

    def sort(x: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        """Sort stably: of equal elements, TopK returns the first one first."""
        axis: Any = ops.Constant(value_ints=[dim])
        size = ops.Gather(ops.Shape(x), axis)
        return ops.TopK(x, size, axis=dim, largest=int(descending), sorted=1)

    return {torch.ops.aten.sort.stable: sort}


def halve(job: Job, precise: str, path: str) -> None:
    """Write a checked program with weights and computation in float16; inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        onnx.save(convert_float_to_float16(onnx.load(precise), keep_io_types=True), path)


def quantize(job: Job, precise: str, path: str, calibration: Sequence[Inputs]) -> None:
    """Write a checked program with int8 weights, one scale per channel, and uint8 activations with measured ranges.

    The weights have 7 bits, since the instructions of many processors would overflow with 8; signed activations were
    twice as slow as float32 on x86.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        """Hands out one batch after the other."""

        def __init__(self) -> None:
            self._batches = iter(calibration)

        def get_next(self) -> Inputs | None:
            """Return the next inputs, or None after the last."""
            return next(self._batches, None)

    with quiet(), tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        prepared = os.path.join(folder, "prepared.onnx")
        try:
            quant_pre_process(precise, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                path,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # the quantizer raises errors of many kinds
            reason = str(error).strip().partition("\n")[0]
            raise ProgramError(f"onnxruntime cannot quantize the program: {reason}", destination=".onnx") from error


def _name_nodes(exported: Any) -> None:
    """Give every node TensorFlow's name of the node that it was made from, as metadata."""
    labels = {node.name: node.meta.get("custom", {}).get(NODE_KEY) for node in exported.exported_program.graph.nodes}
    for node in exported.model.graph.all_nodes():
        # The text of the exported node: `%relu : [num_users=1] = call_function[...`.
        name = node.metadata_props.get(_TRACED_NODE, "").partition(" ")[0].removeprefix("%")
        if labels.get(name):
            node.metadata_props[NODE_NAME_KEY] = labels[name]


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
