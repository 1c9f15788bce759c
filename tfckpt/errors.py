"""The errors this package raises on purpose.

::

    ReportedError                  shared with `converter.errors`
    `- CheckpointError
       |- CheckpointNotFoundError    also FileNotFoundError
       |- TensorNotFoundError        also KeyError
       |- CorruptionError            also ValueError
       |  |- TruncatedError
       |  `- ChecksumError
       |- UnsupportedFeatureError    also NotImplementedError
       |- LimitExceededError
       |- MissingDependencyError     also ImportError
       |- StorageError               also OSError
       |- NameConflictError
       `- WriteError                 also OSError
          `- CheckpointExistsError   also FileExistsError

Low layers raise with what they know: what was read, and its offset in bytes.
Higher layers add the file and the tensor while the error passes, with `error_context`.
Misuse of the interface raises Python's own `TypeError` and `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType


class ReportedError(Exception):
    """Base of every error that is raised on purpose: a command reports it in a message and exits with `exit_code`.

    The codes are those that `tfckpt --help` lists.
    """

    exit_code = 5

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by attributes, so that errors cross process boundaries whole."""
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[ReportedError], args: tuple[object, ...], state: dict[str, object]) -> ReportedError:
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)  # the `path` of an ImportError is not in its dictionary
    return error


class CheckpointError(ReportedError):
    """Base of every error this package raises on purpose.

    `path` is the file or address, `tensor` the tensor's name, `offset` the position in the file in bytes;
    each is None while it is not known.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.tensor = tensor
        self.offset = offset

    def __str__(self) -> str:
        """One line: where, as far as it is known, then what was found and expected."""
        where = [] if self.path is None else [printable(self.path)]
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        if self.tensor is not None:
            where.append(f"tensor '{printable(abridged(self.tensor))}'")
        message = printable(self.message)  # it may quote names and paths from files
        return f"{', '.join(where)}: {message}" if where else message

    def __reduce__(self) -> tuple[object, ...]:
        """Add what the dictionary of an ImportError does not hold."""
        return _rebuild, (type(self), self.args, {**self.__dict__, "path": self.path})


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No checkpoint stands where one was asked for; the message says what is there instead."""


class TensorNotFoundError(CheckpointError, KeyError):
    """The checkpoint has no tensor of this name; `close_names` are those most like it."""

    def __init__(
        self,
        message: str,
        *,
        close_names: Sequence[str] = (),
        path: str | None = None,
        tensor: str | None = None,
    ) -> None:
        super().__init__(message, path=path, tensor=tensor)
        self.close_names = tuple(close_names)


class CorruptionError(CheckpointError, ValueError):
    """The bytes break a rule of the format."""

    exit_code = 4


class TruncatedError(CorruptionError):
    """Fewer bytes are there than the format needs: `needed` and `available`, counted from the start of the read."""

    def __init__(
        self,
        message: str,
        *,
        needed: int,
        available: int,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message, path=path, tensor=tensor, offset=offset)
        self.needed = needed
        self.available = available


def past_end(
    what: str, *, needed: int, available: int, path: str | None = None, offset: int | None = None
) -> TruncatedError:
    """Return the error for something of `needed` bytes of which only `available`, or none if negative, are there."""
    available = max(available, 0)
    message = f"{what} reaches past the end: {needed} bytes needed, {available} available"
    return TruncatedError(message, needed=needed, available=available, path=path, offset=offset)


class ChecksumError(CorruptionError):
    """A checksum differs: `stored` is what the file says, `computed` what its bytes give (both unmasked CRC-32C)."""

    def __init__(
        self,
        message: str,
        *,
        stored: int,
        computed: int,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message, path=path, tensor=tensor, offset=offset)
        self.stored = stored
        self.computed = computed


class UnsupportedFeatureError(CheckpointError, NotImplementedError):
    """The file is well formed as far as we can tell and uses something we do not read."""

    exit_code = 5


class LimitExceededError(CheckpointError):
    """A claim in the file is larger than a named limit of `tfckpt.Limits`."""

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        limit: str,
        maximum: int,
        claimed: int,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(
            f"{message}: {claimed} is over the limit {limit}={maximum}; "
            f"if the file is trusted, raise it with limits=tfckpt.Limits({limit}=...), "
            f"on the command line with --limit {limit}=...",
            path=path,
            tensor=tensor,
            offset=offset,
        )
        self.limit = limit
        self.maximum = maximum
        self.claimed = claimed


class MissingDependencyError(CheckpointError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    exit_code = 5

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}; install it with: pip install 'tfckpt[{extra}]'")
        self.package = package
        self.extra = extra


class StorageError(CheckpointError, OSError):
    """The place where the checkpoint lives does not give its bytes: no permission, a fault of the disk or the network,
    a server that does not answer, or a file that was replaced by another while it was being read."""


class NameConflictError(CheckpointError):
    """Several tensors would get one name: `conflicts` is the name to where each of them comes from."""

    exit_code = 1

    def __init__(self, message: str, *, conflicts: Mapping[str, Sequence[str]], path: str | None = None) -> None:
        super().__init__(message, path=path)
        self.conflicts = {name: tuple(places) for name, places in conflicts.items()}


class WriteError(CheckpointError, OSError):
    """A file cannot be written: no such folder, no permission, no space, another writer; `path` is where it belongs."""

    exit_code = 2


class CheckpointExistsError(WriteError, FileExistsError):
    """Something stands where a file is to be written, and nothing was said about overwriting it."""


class error_context:  # noqa: N801  # read as a function, as in `contextlib`
    """Add the file and the tensor to an error of ours that passes, where a lower layer has not set them."""

    # A class, since it stands around every tensor that is read: a generator would take several times as long.
    __slots__ = ("_path", "_tensor")

    def __init__(self, *, path: str | None = None, tensor: str | None = None) -> None:
        self._path = path
        self._tensor = tensor

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, CheckpointError):
            error.path = error.path if error.path is not None else self._path
            error.tensor = error.tensor if error.tensor is not None else self._tensor


def printable(text: str) -> str:
    """Names from files as they may be shown: control, surrogate and other unprintable characters become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def abridged(name: str) -> str:
    """A name as it fits into a message: of one of thousands of characters the beginning and the end."""
    if len(name) <= _SHOWN_CHARACTERS:
        return name
    half = _SHOWN_CHARACTERS // 2
    return f"{name[:half]} [{len(name) - 2 * half} characters] {name[-half:]}"


def format_key(key: bytes) -> str:
    """A key of a table as it fits into a message."""
    return repr(key) if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]!r} [{len(key)} bytes]"


def join_some(names: Iterable[object], *, most: int = 8) -> str:
    """Join the first names for a message, each printable and abridged, and count the others: a, b and 3 more."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(printable(abridged(str(name))) for name in listed[:most]) + more


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun: 1 tensor, 2,000 tensors, 3 classes."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def find_close_names(name: str, names: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """The names a person may have meant by `name`, likeliest first.

    Comparing is slow, so of many names only those with the same last part are compared, where there are any.
    """
    import difflib

    last = name.rsplit("/", 1)[-1]
    candidates = list(names)
    if len(candidates) > _COMPARED_NAMES:
        candidates = [other for other in candidates if other.rsplit("/", 1)[-1] == last] or candidates
    return tuple(difflib.get_close_matches(name, candidates[:_COMPARED_NAMES], n=most))


def say_close_names(names: Sequence[str]) -> str:
    """Return the end of a message that offers the names from `close_names`; empty if there are none."""
    return f"; close names: {join_some(names)}" if names else ""


_COMPARED_NAMES = 2000
_SHOWN_CHARACTERS = 400
