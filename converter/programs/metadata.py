"""The metadata of a program: where it came from, and how images become its input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from tfckpt import __version__
from tfckpt.errors import CorruptionError
from tfckpt.files.json_text import read_json

from ..formats.files import CONFIG_KEY, LABELS_KEY, NETWORK_KEY, PREPROCESSING_KEY, PROVENANCE_KEY
from ..images.recipes import Preprocessing
from .report import Origin

SOURCE_KEY = "tf2torch.source"
VERSIONS_KEY = "tf2torch.versions"
#: The names of a graph's tensors, by the program's names.
TENSORS_KEY = "tf2torch.tensors"
#: TensorFlow's name of a node, among the metadata of a node of ONNX.
NODE_NAME_KEY = "tf2torch.node"
#: What a program takes over from converted weights.
KEPT_KEYS = (CONFIG_KEY, NETWORK_KEY, PREPROCESSING_KEY, LABELS_KEY, PROVENANCE_KEY)
_PIECE = 1 << 20


def describe_source(name: str, files: Mapping[str, str], **more: Any) -> dict[str, str]:
    """Return the metadata about a source: its name, and the SHA-256 of its files by name."""
    return {
        SOURCE_KEY: json.dumps({"name": name, "sha256": dict(files), **more}),
        VERSIONS_KEY: json.dumps({"tfckpt": __version__, "torch": torch.__version__}),
    }


def read_origin(metadata: Mapping[str, str]) -> Origin:
    """Return what metadata say about the source; empty if they say nothing, as for a module of the caller's own."""
    source = json.loads(metadata.get(SOURCE_KEY, "{}"))
    return Origin(
        name=source.get("name", ""),
        sha256=source.get("sha256", {}),
        versions=json.loads(metadata.get(VERSIONS_KEY, "{}")),
    )


def read_preprocessing(metadata: Mapping[str, str]) -> Preprocessing | None:
    """Return how images become inputs, or None; raise `CorruptionError` if it cannot be parsed."""
    text = metadata.get(PREPROCESSING_KEY)
    if text is None:
        return None
    try:
        return Preprocessing.from_dict(read_json(text))
    except ValueError as error:
        raise CorruptionError(f"cannot parse the preprocessing ({error})") from error


def read_labels(metadata: Mapping[str, str]) -> Sequence[str] | None:
    """Return the names of the classes, or None."""
    labels = read_json(metadata[LABELS_KEY]) if LABELS_KEY in metadata else None
    return labels if isinstance(labels, list) else None


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
