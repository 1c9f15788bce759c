"""Read TensorFlow checkpoints without TensorFlow.

>>> import tfckpt
>>> with tfckpt.open("examples/efficientnetv2-digits") as checkpoint:  # doctest: +SKIP
...     for name in checkpoint:
...         print(name, checkpoint[name].shape)

Every public name is imported from its module when it is first asked for, so that `import tfckpt` costs next to nothing
in programs that may never open a checkpoint.
"""

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from . import train
    from .checkpoint import Checkpoint, open
    from .checkpoint_folder import KnownCheckpoint, checkpoints, latest_checkpoint
    from .comparing import Comparison, Difference, compare
    from .diagnosis import Diagnosis, Finding, diagnose
    from .editing import copy, merge, replace
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
    from .exporting import ExportReport, export
    from .graph import Function, Graph, Node
    from .integrity import Verification, verify
    from .limits import Limits
    from .meta_graph import MetaGraph, Signature, SignatureTensor
    from .object_graph import ObjectGraph, ObjectNode, Slot, Variable
    from .saved_model import SavedModel
    from .standing_in import NotOfferedError, TensorFlowImportedError, stand_in
    from .summary import Summary, summarize
    from .tensors.info import TensorInfo
    from .tensors.slices import TensorSlice
    from .writing import Writer, save

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "Comparison",
    "CorruptionError",
    "Diagnosis",
    "Difference",
    "ExportReport",
    "Finding",
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
    "Summary",
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
    "compare",
    "copy",
    "diagnose",
    "export",
    "latest_checkpoint",
    "merge",
    "open",
    "replace",
    "save",
    "stand_in",
    "summarize",
    "train",
    "verify",
]

_MODULES = {
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "CheckpointExistsError": "errors",
    "CheckpointNotFoundError": "errors",
    "ChecksumError": "errors",
    "Comparison": "comparing",
    "CorruptionError": "errors",
    "Diagnosis": "diagnosis",
    "Difference": "comparing",
    "ExportReport": "exporting",
    "export": "exporting",
    "Finding": "diagnosis",
    "Function": "graph",
    "Graph": "graph",
    "KnownCheckpoint": "checkpoint_folder",
    "LimitExceededError": "errors",
    "Limits": "limits",
    "MetaGraph": "meta_graph",
    "MissingDependencyError": "errors",
    "NameConflictError": "errors",
    "Node": "graph",
    "NotOfferedError": "standing_in",
    "ObjectGraph": "object_graph",
    "ObjectNode": "object_graph",
    "SavedModel": "saved_model",
    "Signature": "meta_graph",
    "SignatureTensor": "meta_graph",
    "Slot": "object_graph",
    "StorageError": "errors",
    "Summary": "summary",
    "TensorFlowImportedError": "standing_in",
    "TensorInfo": "tensors.info",
    "TensorNotFoundError": "errors",
    "TensorSlice": "tensors.slices",
    "TruncatedError": "errors",
    "UnsupportedFeatureError": "errors",
    "Variable": "object_graph",
    "Verification": "integrity",
    "WriteError": "errors",
    "Writer": "writing",
    "checkpoints": "checkpoint_folder",
    "compare": "comparing",
    "copy": "editing",
    "diagnose": "diagnosis",
    "latest_checkpoint": "checkpoint_folder",
    "merge": "editing",
    "open": "checkpoint",
    "replace": "editing",
    "save": "writing",
    "stand_in": "standing_in",
    "summarize": "summary",
    "train": "train",
    "verify": "integrity",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module and keep it."""
    if name in _MODULES:
        import importlib

        module = importlib.import_module(f".{_MODULES[name]}", __name__)
        value: object = module if name == _MODULES[name] else getattr(module, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
