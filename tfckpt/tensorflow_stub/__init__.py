"""A module `tensorflow` that offers what reads checkpoints, for programs that were written against TensorFlow."""

from .errors import NotOfferedError, TensorFlowImportedError
from .installing import stand_in

__all__ = ["NotOfferedError", "TensorFlowImportedError", "stand_in"]
