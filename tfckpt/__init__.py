"""Read TensorFlow checkpoints without TensorFlow.

Examples:
    >>> import tfckpt
    >>> with tfckpt.open("examples/efficientnetv2-digits") as checkpoint:  # doctest: +SKIP
    ...     for name in checkpoint:
    ...         print(name, checkpoint[name].shape)

Each public name is imported from its module on first access, so `import tfckpt` costs almost nothing in programs that
may never open a checkpoint. Not even NumPy is imported.
"""

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from . import train
    from .checkpoint import Checkpoint, open
    from .checks.comparison import Comparison, Difference, compare
    from .checks.diagnosis import Diagnosis, Finding, diagnose
    from .checks.integrity import Verification, verify
    from .checks.summary import Summary, summarize
    from .errors import (
        CheckpointError,
        CheckpointExistsError,
        CheckpointNotFoundError,
        ChecksumError,
        CorruptionError,
        LimitExceededError,
        MissingDependencyError,
        NameConflictError,
        ResourceError,
        StorageError,
        TensorNotFoundError,
        TruncatedError,
        UnsupportedFeatureError,
        WriteError,
    )
    from .finding.folder import KnownCheckpoint, checkpoints, latest_checkpoint
    from .graphs.graph import Function, Graph, Node
    from .graphs.meta_graph import MetaGraph, Signature, SignatureTensor
    from .graphs.object_graph import ObjectGraph, ObjectNode, Slot, Variable
    from .graphs.saved_model import SavedModel
    from .limits import Limits
    from .tensorflow_stub import NotOfferedError, TensorFlowImportedError, stand_in
    from .tensors.info import TensorInfo
    from .tensors.slices import TensorSlice
    from .writing.edit import copy, merge, replace
    from .writing.export import ExportReport, export
    from .writing.writer import Writer, save

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
    "ResourceError",
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
    "Comparison": "checks.comparison",
    "CorruptionError": "errors",
    "Diagnosis": "checks.diagnosis",
    "Difference": "checks.comparison",
    "ExportReport": "writing.export",
    "export": "writing.export",
    "Finding": "checks.diagnosis",
    "Function": "graphs.graph",
    "Graph": "graphs.graph",
    "KnownCheckpoint": "finding.folder",
    "LimitExceededError": "errors",
    "Limits": "limits",
    "MetaGraph": "graphs.meta_graph",
    "MissingDependencyError": "errors",
    "NameConflictError": "errors",
    "Node": "graphs.graph",
    "NotOfferedError": "tensorflow_stub",
    "ObjectGraph": "graphs.object_graph",
    "ObjectNode": "graphs.object_graph",
    "SavedModel": "graphs.saved_model",
    "Signature": "graphs.meta_graph",
    "SignatureTensor": "graphs.meta_graph",
    "Slot": "graphs.object_graph",
    "ResourceError": "errors",
    "StorageError": "errors",
    "Summary": "checks.summary",
    "TensorFlowImportedError": "tensorflow_stub",
    "TensorInfo": "tensors.info",
    "TensorNotFoundError": "errors",
    "TensorSlice": "tensors.slices",
    "TruncatedError": "errors",
    "UnsupportedFeatureError": "errors",
    "Variable": "graphs.object_graph",
    "Verification": "checks.integrity",
    "WriteError": "errors",
    "Writer": "writing.writer",
    "checkpoints": "finding.folder",
    "compare": "checks.comparison",
    "copy": "writing.edit",
    "diagnose": "checks.diagnosis",
    "latest_checkpoint": "finding.folder",
    "merge": "writing.edit",
    "open": "checkpoint",
    "replace": "writing.edit",
    "save": "writing.writer",
    "stand_in": "tensorflow_stub",
    "summarize": "checks.summary",
    "train": "train",
    "verify": "checks.integrity",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module and cache it."""
    if name in _MODULES:
        import importlib

        module = importlib.import_module(f".{_MODULES[name]}", __name__)
        value: object = module if name == _MODULES[name] else getattr(module, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
