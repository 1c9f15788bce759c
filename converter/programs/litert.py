"""`.tflite`: LiteRT, the runtime of TensorFlow for phones; every size is fixed."""

from __future__ import annotations

import contextlib
import io
import zipfile

import torch

from ..errors import ProgramError
from .probes import Probes
from .shapes import traced_shapes
from .subject import wrap_forward
from .tracing import quiet
from .writing import METADATA_FILE, Job


def write(job: Job, path: str) -> None:
    """Write the program with the names of inputs and outputs in its signature, and its metadata after it."""
    import litert_torch

    arguments = [argument.name for argument in job.subject.arguments]
    example = Probes(job.subject, traced_shapes(job.traced.shapes)).make(traced_shapes(job.traced.shapes), 0)
    # The names of a signature are those of the keyword arguments, and the keys of the result.
    module = wrap_forward(
        job.subject.module,
        arguments,
        after=lambda result: dict(zip(job.subject.outputs, job.subject.list_outputs(result), strict=True)),
    )
    inputs = {name: torch.from_numpy(array) for name, array in example.items()}
    # The converter prints its progress.
    with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            litert_torch.convert(module, sample_kwargs=inputs).export(path)
        except Exception as error:  # the converter raises errors of many kinds
            reason = str(error).strip().partition("\n")[0]
            raise ProgramError(f"litert-torch cannot write the program: {reason}", destination=".tflite") from error
    with zipfile.ZipFile(path, "a") as archive:
        # What a .tflite file calls an associated file: an archive after the program, with a fixed date.
        archive.writestr(zipfile.ZipInfo(METADATA_FILE), job.format_metadata())
