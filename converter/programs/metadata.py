"""The metadata of a program: where it came from, and how images become its input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from tfckpt import __version__

from ..formats.files import CONFIG_KEY, LABELS_KEY, PREPROCESSING_KEY, PROVENANCE_KEY

SOURCE_KEY = "tf2torch.source"
VERSIONS_KEY = "tf2torch.versions"
#: The names of a graph's tensors, by the program's names.
TENSORS_KEY = "tf2torch.tensors"
#: TensorFlow's name of a node, among the metadata of a node of ONNX.
NODE_NAME_KEY = "tf2torch.node"
#: What a program takes over from converted weights.
KEPT_KEYS = (CONFIG_KEY, PREPROCESSING_KEY, LABELS_KEY, PROVENANCE_KEY)
_PIECE = 1 << 20


def describe_source(name: str, files: Mapping[str, str], **more: Any) -> dict[str, str]:
    """Return the metadata about a source: its name, and the SHA-256 of its files by name."""
    return {
        SOURCE_KEY: json.dumps({"name": name, "sha256": dict(files), **more}),
        VERSIONS_KEY: json.dumps({"tfckpt": __version__, "torch": torch.__version__}),
    }


def hash_files(paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of files on this machine, by the last part of their names; others are left out."""
    hashes = {}
    for path in paths:
        if os.path.isfile(path):
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
            hashes[os.path.basename(path)] = digest.hexdigest()
    return hashes


def hash_tensors_of(module: torch.nn.Module) -> str:
    """Return the SHA-256 of a module's tensors with their names, for a module that came from no file."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b"")
    return digest.hexdigest()
