"""A stand-in for the module `tensorflow` that reads checkpoints, for programs that were written for TensorFlow."""

from .errors import NotOfferedError, TensorFlowImportedError
from .installing import stand_in

__all__ = ["NotOfferedError", "TensorFlowImportedError", "stand_in"]
