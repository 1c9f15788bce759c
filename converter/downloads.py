"""Released archives: fetched once from their address, kept in a cache folder, and compared at every use.

::

    CACHE/releases/v2/efficientnetv2-s.tgz             the archive
    CACHE/releases/v2/efficientnetv2-s.tgz.json        its record of the first use: address, size, version, SHA-256
    CACHE/releases/v2/efficientnetv2-s.tgz.part        what has arrived of it, for the next attempt to go on with
    CACHE/releases/v2/efficientnetv2-s.tgz.part.json   what that is a part of: address, size, version

No published checksums of the releases are known, so the first use is trusted and every later one has to agree with
it, wherever the archive comes from then.
Names in the cache come from the table of releases, none from a server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import stat
import urllib.parse
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from tfckpt.atomic import atomic_file, sync_folder, writing
from tfckpt.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    StorageError,
    UnsupportedFeatureError,
    WriteError,
    printable,
)
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.locking import FileLock
from tfckpt.stopping import Stopped
from tfckpt.storage.kinds import archive_kind
from tfckpt.storage.local import LocalStorage
from tfckpt.storage.transport import Facts
from tfckpt.what_is import what_is

from .zoo import BASE_URL, Release, find_release

if TYPE_CHECKING:
    from tfckpt.storage.http import HttpTransport

    from ._typing import PathLike, Progress

#: The environment variable that names the cache folder.
CACHE_VARIABLE = "TFCKPT_CACHE"

#: Bytes asked for at once: a break costs at most that question's attempts, and a server counts few requests.
_PIECE = 32 << 20
#: No release has a tenth of it; what a server says is not believed beyond.
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
    """Give the path of a release's archive, which is fetched from its address unless the cache has it.

    `base_url` is where the archives stand, if not at their publisher's; `cache` the folder that keeps them, if not the
    one that `cache_folder` gives. What broke off is resumed by the next call.
    Size and SHA-256 are recorded at the first use and compared at every later one.
    `talk` is told in sentences what is done.

    Raises `UnknownModelError` for a name that is no release's, `ValueError` for a `base_url` that is no web address,
    `CorruptionError` for an archive that is not the one of the first use, and otherwise what `tfckpt` raises about
    servers and files.
    """
    found = find_release(release)
    transport, address = _place(found, BASE_URL if base_url is None else base_url)
    entry = _Entry(os.path.join(cache_folder(cache), "releases", *found.path.split("/")))
    talk = talk or _silence
    if not entry.check():
        folder = os.path.dirname(entry.path)
        with writing(folder):
            os.makedirs(folder, exist_ok=True)
        with FileLock(f"{entry.path}.lock", path=entry.path, busy="another process is fetching this release"):
            if not entry.check():  # which another process may have changed meanwhile
                _fetch_into(entry, transport, address, progress, talk)
                talk(f"{found.name} is kept as {entry.path}")
                return entry.path
    talk(f"{found.name} is in the cache: {entry.path}")
    return entry.path


def cache_folder(cache: PathLike | None = None) -> str:
    """Give the folder that keeps what is fetched: `cache`, or else what the environment says, or `~/.cache/tfckpt`."""
    chosen = os.fspath(cache or "") or os.environ.get(CACHE_VARIABLE)
    if chosen:
        return chosen
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # which its specification says to ignore
        caches = os.path.expanduser(os.path.join("~", ".cache"))
    if not os.path.isabs(caches):
        raise WriteError(f"there is no home folder to keep releases in; name a folder with --cache or {CACHE_VARIABLE}")
    return os.path.join(caches, "tfckpt")


def check_base_url(base_url: str) -> urllib.parse.SplitResult:
    """Give the parts of a web address, http or https; `ValueError` for anything else."""
    try:
        parts = urllib.parse.urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(f"{base_url!r} is no web address such as https://host/folder")
    return parts


def _place(release: Release, base_url: str) -> tuple[HttpTransport, str]:
    """The way to an archive's server, and its address without what is never shown."""
    from tfckpt.storage.http import HttpTransport  # and with it the library's, which no local conversion needs

    parts = check_base_url(base_url)
    user, _, host = parts.netloc.rpartition("@")
    path = urllib.parse.quote(parts.path, safe="/%!$&'()*+,;=:@~-._")
    plain = urllib.parse.urlunsplit((parts.scheme, host, path, "", ""))
    return HttpTransport(query=parts.query, user=user), release.address(plain)


@dataclasses.dataclass(frozen=True, slots=True)
class _Fingerprint:
    """What tells an archive from any other."""

    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes, SHA-256 {self.sha256}"


class _Entry:
    """A place in the cache: an archive and its record, either of which may be missing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.record_path = f"{path}.json"

    def check(self) -> bool:
        """Whether the archive is there, as its record says; without a record this is its first use.

        So an archive that was put there by hand is used as if it had been fetched.
        """
        if not os.path.lexists(self.path):
            return False
        found = _fingerprint(self.path)
        recorded = self.recorded()
        if recorded is None:
            _require_archive(self.path, self.path)
            self.remember(found, None, None)
        elif found != recorded:
            raise CorruptionError(
                f"the archive in the cache is not what it was at its first use: it has {found}; "
                f"recorded are {recorded}; remove it, and it is fetched again",
                path=self.path,
            )
        return True

    def recorded(self) -> _Fingerprint | None:
        """What the archive was at its first use; None before it."""
        record = _read_json(self.record_path)
        if record is None:
            return None
        size, sha256 = record.get("size"), record.get("sha256")
        if not isinstance(size, int) or not isinstance(sha256, str) or len(sha256) != _SHA256_DIGITS:
            raise CorruptionError(
                "the record of a release has no size and SHA-256; remove it, and the archive is trusted as at first",
                path=self.record_path,
            )
        return _Fingerprint(size, sha256)

    def remember(self, found: _Fingerprint, address: str | None, version: str | None) -> None:
        """Make the record; `address` is None for an archive that was not fetched."""
        _write_json(
            self.record_path,
            {
                "address": address,
                "size": found.size,
                "version": version,
                "sha256": found.sha256,
                "first_used": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            },
        )

    def changed(self, recorded: _Fingerprint, what: object, address: str) -> CorruptionError:
        """The error for an archive of another content than the first."""
        return CorruptionError(
            f"the archive there is not the one of the first use: it has {what}; recorded are {recorded}; "
            f"if the new one is right, remove the record {printable(self.record_path)}",
            path=address,
        )


def _fetch_into(
    entry: _Entry, transport: HttpTransport, address: str, progress: Progress | None, talk: Callable[[str], None]
) -> None:
    """Fetch an archive, or the rest of it, and give it its name in the cache when it is what it should be."""
    recorded = entry.recorded()
    facts = transport.stat(address)
    if facts.size > _LARGEST:
        raise StorageError(f"the server says {facts.size:,} bytes, and no release has {_LARGEST:,}", path=address)
    if recorded is not None and recorded.size != facts.size:
        raise entry.changed(recorded, f"{facts.size:,} bytes", address)
    with _Part(f"{entry.path}.part", transport, address, facts, progress) as part:
        there = f", of which {part.size:,} are there already" if part.size else ""
        talk(f"fetching {facts.size:,} bytes from {address}{there}")
        part.fill()
        found = _fingerprint(part.path)
        if recorded is None:
            entry.remember(found, address, facts.version)
        elif found != recorded:
            raise entry.changed(recorded, found, address)
        with writing(entry.path):
            os.replace(part.path, entry.path)
    sync_folder(os.path.dirname(entry.path))


class _Part:
    """What has arrived of an archive, in a file that a later attempt goes on with if the server has the same archive.

    It takes the bytes from the transport. Left before it is whole, it says in the error what is kept.
    """

    def __init__(
        self, path: str, transport: HttpTransport, address: str, facts: Facts, progress: Progress | None
    ) -> None:
        """Open it: what is there of the same archive is kept. Without a version nobody can tell that it is the same."""
        self.path = path
        self.size = 0
        self._transport = transport
        self._address = address
        self._facts = facts
        self._progress = progress
        self._goes_on = facts.version is not None
        self._of = {"address": address, **dataclasses.asdict(facts)}
        self._of_path = f"{path}.json"
        known = _read_json(self._of_path)
        with writing(path):
            self._file = _opened_alone(path)  # closed by `__exit__`
        size = os.fstat(self._file.fileno()).st_size
        if self._goes_on and size <= facts.size and known == self._of:
            self.size = size
        else:
            self._begin()

    def fill(self) -> None:
        """Fetch what is missing, bring it to the disk, and refuse what is no archive."""
        while self.size < self._facts.size:
            length = min(_PIECE, self._facts.size - self.size) if self._goes_on else self._facts.size
            try:
                self._transport.copy(self._address, self.size, length, self, self._facts)
            except UnsupportedFeatureError:
                if length == self._facts.size:
                    raise
                # The server gives whole files only, so that a later attempt has to begin anew as well.
                self._goes_on = False
                self._begin()
        self._sync()
        try:
            _require_archive(self.path, self._address)
        except CheckpointNotFoundError:
            self._goes_on = False
            raise

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        with writing(self.path):
            self._file.write(data)
            self._file.flush()  # a killed process leaves what has arrived
        self.size += len(data)
        if self._progress is not None:
            self._progress(self.size, self._facts.size)

    def restart(self) -> None:
        """Drop everything: only a whole file is ever begun anew."""
        self._truncate(0)

    def _begin(self) -> None:
        """Drop everything, and only then say what is to come: no bytes ever stand under the facts of another file."""
        self._truncate(0)
        self._sync()
        _write_json(self._of_path, self._of)

    def _truncate(self, size: int) -> None:
        with writing(self.path):
            self._file.truncate(size)
        self.size = size

    def _sync(self) -> None:
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> _Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk, which `error` tells
            self._file.close()
        size = os.path.getsize(self.path) if os.path.lexists(self.path) else 0
        if error is None or not self._goes_on or not size:
            for path in (self.path, self._of_path):
                with contextlib.suppress(OSError):
                    os.unlink(path)
        elif size < self._facts.size:
            kept = f"{size:,} of {self._facts.size:,} bytes are kept, and the next attempt goes on from there"
            if isinstance(error, CheckpointError):
                error.message += f"; {kept} if the server still has the same file"
            elif isinstance(error, KeyboardInterrupt | Stopped):
                error.args = (kept,)


def _opened_alone(path: str) -> BinaryIO:
    """Open a file for appending that has no other name: a link there would have us write into another file."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
            os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o666), "ab")


def _require_file(path: str) -> None:
    """Refuse what is no file: a pipe would never give its bytes."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise StorageError("cannot read the file: it is none", path=path)


def _require_archive(path: str, shown: str) -> None:
    """Refuse what is no archive, such as the page of a proxy that wants a password."""
    source = LocalStorage(mmap=False).open(path)
    try:
        if archive_kind(source) is None:
            raise CheckpointNotFoundError(f"this is no archive of a release but {what_is(source)}", path=shown)
    finally:
        source.close()


def _fingerprint(path: str) -> _Fingerprint:
    digest = hashlib.sha256()
    size = 0
    _require_file(path)
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_BUFFER):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise StorageError(f"cannot read the file: {error.strerror}", path=path) from error
    return _Fingerprint(size, digest.hexdigest())


def _read_json(path: str) -> dict[str, Any] | None:
    """The object in a small file; None if there is no file, and an empty one if it holds something else."""
    _require_file(path)
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(_LARGEST_RECORD))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read the file: {error.strerror}", path=path) from error
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: str, record: dict[str, Any]) -> None:
    with atomic_file(path, overwrite=True) as file:
        file.write(json.dumps(record, indent=2).encode() + b"\n")


def _silence(_: str) -> None:
    """Nobody listens."""
