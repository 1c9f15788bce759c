"""Errors with the names, codes and attributes of `tf.errors`, which are errors of this package too.

::

    CheckpointError
    `- OpError                      error_code, message, op, node_def as in TensorFlow
       |- NotFoundError             5     |- DataLossError             15    |- UnimplementedError   12
       |- InvalidArgumentError      3     |- ResourceExhaustedError    8     |- InternalError        13
       `- ... one for each code
    CheckpointError
    `- InvalidValueError            also ValueError, which is what TensorFlow raises there

What the rest of the package raises becomes one of them in `as_tensorflow`; it stays reachable as `__cause__`.
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
    """Base of the errors of `tf.errors`; raised itself where TensorFlow has no class for the trouble."""

    #: The code of a class's errors.
    code = UNKNOWN

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
        """`node_def` and `op` are None for everything that reads checkpoints."""
        super().__init__(message, path=path, tensor=tensor)
        self.node_def = node_def
        self.op = op
        self.error_code = type(self).code if error_code is None else error_code

    def __str__(self) -> str:
        """The message alone, as in TensorFlow."""
        return printable(self.message)


class CancelledError(OpError):
    """The operation was called off."""

    code = CANCELLED


class UnknownError(OpError):
    """Trouble that fits no other class, such as a fault of the disk."""

    code = UNKNOWN


class InvalidArgumentError(OpError):
    """An argument makes no sense."""

    code = INVALID_ARGUMENT


class DeadlineExceededError(OpError):
    """The operation took too long."""

    code = DEADLINE_EXCEEDED


class NotFoundError(OpError):
    """There is no such checkpoint, tensor, file or folder."""

    code = NOT_FOUND


class AlreadyExistsError(OpError):
    """Something stands where it should not."""

    code = ALREADY_EXISTS


class PermissionDeniedError(OpError):
    """The file may not be used in this way."""

    code = PERMISSION_DENIED


class ResourceExhaustedError(OpError):
    """A claim in a file is beyond one of our limits."""

    code = RESOURCE_EXHAUSTED


class FailedPreconditionError(OpError):
    """The thing is in no state for the operation, such as a folder that is read as a file."""

    code = FAILED_PRECONDITION


class AbortedError(OpError):
    """The operation was given up."""

    code = ABORTED


class OutOfRangeError(OpError):
    """The operation reached past the end."""

    code = OUT_OF_RANGE


class UnimplementedError(OpError):
    """The file uses something we do not read."""

    code = UNIMPLEMENTED


class InternalError(OpError):
    """A rule that should hold is broken."""

    code = INTERNAL


class UnavailableError(OpError):
    """The service does not answer."""

    code = UNAVAILABLE


class DataLossError(OpError):
    """The bytes of a file are damaged, or are not what they should be."""

    code = DATA_LOSS


class UnauthenticatedError(OpError):
    """The service does not know who asks."""

    code = UNAUTHENTICATED


class InvalidValueError(CheckpointError, ValueError):
    """What TensorFlow's reader says by a plain `ValueError`."""


CLASSES: tuple[type[OpError], ...] = (
    OpError,
    CancelledError,
    UnknownError,
    InvalidArgumentError,
    DeadlineExceededError,
    NotFoundError,
    AlreadyExistsError,
    PermissionDeniedError,
    ResourceExhaustedError,
    FailedPreconditionError,
    AbortedError,
    OutOfRangeError,
    UnimplementedError,
    InternalError,
    UnavailableError,
    DataLossError,
    UnauthenticatedError,
)
CODES = {
    name: value for name, value in list(globals().items()) if isinstance(value, int) and name.replace("_", "").isupper()
}


@contextlib.contextmanager
def as_tensorflow() -> Iterator[None]:
    """Turn an error of this package that passes into the one of `tf.errors` that says the same."""
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
