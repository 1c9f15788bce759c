"""Read TensorFlow checkpoints without TensorFlow.

>>> import tfckpt
>>> with tfckpt.open("examples/efficientnetv2-digits") as checkpoint:  # doctest: +SKIP
...     for name in checkpoint:
...         print(name, checkpoint[name].shape)
"""

from ._version import __version__
from .checkpoint import Checkpoint, open
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
from .graph import Graph, Node
from .integrity import Verification, verify
from .limits import Limits
from .tensors.info import TensorInfo
from .tensors.slices import TensorSlice

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "CorruptionError",
    "Graph",
    "LimitExceededError",
    "Limits",
    "MissingDependencyError",
    "Node",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnsupportedFeatureError",
    "Verification",
    "__version__",
    "open",
    "verify",
]
