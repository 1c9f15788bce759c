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
        """`node_def` and `op` are None for everything that reads checkpoints."""
        super().__init__(message, path=path, tensor=tensor)
        self.node_def = node_def
        self.op = op
        self.error_code = type(self).code if error_code is None else error_code

    def __str__(self) -> str:
        """The message alone, as in TensorFlow."""
        return printable(self.message)


def _define(name: str, code: int, doc: str, exit_code: int = OpError.exit_code) -> type[OpError]:
    """Return the subclass of `OpError` for one code; its module makes it picklable."""
    return type(name, (OpError,), {"__module__": __name__, "__doc__": doc, "code": code, "exit_code": exit_code})


CancelledError = _define("CancelledError", CANCELLED, "The operation was cancelled.")
UnknownError = _define("UnknownError", UNKNOWN, "An error that fits no other class, such as a failing disk.")
InvalidArgumentError = _define("InvalidArgumentError", INVALID_ARGUMENT, "An argument is not valid.")
DeadlineExceededError = _define("DeadlineExceededError", DEADLINE_EXCEEDED, "The operation took too long.")
NotFoundError = _define("NotFoundError", NOT_FOUND, "The checkpoint, tensor, file or directory does not exist.", 3)
AlreadyExistsError = _define("AlreadyExistsError", ALREADY_EXISTS, "The file or directory already exists.")
PermissionDeniedError = _define("PermissionDeniedError", PERMISSION_DENIED, "File permissions do not allow this.")
ResourceExhaustedError = _define("ResourceExhaustedError", RESOURCE_EXHAUSTED, "A file claims more than a limit.")
FailedPreconditionError = _define("FailedPreconditionError", FAILED_PRECONDITION, "A directory is read as a file.")
AbortedError = _define("AbortedError", ABORTED, "The operation was aborted.")
OutOfRangeError = _define("OutOfRangeError", OUT_OF_RANGE, "The operation reached past the end.")
UnimplementedError = _define("UnimplementedError", UNIMPLEMENTED, "The file uses something that we do not read.")
InternalError = _define("InternalError", INTERNAL, "An internal rule is broken.")
UnavailableError = _define("UnavailableError", UNAVAILABLE, "The service does not answer.")
DataLossError = _define("DataLossError", DATA_LOSS, "The bytes of a file are damaged or not what they should be.", 4)
UnauthenticatedError = _define("UnauthenticatedError", UNAUTHENTICATED, "The service does not know who is asking.")


class InvalidValueError(CheckpointError, ValueError):
    """What TensorFlow's reader says by a plain `ValueError`."""

    exit_code = 5


CLASSES: tuple[type[OpError], ...] = (OpError, *OpError.__subclasses__())
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
