"""Read TensorFlow checkpoints without TensorFlow.

>>> import tfckpt
>>> with tfckpt.open("examples/efficientnetv2-digits") as checkpoint:  # doctest: +SKIP
...     for name in checkpoint:
...         print(name, checkpoint[name].shape)
"""

from ._version import __version__
from .checkpoint import Checkpoint, open
from .checkpoint_folder import KnownCheckpoint, checkpoints, latest_checkpoint
from .errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    LimitExceededError,
    MissingDependencyError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedFeatureError,
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
    "Node",
    "ObjectGraph",
    "ObjectNode",
    "SavedModel",
    "Signature",
    "SignatureTensor",
    "Slot",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnsupportedFeatureError",
    "Variable",
    "Verification",
    "__version__",
    "checkpoints",
    "latest_checkpoint",
    "open",
    "verify",
]
