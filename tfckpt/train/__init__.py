"""The functions of `tf.train` that read checkpoints, for code that was written for TensorFlow.

Arguments, return types and messages are those of TensorFlow 2.21; docs/stand-in.md lists the differences.
New code should use `tfckpt.open`: it returns views instead of copies, and its errors say more.
"""

from .dtypes import DType, as_dtype
from .errors import OpError
from .reader import CheckpointReader, NewCheckpointReader, list_variables, load_checkpoint, load_variable
from .state import checkpoint_exists, get_checkpoint_state, latest_checkpoint

__all__ = [
    "CheckpointReader",
    "DType",
    "NewCheckpointReader",
    "OpError",
    "as_dtype",
    "checkpoint_exists",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
]
