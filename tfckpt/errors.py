"""The errors that this package raises on purpose.

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
       |  |- FileChangedError
       |  `- ResourceError
       |- NameConflictError
       `- WriteError                 also OSError
          `- CheckpointExistsError   also FileExistsError

Low layers raise with what they know: what was read, and its offset in bytes.
Higher layers add the file and the tensor with `error_context` as the error propagates.
Misuse of the API raises Python's own `TypeError` and `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from .addresses import hide_secrets, plain_address


class ReportedError(Exception):
    """Base class of all errors raised on purpose: a command prints the message and exits with `exit_code`.

    `tfckpt --help` lists the codes.
    """

    exit_code = 5

    def __init__(self, message: str) -> None:
        message = hide_secrets(message)
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by attributes, so that errors keep them in other processes."""
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[ReportedError], args: tuple[object, ...], state: dict[str, object]) -> ReportedError:
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)  # not __dict__.update: the `path` of an ImportError is not in its __dict__
    return error


class CheckpointError(ReportedError):
    """Base class of all errors that this package raises on purpose.

    `path` is the file or URL, `tensor` the name of the tensor, and `offset` the position in the file in bytes.
    Each is None if unknown.
    Addresses in messages and paths have no user information, query or fragment, which may be secret.
    """

    exit_code = 3
    #: Whether the same request may succeed later, as when a store does not answer.
    is_transient = False

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.path = None if path is None else plain_address(path)
        self.tensor = tensor
        self.offset = offset

    def __str__(self) -> str:
        """Return one line: path, offset and tensor, if known, and the message."""
        where = [] if self.path is None else [printable(self.path)]
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        if self.tensor is not None:
            where.append(f"tensor '{printable(abridged(self.tensor))}'")
        message = printable(self.message)  # it may contain names and paths from files
        return f"{', '.join(where)}: {message}" if where else message

    def __reduce__(self) -> tuple[object, ...]:
        """Add the `path`, which ImportError does not keep in `__dict__`."""
        return _rebuild, (type(self), self.args, {**self.__dict__, "path": self.path})


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at this path; the message says what is there instead."""


class TensorNotFoundError(CheckpointError, KeyError):
    """The checkpoint has no tensor of this name; `close_names` are the most similar names."""

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
    """The bytes violate the file format."""

    exit_code = 4


class TruncatedError(CorruptionError):
    """The data ends too early: `needed` bytes from the start of the read, but only `available` exist."""

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
    what: str,
    *,
    needed: int,
    available: int,
    file_size: int | None = None,
    path: str | None = None,
    offset: int | None = None,
) -> TruncatedError:
    """Return the error for something that needs `needed` bytes when only `available` (0 if negative) are left.

    The message includes `file_size` if it is known, which shows whether the file was cut short or a claim is wrong.
    """
    available = max(available, 0)
    end = "the end" if file_size is None else f"the end of the file, which has {pluralize(file_size, 'byte')}"
    message = f"{what} reaches past {end}: {pluralize(needed, 'byte')} needed, {available:,} available"
    return TruncatedError(message, needed=needed, available=available, path=path, offset=offset)


class ChecksumError(CorruptionError):
    """The checksum `stored` in the file differs from the one `computed` from its bytes (both unmasked CRC-32C)."""

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


def checksum_mismatch(what: str, *, stored: int, computed: int, offset: int | None = None) -> ChecksumError:
    """Return the error for something whose bytes do not have the stored checksum."""
    message = f"{what} has crc32c {computed:#010x}, expected {stored:#010x}"
    return ChecksumError(message, stored=stored, computed=computed, offset=offset)


class UnsupportedFeatureError(CheckpointError, NotImplementedError):
    """The file seems valid but uses a feature that this package does not support."""

    exit_code = 5


class LimitExceededError(CheckpointError):
    """A number in the file exceeds one of the limits in `tfckpt.Limits`, or a fixed one, for which `limit` is None."""

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        limit: str | None,
        maximum: int,
        claimed: int,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        advice = (
            f"{claimed} is over the limit {limit}={maximum}; "
            f"if you trust the file, raise the limit with limits=tfckpt.Limits({limit}=...), "
            f"on the command line with --limit {limit}=..."
        )
        super().__init__(
            f"{message}: {claimed} is over the limit {maximum}" if limit is None else f"{message}: {advice}",
            path=path,
            tensor=tensor,
            offset=offset,
        )
        self.limit = limit
        self.maximum = maximum
        self.claimed = claimed


class MissingDependencyError(CheckpointError, ImportError):
    """An optional package is not installed; the message names the extra that installs it.

    Or the package is there, and a package that it needs does not match it: `reason` is what its import says.
    """

    exit_code = 5

    def __init__(self, package: str, *, extra: str, purpose: str, reason: str | None = None) -> None:
        action = f"; install it with: pip install 'tfckpt[{extra}]'"
        if reason is not None:
            action = f", which is installed but cannot be imported ({reason})"
        super().__init__(f"{purpose} needs the package {package}{action}")
        self.package = package
        self.extra = extra


class StorageError(CheckpointError, OSError):
    """A file cannot be read from its storage: no permission, a disk or network error, a server that does not respond,
    or a file that was replaced while being read."""

    is_transient = True


class FileChangedError(StorageError):
    """A file is not the one that was opened, or that a job was planned for; both versions are in the message."""

    is_transient = False


class ResourceError(StorageError):
    """The process or the system has run out of something, such as open files; this says nothing about the file."""


class NameConflictError(CheckpointError):
    """Several tensors would get the same name; `conflicts` maps each such name to the tensors' origins."""

    exit_code = 1

    def __init__(self, message: str, *, conflicts: Mapping[str, Sequence[str]], path: str | None = None) -> None:
        super().__init__(message, path=path)
        self.conflicts = {name: tuple(places) for name, places in conflicts.items()}


class WriteError(CheckpointError, OSError):
    """The file `path` cannot be written: no such folder, no permission, no space, or another writer."""

    exit_code = 2


class CheckpointExistsError(WriteError, FileExistsError):
    """The file to be written already exists, and overwriting was not requested."""


class error_context:  # noqa: N801  # read as a function, as in `contextlib`
    """Add the file and the tensor to a `CheckpointError` raised inside, unless a lower layer has set them."""

    # A class because it wraps the reading of every tensor: `contextlib.contextmanager` is several times slower.
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
            if error.path is None and self._path is not None:
                error.path = plain_address(self._path)
            error.tensor = error.tensor if error.tensor is not None else self._tensor


def printable(text: str) -> str:
    """Return the text with control, surrogate and other unprintable characters escaped, as names from files need it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def abridged(name: str) -> str:
    """Return a name short enough for a message: of a long name only the beginning and the end."""
    if len(name) > _SHOWN_CHARACTERS:
        name = hide_secrets(name)  # before the beginning of an address is separated from its end
    if len(name) <= _SHOWN_CHARACTERS:
        return name
    half = _SHOWN_CHARACTERS // 2
    return f"{name[:half]} [{len(name) - 2 * half} characters] {name[-half:]}"


def format_key(key: bytes) -> str:
    """Return the repr of a table's key, cut to a length that fits into a message."""
    return repr(key) if len(key) <= _SHOWN_CHARACTERS else f"{key[:_SHOWN_CHARACTERS]!r} [{len(key)} bytes]"


def join_some(names: Iterable[object], *, most: int = 8) -> str:
    """Return the first names, printable and abridged, and the number of the others, such as `a, b and 3 more`."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(printable(abridged(str(name))) for name in listed[:most]) + more


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 tensor`, `2,000 tensors` or `3 classes`."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def find_close_names(name: str, names: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """Return the names most similar to `name`, the best match first.

    Comparing is slow, so among many names only those with the same last component are compared, if there are any.
    """
    import difflib

    last = name.rsplit("/", 1)[-1]
    candidates = list(names)
    if len(candidates) > _COMPARED_NAMES:
        candidates = [other for other in candidates if other.rsplit("/", 1)[-1] == last] or candidates
    return tuple(difflib.get_close_matches(name, candidates[:_COMPARED_NAMES], n=most))


def say_close_names(names: Sequence[str]) -> str:
    """Return the end of a message that offers the names from `find_close_names`; empty if there are none."""
    return f"; close names: {join_some(names)}" if names else ""


_COMPARED_NAMES = 2000
_SHOWN_CHARACTERS = 400
