"""Download released archives once, keep them in a cache directory, and check them at every use.

::

    CACHE/releases/v2/efficientnetv2-s.tgz                         the archive
    CACHE/releases/v2/efficientnetv2-s.tgz.json                    its record: address, size, version, SHA-256
    CACHE/releases/v2/efficientnetv2-s.tgz.part-0123456789abcdef   the beginning of a download that stopped

No checksums of the releases are published, so the first use is trusted, and every later use must match its record.
The digits in a partial file's name are a digest of address, size and version, so that only the same file is resumed.
All names in the cache come from the table of releases, none from a server.
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
from tfckpt.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    StorageError,
    UnsupportedFeatureError,
    WriteError,
    printable,
)
from tfckpt.files.atomic import atomic_file, sync_folder, writing
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

#: Bytes of one request, which has retries of its own: small enough to lose little, large enough for few requests.
_PIECE = 32 << 20
#: A server may claim no more; no release has a tenth of it.
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
    keeps them, by default that of `cache_folder`. The next call resumes a download that stopped.
    The first use records size and SHA-256, and every later use compares them. `talk` gets a sentence for each step.

    Raises `UnknownModelError` for a name that is not a release, `ValueError` for a `base_url` that is not a web
    address, `CorruptionError` for an archive that differs from the first use, and what `tfckpt` raises about servers
    and files.
    """
    found = find_release(release)
    transport, address = _connect(found, BASE_URL if base_url is None else base_url)
    path = os.path.join(cache_folder(cache), "releases", *found.path.split("/"))
    talk = talk or (lambda _: None)
    if not _is_cached(path):
        folder = os.path.dirname(path)
        with writing(folder):
            os.makedirs(folder, exist_ok=True)
        with FileLock(f"{path}.lock", path=path, busy="another process is fetching this release"):
            if not _is_cached(path):  # another process may have fetched it before we had the lock
                _download(path, transport, address, progress, talk)
                talk(f"{found.name} is kept as {path}")
                return path
    talk(f"{found.name} is in the cache: {path}")
    return path


def cache_folder(cache: PathLike | None = None) -> str:
    """Return the cache directory: `cache`, or else what the environment names, or `~/.cache/tfckpt`."""
    chosen = os.fspath(cache or "") or os.environ.get(CACHE_VARIABLE)
    if chosen:
        return chosen
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # the XDG specification says to ignore such a value
        caches = os.path.expanduser(os.path.join("~", ".cache"))
    if not os.path.isabs(caches):
        raise WriteError(
            f"there is no home directory to keep releases in; name a directory with --cache or {CACHE_VARIABLE}"
        )
    return os.path.join(caches, "tfckpt")


def check_base_url(base_url: str) -> urllib.parse.SplitResult:
    """Return the parts of a web address (http or https); `ValueError` for anything else."""
    try:
        parts = urllib.parse.urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(f"{base_url!r} is not a web address such as https://host/folder")
    return parts


def _connect(release: Release, base_url: str) -> tuple[HttpTransport, str]:
    """Return the transport to an archive's server, and the address without user, password and query, to be shown."""
    from tfckpt.storage.remote.http import HttpTransport  # imports urllib.request, which local conversions do not need

    parts = check_base_url(base_url)
    user, _, host = parts.netloc.rpartition("@")
    path = urllib.parse.quote(parts.path, safe="/%!$&'()*+,;=:@~-._")
    plain = urllib.parse.urlunsplit((parts.scheme, host, path, "", ""))
    return HttpTransport(query=parts.query, user=user), release.address(plain)


class _Fingerprint(NamedTuple):
    """What tells an archive from any other."""

    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes, SHA-256 {self.sha256}"


def _is_cached(path: str) -> bool:
    """Whether the archive is in the cache and matches its record.

    An archive without a record, which somebody else put there, gets its record now.
    """
    if not os.path.lexists(path):
        return False
    found = _fingerprint(path)
    recorded = _read_record(path)
    if recorded is None:
        _require_archive(path, path)
        _write_record(path, found, address=None, version=None)
    elif found != recorded:
        raise CorruptionError(
            f"the archive in the cache changed since its first use: it has {found}; recorded are {recorded}; "
            "remove it, and it is fetched again",
            path=path,
        )
    return True


def _download(
    path: str, transport: HttpTransport, address: str, progress: Progress | None, talk: Callable[[str], None]
) -> None:
    """Download an archive, or the rest of it, and give it its name in the cache if it is the recorded one."""
    recorded = _read_record(path)
    facts = transport.stat(address)
    if facts.size > _LARGEST:
        raise StorageError(f"the server claims {facts.size:,} bytes, and no release has {_LARGEST:,}", path=address)
    if recorded is not None and recorded.size != facts.size:
        raise _changed(path, recorded, f"{facts.size:,} bytes", address)
    with _PartialFile(path, address, facts, progress) as part:
        resumed = f", of which {part.size:,} are there already" if part.size else ""
        talk(f"fetching {facts.size:,} bytes from {address}{resumed}")
        part.fill(transport)
        found = _fingerprint(part.path)
        if recorded is None:
            _write_record(path, found, address=address, version=facts.version)
        elif found != recorded:
            raise _changed(path, recorded, found, address)
        with writing(path):
            os.replace(part.path, path)
    sync_folder(os.path.dirname(path))


class _PartialFile:
    """The beginning of an archive, as a sink for the transport; the next attempt resumes it.

    Leaving it with an error adds to the error how much is kept.
    """

    def __init__(self, path: str, address: str, facts: Facts, progress: Progress | None) -> None:
        """Open the partial file of this address, size and version, and remove those of others."""
        digest = hashlib.sha256(f"{address}\n{facts.size}\n{facts.version}".encode()).hexdigest()
        self.path = f"{path}.part-{digest[:16]}"
        self._address = address
        self._facts = facts
        self._progress = progress
        self._can_resume = facts.version is not None  # without a version, two answers could be of two files
        for other in glob.glob(f"{glob.escape(path)}.part*"):
            if other != self.path:
                _remove(other)
        with writing(self.path):
            self._file = _open_unlinked(self.path)  # `__exit__` closes it
        self.size = os.fstat(self._file.fileno()).st_size
        if not self._can_resume or self.size > facts.size:
            self.restart()

    def fill(self, transport: HttpTransport) -> None:
        """Download what is missing, sync it to the disk, and raise unless it is an archive."""
        while self.size < self._facts.size:
            length = min(_PIECE, self._facts.size - self.size) if self._can_resume else self._facts.size
            try:
                transport.copy(self._address, self.size, length, self, self._facts)
            except UnsupportedFeatureError:  # the server sends only whole files
                if length == self._facts.size:
                    raise
                self._can_resume = False
                self.restart()
        with writing(self.path):
            os.fsync(self._file.fileno())
        try:
            _require_archive(self.path, self._address)
        except CheckpointNotFoundError:
            self._can_resume = False
            raise

    def write(self, data: bytes) -> None:
        """Append the next bytes; they survive if the process is killed."""
        with writing(self.path):
            self._file.write(data)
            self._file.flush()
        self.size += len(data)
        if self._progress is not None:
            self._progress(self.size, self._facts.size)

    def restart(self) -> None:
        """Drop everything that was written."""
        with writing(self.path):
            self._file.truncate(0)
        self.size = 0

    def __enter__(self) -> _PartialFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk, which `error` is about
            self._file.close()
        size = os.path.getsize(self.path) if os.path.lexists(self.path) else 0
        if error is None or not self._can_resume or not size:
            _remove(self.path)
        elif size < self._facts.size:
            kept = f"{size:,} of {self._facts.size:,} bytes are kept, and the next attempt goes on from there"
            if isinstance(error, CheckpointError):
                error.message += f"; {kept} if the server still has the same file"
            elif not isinstance(error, Exception):  # Ctrl-C or SIGTERM, which commands report by its text
                error.args = (kept,)


def _changed(path: str, recorded: _Fingerprint, found: object, address: str) -> CorruptionError:
    """Return the error for a server whose archive differs from the one of the first use."""
    return CorruptionError(
        f"the archive there is not the one of the first use: it has {found}; recorded are {recorded}; "
        f"if the new one is right, remove the record {printable(path)}.json",
        path=address,
    )


def _open_unlinked(path: str) -> BinaryIO:
    """Open a file for appending; links are removed first, since writing would change their target."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
            os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o666), "ab")


def _open_regular(path: str) -> contextlib.closing[ByteSource]:
    """Open a file of the cache for reading; `StorageError` for anything else, since a pipe would never end."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise StorageError("cannot read the file: it is not a regular file", path=path)
    return contextlib.closing(LocalStorage(mmap=False).open(path))


def _require_archive(path: str, shown: str) -> None:
    """Raise unless a file is an archive; it may be the page of a proxy that wants a password."""
    with _open_regular(path) as source:
        if detect_archive(source) is None:
            raise CheckpointNotFoundError(
                f"this is not an archive of a release but {describe_file(source)}", path=shown
            )


def _fingerprint(path: str) -> _Fingerprint:
    digest = hashlib.sha256()
    with _open_regular(path) as source:
        for offset in range(0, source.size, _BUFFER):
            digest.update(source.read(offset, min(_BUFFER, source.size - offset)))
        return _Fingerprint(source.size, digest.hexdigest())


def _read_record(path: str) -> _Fingerprint | None:
    """Return the archive's fingerprint at its first use; None before it."""
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
        "the record of a release has no size and SHA-256; remove it, and the archive is trusted as at first",
        path=f"{path}.json",
    )


def _write_record(path: str, found: _Fingerprint, *, address: str | None, version: str | None) -> None:
    """Record the first use; `address` is None for an archive that was not downloaded."""
    record = {
        "address": address,
        "size": found.size,
        "version": version,
        "sha256": found.sha256,
        "first_used": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    with atomic_file(f"{path}.json", overwrite=True) as file:
        file.write(json.dumps(record, indent=2).encode() + b"\n")


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
