"""`.pt2`: an exported program of PyTorch, which needs nothing but torch."""

from __future__ import annotations

import json

import torch

from .tracing import quiet
from .writing import Job

#: The name of the metadata in the file: a JSON object of strings.
METADATA_FILE = "tf2torch.json"


def write(job: Job, path: str) -> None:
    """Write the program with its metadata."""
    with quiet(), open(path, "wb") as file:
        torch.export.save(job.traced.program, file, extra_files={METADATA_FILE: json.dumps(dict(job.metadata))})
