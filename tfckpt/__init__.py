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
    "NotOfferedError",
    "ObjectGraph",
    "ObjectNode",
    "SavedModel",
    "Signature",
    "SignatureTensor",
    "Slot",
    "StorageError",
    "TensorFlowImportedError",
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
    "stand_in",
    "train",
    "verify",
]

#: Names whose modules only those need who write, or who come with code that was written against TensorFlow.
_LAZY = {
    "NotOfferedError": "standing_in",
    "TensorFlowImportedError": "standing_in",
    "Writer": "writing",
    "copy": "editing",
    "merge": "editing",
    "replace": "editing",
    "save": "writing",
    "stand_in": "standing_in",
    "train": "train",
}

if TYPE_CHECKING:
    from . import train
    from .editing import copy, merge, replace
    from .standing_in import NotOfferedError, TensorFlowImportedError, stand_in
    from .writing import Writer, save


def __getattr__(name: str) -> object:
    """Import what few programs need when it is first asked for."""
    if name in _LAZY:
        import importlib

        module = importlib.import_module(f".{_LAZY[name]}", __name__)
        value: object = module if name == _LAZY[name] else getattr(module, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
