"""Download of released archives to a cache directory, and checks at every use.

::

    CACHE/releases/v2/efficientnetv2-s.tgz                         the archive
    CACHE/releases/v2/efficientnetv2-s.tgz.json                    its record: address, size, version, SHA-256
    CACHE/releases/v2/efficientnetv2-s.tgz.part-0123456789abcdef   the start of an interrupted download

No checksums of the releases are published, so the first use is trusted, and every later use must match its record.
The digits in the name of a partial file are a digest of address, size and version, so only the same file is resumed.
All file names in the cache come from the table of releases, never from a server.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import hashlib
import json
import os
import stat
import urllib.parse
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from tfckpt._typing import ByteSource
from tfckpt.addresses import plain_address
from tfckpt.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    StorageError,
    UnsupportedFeatureError,
    WriteError,
    printable,
)
from tfckpt.files.atomic import atomic_file, replace, sync_folder, writing
from tfckpt.files.json_text import read_json
from tfckpt.files.lock import FileLock
from tfckpt.finding.file_kinds import describe_file
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.storage.archives.kinds import detect_archive
from tfckpt.storage.local import LocalStorage
from tfckpt.storage.remote.transport import Facts

from .table import BASE_URL, Release, find_release

if TYPE_CHECKING:
    from tfckpt.storage.remote.http import HttpTransport

    from .._typing import PathLike, Progress

#: The environment variable that names the cache directory.
CACHE_VARIABLE = "TFCKPT_CACHE"

#: Bytes of one request, which is retried separately: small enough to lose little, large enough for few requests.
_PIECE = 32 << 20
#: Largest size that a server may claim; releases have less than a tenth.
_LARGEST = DEFAULT_LIMITS.max_download_bytes
_BUFFER = 1 << 20
_LARGEST_RECORD = 64 << 10
_SHA256_DIGITS = 64


def fetch(
    release: str,
    *,
    base_url: str | None = None,
    cache: PathLike | None = None,
    progress: Progress | None = None,
    talk: Callable[[str], None] | None = None,
) -> str:
    """Return the path of a release's archive; download it first unless the cache has it.

    `base_url` is the folder of the archives on a server, by default the publisher's; `cache` is the directory that
    keeps them, by default that of `cache_folder`. The next call resumes an interrupted download.
    The first use records size and SHA-256, and every later use compares them. `talk` is called with a message for each
    step.

    Raises `UnknownModelError` for a name that is not a release, `ValueError` for a `base_url` that is not a web
    address, `CorruptionError` for an archive that differs from the first use, and what `tfckpt` raises about servers
    and files.
    """
    entry = find_release(release)
    transport, address = _connect(entry, BASE_URL if base_url is None else base_url)
    path = os.path.join(cache_folder(cache), "releases", *entry.path.split("/"))
    talk = talk or (lambda _: None)
    if not _is_cached(path):
        folder = os.path.dirname(path)
        with writing(folder):
            os.makedirs(folder, exist_ok=True)
        with FileLock(f"{path}.lock", path=path, busy="another process is downloading this release"):
            if not _is_cached(path):  # another process may have fetched it before we had the lock
                _download(path, transport, address, progress, talk)
                talk(f"{entry.name} is stored as {path}")
                return path
    talk(f"{entry.name} is in the cache: {path}")
    return path


def cache_folder(cache: PathLike | None = None) -> str:
    """Return the cache directory: `cache`, or the one in the environment, or `~/.cache/tfckpt`."""
    configured = os.fspath(cache or "") or os.environ.get(CACHE_VARIABLE)
    if configured:
        return configured
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # the XDG specification says to ignore such a value
        caches = os.path.expanduser(os.path.join("~", ".cache"))
    if not os.path.isabs(caches):
        raise WriteError(
            f"there is no home directory for the cache of releases; set a directory with --cache or {CACHE_VARIABLE}"
        )
    return os.path.join(caches, "tfckpt")


def check_base_url(base_url: str) -> urllib.parse.SplitResult:
    """Return the parts of a web address (http or https); raise `ValueError` for anything else."""
    try:
        parts = urllib.parse.urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(f"{plain_address(base_url)!r} is not a web address such as https://host/folder")
    return parts


def _connect(release: Release, base_url: str) -> tuple[HttpTransport, str]:
    """Return the transport to an archive's server, and the address to show, without user, password and query."""
    from tfckpt.storage.remote.http import HttpTransport  # imports urllib.request, which local conversions do not need

    parts = check_base_url(base_url)
    user, _, host = parts.netloc.rpartition("@")
    path = urllib.parse.quote(parts.path, safe="/%!$&'()*+,;=:@~-._")
    plain = urllib.parse.urlunsplit((parts.scheme, host, path, "", ""))
    return HttpTransport(query=parts.query, user=user), release.address(plain)


class _Fingerprint(NamedTuple):
    """The size and checksum of an archive."""

    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes, SHA-256 {self.sha256}"


def _is_cached(path: str) -> bool:
    """Return whether the archive is in the cache; raise `CorruptionError` if it does not match its record.

    An archive without record was put there by the user, and its record is written now.
    """
    if not os.path.lexists(path):
        return False
    fingerprint = _compute_fingerprint(path)
    recorded = _read_record(path)
    if recorded is None:
        _check_archive(path, path)
        _write_record(path, fingerprint, address=None, version=None)
    elif fingerprint != recorded:
        raise CorruptionError(
            f"the archive in the cache has changed since its first use: {fingerprint}, recorded {recorded}; "
            "remove it to download it again",
            path=path,
        )
    return True


def _download(
    path: str, transport: HttpTransport, address: str, progress: Progress | None, talk: Callable[[str], None]
) -> None:
    """Download an archive, or the rest of it, and move it to `path` if it matches the record."""
    recorded = _read_record(path)
    facts = transport.stat(address)
    if facts.size > _LARGEST:
        raise StorageError(f"the server claims {facts.size:,} bytes, expected at most {_LARGEST:,}", path=address)
    if recorded is not None and recorded.size != facts.size:
        raise _make_error(path, recorded, f"{facts.size:,} bytes", address)
    with _PartialFile(path, address, facts, progress) as part:
        resumed = f", of which {part.size:,} are already stored" if part.size else ""
        talk(f"downloading {facts.size:,} bytes from {address}{resumed}")
        part.fill(transport)
        fingerprint = _compute_fingerprint(part.path)
        if recorded is None:
            _write_record(path, fingerprint, address=address, version=facts.version)
        elif fingerprint != recorded:
            raise _make_error(path, recorded, str(fingerprint), address)
        replace(part.path, path)
    sync_folder(os.path.dirname(path))


class _PartialFile:
    """The start of an archive, as a sink for the transport; the next attempt resumes it.

    If the `with` block raises an error, a note on the stored bytes is added to it.
    """

    def __init__(self, path: str, address: str, facts: Facts, progress: Progress | None) -> None:
        """Open the partial file of this address, size and version, and remove all others."""
        digest = hashlib.sha256(f"{address}\n{facts.size}\n{facts.version}".encode()).hexdigest()
        self.path = f"{path}.part-{digest[:16]}"
        self._address = address
        self._facts = facts
        self._progress = progress
        self._can_resume = facts.version is not None  # without a version, two answers may belong to different files
        for other in glob.glob(f"{glob.escape(path)}.part*"):
            if other != self.path:
                _remove(other)
        with writing(self.path):
            self._file = _open_unlinked(self.path)  # `__exit__` closes it
        self.size = os.fstat(self._file.fileno()).st_size
        if not self._can_resume or self.size > facts.size:
            self.restart()

    def fill(self, transport: HttpTransport) -> None:
        """Download the missing bytes, sync them to the disk, and raise unless the file is an archive."""
        while self.size < self._facts.size:
            length = min(_PIECE, self._facts.size - self.size) if self._can_resume else self._facts.size
            try:
                transport.copy(self._address, self.size, length, self, self._facts)
            except UnsupportedFeatureError:  # the server sends only complete files
                if length == self._facts.size:
                    raise
                self._can_resume = False
                self.restart()
        with writing(self.path):
            os.fsync(self._file.fileno())
        try:
            _check_archive(self.path, self._address)
        except CheckpointNotFoundError:
            self._can_resume = False
            raise

    def write(self, data: bytes) -> None:
        """Append the next bytes, which are preserved if the process is killed."""
        with writing(self.path):
            self._file.write(data)
            self._file.flush()
        self.size += len(data)
        if self._progress is not None:
            self._progress(self.size, self._facts.size)

    def restart(self) -> None:
        """Remove everything that was written."""
        with writing(self.path):
            self._file.truncate(0)
        self.size = 0

    def __enter__(self) -> _PartialFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk, which `error` already reports
            self._file.close()
        size = os.path.getsize(self.path) if os.path.lexists(self.path) else 0
        if error is None or not self._can_resume or not size:
            _remove(self.path)
        elif size < self._facts.size:
            note = f"{size:,} of {self._facts.size:,} bytes are stored, and the next attempt resumes there"
            if isinstance(error, CheckpointError):
                error.message += f"; {note} if the server still has the same file"
            elif not isinstance(error, Exception):  # Ctrl-C or SIGTERM, whose text commands print
                error.args = (note,)


def _make_error(path: str, recorded: _Fingerprint, actual: str, address: str) -> CorruptionError:
    """Return the error for a server whose archive differs from the record."""
    return CorruptionError(
        f"the archive on the server is not that of the first use: {actual}, recorded {recorded}; "
        f"to accept the new one, remove the record {printable(path)}.json",
        path=address,
    )


def _open_unlinked(path: str) -> BinaryIO:
    """Open a file for appending; links are removed first, because writing would change their targets."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) and not (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
            os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o666), "ab")


def _open_regular(path: str) -> contextlib.closing[ByteSource]:
    """Open a regular file for reading; raise `StorageError` for anything else, because a pipe may never end."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise StorageError("not a regular file", path=path)
    return contextlib.closing(LocalStorage(mmap=False).open(path))


def _check_archive(path: str, shown: str) -> None:
    """Raise unless a file is an archive; it may be the login page of a proxy."""
    with _open_regular(path) as source:
        if detect_archive(source) is None:
            raise CheckpointNotFoundError(f"not an archive of a release but {describe_file(source)}", path=shown)


def _compute_fingerprint(path: str) -> _Fingerprint:
    digest = hashlib.sha256()
    with _open_regular(path) as source:
        for offset in range(0, source.size, _BUFFER):
            digest.update(source.read(offset, min(_BUFFER, source.size - offset)))
        return _Fingerprint(source.size, digest.hexdigest())


def _read_record(path: str) -> _Fingerprint | None:
    """Return the fingerprint of the archive at its first use, None if there is no record."""
    try:
        with _open_regular(f"{path}.json") as source:
            text = bytes(source.read(0, min(source.size, _LARGEST_RECORD)))
    except CheckpointNotFoundError:
        return None
    with contextlib.suppress(ValueError):
        match read_json(text):
            case {"size": int(size), "sha256": str(sha256)} if len(sha256) == _SHA256_DIGITS:
                return _Fingerprint(size, sha256)
    raise CorruptionError(
        "the record of a release has no size and SHA-256; remove it to trust the archive again",
        path=f"{path}.json",
    )


def _write_record(path: str, fingerprint: _Fingerprint, *, address: str | None, version: str | None) -> None:
    """Write the record; `address` is None for an archive that was not downloaded."""
    record = {
        "address": address,
        "size": fingerprint.size,
        "version": version,
        "sha256": fingerprint.sha256,
        "first_used": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    with atomic_file(f"{path}.json", overwrite=True) as file:
        file.write(json.dumps(record, indent=2).encode() + b"\n")


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
