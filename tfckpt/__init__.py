"""Read TensorFlow checkpoints without TensorFlow.

>>> import tfckpt
>>> with tfckpt.open("examples/efficientnetv2-digits") as checkpoint:  # doctest: +SKIP
...     for name in checkpoint:
...         print(name, checkpoint[name].shape)
"""

from typing import TYPE_CHECKING

from ._version import __version__
from .checkpoint import Checkpoint, open
from .checkpoint_folder import KnownCheckpoint, checkpoints, latest_checkpoint
from .errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    LimitExceededError,
    MissingDependencyError,
    NameConflictError,
    StorageError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedFeatureError,
    WriteError,
)
from .graph import Function, Graph, Node
from .integrity import Verification, verify
from .limits import Limits
from .meta_graph import MetaGraph, Signature, SignatureTensor
from .object_graph import ObjectGraph, ObjectNode, Slot, Variable
from .saved_model import SavedModel
from .tensors.info import TensorInfo
from .tensors.slices import TensorSlice

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "CorruptionError",
    "Function",
    "Graph",
    "KnownCheckpoint",
    "LimitExceededError",
    "Limits",
    "MetaGraph",
    "MissingDependencyError",
    "NameConflictError",
    "Node",
    "ObjectGraph",
    "ObjectNode",
    "SavedModel",
    "Signature",
    "SignatureTensor",
    "Slot",
    "StorageError",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnsupportedFeatureError",
    "Variable",
    "Verification",
    "WriteError",
    "Writer",
    "__version__",
    "checkpoints",
    "copy",
    "latest_checkpoint",
    "merge",
    "open",
    "replace",
    "save",
    "verify",
]

#: Names whose modules only those need who write.
_LAZY = {"Writer": "writing", "save": "writing", "copy": "editing", "merge": "editing", "replace": "editing"}

if TYPE_CHECKING:
    from .editing import copy, merge, replace
    from .writing import Writer, save


def __getattr__(name: str) -> object:
    """Import what writes when it is first asked for."""
    if name in _LAZY:
        import importlib

        value: object = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
