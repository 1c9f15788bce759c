"""`.pt2`: an exported program of PyTorch, which needs nothing but torch."""

from __future__ import annotations

import json

import torch

from .tracing import quiet, trace_half
from .writing import METADATA_FILE, Job


def write(job: Job, path: str) -> None:
    """Write the program with its metadata."""
    _save(job.traced.program, job, path)


def halve(job: Job, precise: str, path: str) -> None:
    """Write the program with weights in float16, which it computes with in float32."""
    _save(trace_half(job.subject, job.traced), job, path)


def _save(program: torch.export.ExportedProgram, job: Job, path: str) -> None:
    with quiet(), open(path, "wb") as file:
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(dict(job.metadata))})
