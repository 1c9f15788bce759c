"""`.pte`: ExecuTorch with the XNNPACK kernels, for phones; every size is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import ProgramError
from .probes import Inputs
from .tracing import quiet
from .writing import Job

#: The method of a program that returns its metadata.
METADATA_METHOD = "tf2torch"


def write(job: Job, path: str) -> None:
    """Write the program; its method `tf2torch` returns the metadata as JSON text."""
    _write(job.traced.program, job, path)


def quantize(job: Job, precise: str, path: str, calibration: Sequence[Inputs]) -> None:
    """Write the program with int8 weights, one scale per channel, and int8 activations with measured ranges."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    with quiet():
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(job.traced.program.module(), quantizer)
        for inputs in calibration:
            job.subject.call(prepared, [torch.from_numpy(array) for array in inputs.values()])
        converted = convert_pt2e(prepared)
        args, kwargs = job.traced.program.example_inputs or ((), {})
        program = torch.export.export(converted, args, kwargs)
    _write(program, job, path)


def _write(program: torch.export.ExportedProgram, job: Job, path: str) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with quiet():
        try:
            lowered: Any = to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()], constant_methods={METADATA_METHOD: job.format_metadata()}
            ).to_executorch()
        except Exception as error:  # its passes raise errors of many kinds
            reason = str(error).strip().partition("\n")[0]
            raise ProgramError(f"ExecuTorch cannot write the program: {reason}", destination=".pte") from error
        with open(path, "wb") as file:
            lowered.write_to_file(file)
