# ruff: noqa: E701  # the classes of errors are a table
"""Errors with the names, codes and attributes of `tf.errors`, which are also errors of this package.

::

    CheckpointError
    `- OpError                      error_code, message, op, node_def as in TensorFlow
       |- NotFoundError             5     |- DataLossError             15    |- UnimplementedError   12
       |- InvalidArgumentError      3     |- ResourceExhaustedError    8     |- InternalError        13
       `- ... one class for each code
    CheckpointError
    `- InvalidValueError            also ValueError, which TensorFlow raises instead

`as_tensorflow` converts the errors of the rest of the package; the original error is the `__cause__`.
Source of the codes: TensorFlow `tsl/protobuf/error_codes.proto`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    LimitExceededError,
    TensorNotFoundError,
    UnsupportedFeatureError,
    printable,
)

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16


class OpError(CheckpointError):
    """Base of the errors of `tf.errors`; also raised itself, like in TensorFlow."""

    #: Default of `error_code`, one for each subclass.
    code = UNKNOWN
    exit_code = 5

    def __init__(
        self,
        node_def: object,
        op: object,
        message: str,
        error_code: int | None = None,
        *,
        path: str | None = None,
        tensor: str | None = None,
    ) -> None:
        """Create an error as TensorFlow does; `node_def` and `op` are None for all errors of reading checkpoints."""
        super().__init__(message, path=path, tensor=tensor)
        self.node_def = node_def
        self.op = op
        self.error_code = type(self).code if error_code is None else error_code

    def __str__(self) -> str:
        """Return the message alone, as TensorFlow does."""
        return printable(self.message)


# One class a line; the names are those of `tf.errors`.
# fmt: off
class CancelledError(OpError): code = CANCELLED
class UnknownError(OpError): code = UNKNOWN  # for example a disk that fails
class InvalidArgumentError(OpError): code = INVALID_ARGUMENT
class DeadlineExceededError(OpError): code = DEADLINE_EXCEEDED
class NotFoundError(OpError): code, exit_code = NOT_FOUND, 3  # no such checkpoint, tensor, file or folder
class AlreadyExistsError(OpError): code = ALREADY_EXISTS
class PermissionDeniedError(OpError): code = PERMISSION_DENIED
class ResourceExhaustedError(OpError): code = RESOURCE_EXHAUSTED  # a file claims more than one of our limits
class FailedPreconditionError(OpError): code = FAILED_PRECONDITION  # for example a folder that is read as a file
class AbortedError(OpError): code = ABORTED
class OutOfRangeError(OpError): code = OUT_OF_RANGE
class UnimplementedError(OpError): code = UNIMPLEMENTED  # a file uses a feature that is not supported
class InternalError(OpError): code = INTERNAL
class UnavailableError(OpError): code = UNAVAILABLE
class DataLossError(OpError): code, exit_code = DATA_LOSS, 4  # a file is damaged or not a checkpoint
class UnauthenticatedError(OpError): code = UNAUTHENTICATED
# fmt: on


class InvalidValueError(CheckpointError, ValueError):
    """An error for which TensorFlow's reader raises a plain `ValueError`."""

    exit_code = 5


CLASSES: tuple[type[OpError], ...] = (OpError, *OpError.__subclasses__())
CODES = {
    name: value for name, value in list(globals().items()) if isinstance(value, int) and name.replace("_", "").isupper()
}


@contextlib.contextmanager
def as_tensorflow() -> Iterator[None]:
    """Convert errors of this package to the corresponding classes of `tf.errors`."""
    try:
        yield
    except (OpError, InvalidValueError):
        raise
    except CheckpointError as error:
        kind = next((kind for ours, kind in _COUNTERPARTS if isinstance(error, ours)), UnknownError)
        if isinstance(error.__cause__, PermissionError):
            kind = PermissionDeniedError
        raise kind(None, None, str(error), path=error.path, tensor=error.tensor) from error


_COUNTERPARTS: tuple[tuple[type[CheckpointError], type[OpError]], ...] = (
    (CheckpointNotFoundError, NotFoundError),
    (TensorNotFoundError, NotFoundError),
    (CorruptionError, DataLossError),
    (UnsupportedFeatureError, UnimplementedError),
    (LimitExceededError, ResourceExhaustedError),
)
