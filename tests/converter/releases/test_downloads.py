"""Releases are downloaded once, cached, resumed and checked, whatever the server does."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tfckpt
from converter.errors import UnknownModelError
from converter.releases import downloads
from converter.releases.downloads import cache_folder, fetch
from tests.contracts.server import Handler, Server, serving, whole
from tfckpt.errors import WriteError
from tfckpt.files.lock import FileLock
from tfckpt.storage.remote import http as http_storage
from tfckpt.storage.remote import transport

FAST = transport.Patience(attempts=2, delay=0.001, timeout=5.0, total=20.0)
NAME = "efficientnetv2-b0"
PATH = "v2/efficientnetv2-b0.tgz"
PIECE = 64 << 10


def make_archive(seed: int) -> bytes:
    """Return about 200 KB with the signature of gzip; `fetch` does not read the contents."""
    return gzip.compress(np.random.default_rng(seed).bytes(200_000), 1)


ARCHIVE, OTHER = make_archive(1), make_archive(2)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a quarter of the archive, and fast retries."""
    monkeypatch.setattr(downloads, "_PIECE", PIECE)
    monkeypatch.setattr(http_storage, "DEFAULT_PATIENCE", FAST)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with one release."""
    with serving({PATH: ARCHIVE}) as running:
        yield running


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> pathlib.Path:
    """The path of a cache directory that does not exist."""
    return tmp_path / "cache"


def read_cache(cache: pathlib.Path) -> dict[str, bytes]:
    """Return the content of every file in the cache by path."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def find_partial(cache: pathlib.Path) -> pathlib.Path:
    """Return the path of the only partial file."""
    (path,) = (cache / "releases").glob(f"{PATH}.part-*")
    return path


def interrupt(server: Server, cache: pathlib.Path) -> pathlib.Path:
    """Interrupt a download after 100,000 bytes, and return the path of the partial file."""
    server.fault = make_interruption(100_000)
    with pytest.raises(tfckpt.TruncatedError):
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None
    return find_partial(cache)


def list_ranges(server: Server) -> list[str | None]:
    """Return the requested ranges."""
    return [request.range for request in server.requests]


def make_interruption(count: int) -> Callable[[Handler, int], bool]:
    """Return a fault: after the first byte and `count` more, the server sends nothing more."""
    remaining = [count]

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
        if wanted is None or wanted == (0, 1):
            return False
        start, stop = wanted
        body = handler.data[start : min(stop, start + remaining[0])]
        remaining[0] -= len(body)
        fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
        handler.answer(206, fields, body, length=stop - start)
        return True

    return fault


# First and later uses


def test_first_use_downloads_the_archive_in_pieces_and_records_it(server: Server, cache: pathlib.Path) -> None:
    """There is one request for the size and one for each piece, and the record has address, size and SHA-256."""
    progress: list[tuple[int, int]] = []

    path = fetch(NAME, base_url=server.url, cache=cache, progress=lambda *counts: progress.append(counts))

    assert path == str(cache / "releases" / PATH)
    assert set(read_cache(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}
    assert pathlib.Path(path).read_bytes() == ARCHIVE
    record = json.loads(pathlib.Path(f"{path}.json").read_bytes())
    assert record.pop("first_used").startswith("20")
    assert record == {
        "address": f"{server.url}{PATH}",
        "size": len(ARCHIVE),
        "version": '"0"',
        "sha256": hashlib.sha256(ARCHIVE).hexdigest(),
    }
    assert list_ranges(server) == [
        "bytes=0-0",
        "bytes=0-65535",
        "bytes=65536-131071",
        "bytes=131072-196607",
        f"bytes=196608-{len(ARCHIVE) - 1}",
    ]
    assert progress[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert progress == sorted(progress)


def test_later_use_sends_no_request(server: Server, cache: pathlib.Path) -> None:
    """The archive is in the cache, so the base URL does not matter."""
    path = fetch(NAME, base_url=server.url, cache=cache)
    before = read_cache(cache)
    server.forget()

    assert fetch(NAME, base_url=server.url, cache=cache) == path
    assert fetch(NAME, base_url="https://nowhere.invalid", cache=cache) == path

    assert server.requests == []
    assert read_cache(cache) == before


def test_talk_is_called_for_each_step(server: Server, cache: pathlib.Path) -> None:
    """The messages contain the address and the path, later only the path."""
    messages: list[str] = []

    path = fetch(NAME, base_url=server.url, cache=cache, talk=messages.append)
    fetch(NAME, base_url=server.url, cache=cache, talk=messages.append)

    download, stored, cached = messages
    assert f"{server.url}{PATH}" in download
    assert path in stored
    assert path in cached


def test_archive_copied_to_the_cache_is_used(cache: pathlib.Path) -> None:
    """No network is needed; the record is written at the first use, and a web page is rejected."""
    path = cache / "releases" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>")
    with pytest.raises(tfckpt.CheckpointNotFoundError):
        fetch(NAME, base_url="https://nowhere.invalid", cache=cache)
    path.write_bytes(ARCHIVE)

    assert fetch(NAME, base_url="https://nowhere.invalid", cache=cache) == str(path)

    record = json.loads(read_cache(cache)[f"releases/{PATH}.json"])
    assert (record["address"], record["sha256"]) == (None, hashlib.sha256(ARCHIVE).hexdigest())


# Addresses and directories


@pytest.mark.parametrize("ending", ["", "/"], ids=["without slash", "with slash"])
def test_base_url_may_end_in_a_slash(ending: str, cache: pathlib.Path) -> None:
    """The final slash is optional, and spaces are escaped."""
    with serving({f"my mirror/{PATH}": ARCHIVE}) as server:
        fetch(NAME, base_url=f"{server.url}my mirror{ending}", cache=cache)

        assert {request.path for request in server.requests} == {f"/my%20mirror/{PATH}"}


def test_query_and_password_of_a_base_url_are_sent_and_not_stored(server: Server, cache: pathlib.Path) -> None:
    """They occur neither in messages nor in the record."""
    messages: list[str] = []

    fetch(NAME, base_url=f"{server.url}?token=secret".replace("//", "//me:secret@"), cache=cache, talk=messages.append)

    assert {request.path for request in server.requests} == {f"/{PATH}?token=secret"}
    assert all("Authorization" in request.headers for request in server.requests)
    assert "secret" not in f"{messages} {read_cache(cache)[f'releases/{PATH}.json']!r}"


@pytest.mark.parametrize(
    "base_url",
    ["", "ftp://host", "file:///models", "gs://bucket", "host/folder", "https://", "http://host:x", "http://[1"],
)
def test_base_url_must_be_a_web_address(base_url: str, cache: pathlib.Path) -> None:
    """The error precedes requests and files."""
    with pytest.raises(ValueError, match=re.escape(repr(base_url))):
        fetch(NAME, base_url=base_url, cache=cache)

    assert not cache.exists()


def test_error_for_an_unknown_release_contains_close_names(cache: pathlib.Path) -> None:
    """Releases of a network with this name are preferred to similar names."""
    for name, close in {
        "efficientnet-b0": "efficientnet-b0-advprop, efficientnet-b0-noisystudent",
        "efficientnetv2-z": "efficientnetv2-s",
        "../x": "tf2torch models",
    }.items():
        with pytest.raises(UnknownModelError, match=close):
            fetch(name, cache=cache)

    assert not cache.exists()


def test_cache_directory_comes_from_argument_environment_or_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable and a relative XDG_CACHE_HOME are ignored."""
    monkeypatch.setenv("TFCKPT_CACHE", "by-variable")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", "/home/me"))

    assert cache_folder("given") == "given"
    assert cache_folder() == "by-variable"
    assert cache_folder("") == "by-variable"
    monkeypatch.setenv("TFCKPT_CACHE", "")
    assert cache_folder() == os.path.join("/caches", "tfckpt")
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert cache_folder() == os.path.join("/home/me", ".cache", "tfckpt")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(WriteError, match="TFCKPT_CACHE"):
        cache_folder()


# Interruptions


def test_interrupted_download_is_resumed_by_the_next_call(server: Server, cache: pathlib.Path) -> None:
    """The error has the address, and every byte is sent once."""
    server.fault = make_interruption(100_000)
    with pytest.raises(tfckpt.TruncatedError, match="100,000 of") as caught:
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None
    messages: list[str] = []
    counts: list[int] = []

    path = fetch(
        NAME, base_url=server.url, cache=cache, talk=messages.append, progress=lambda done, _: counts.append(done)
    )

    assert caught.value.path == server.url + PATH
    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert server.sent == len(ARCHIVE) + 2  # the first byte is requested twice to get the size
    assert "100,000" in messages[0]
    assert min(counts) > 100_000
    assert set(read_cache(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}


def test_server_that_never_sends_the_end_causes_an_error(server: Server, cache: pathlib.Path) -> None:
    """Each attempt makes few requests, and only the partial file remains."""
    server.fault = make_interruption(100_000)
    for _ in range(3):
        with pytest.raises(tfckpt.TruncatedError):
            fetch(NAME, base_url=server.url, cache=cache)

    assert len(server.requests) == (1 + 1 + 2) + 2 * (1 + 2)
    assert list(read_cache(cache).values()) == [ARCHIVE[:100_000]]


HOLD = 150_000


@pytest.fixture
def stalling(server: Server) -> Iterator[Server]:
    """A server that sends 150 KB of the archive in one response, and then nothing until the test ends."""
    ended = threading.Event()

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
        if wanted is None or wanted == (0, 1) or wanted[0] >= HOLD:
            return False
        start, stop = wanted
        body = handler.data[start : min(stop, HOLD)]
        fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
        handler.answer(206, fields, body, length=stop - start)
        if stop > HOLD:
            ended.wait(20)
        return True

    server.fault = fault
    yield server
    ended.set()


def start_command(server: Server, cache: pathlib.Path) -> subprocess.Popen[str]:
    """Start a command that downloads a release, and wait until 150 KB have arrived."""
    process = subprocess.Popen(
        [sys.executable, "-m", "converter", "plan", NAME, "--base-url", server.url, "--cache", cache],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while ARCHIVE[:HOLD] not in read_cache(cache).values():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_killed_download_is_resumed(stalling: Server, cache: pathlib.Path) -> None:
    """Bytes that arrived before SIGKILL are not sent again."""
    process = start_command(stalling, cache)
    process.kill()
    process.communicate()
    stalling.fault = None
    stalling.forget()

    path = fetch(NAME, base_url=stalling.url, cache=cache)

    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert stalling.sent == 1 + len(ARCHIVE) - HOLD
    assert set(read_cache(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}


@pytest.mark.skipif(os.name == "nt", reason="signals of this kind are POSIX")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by the system")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_interrupted_command_reports_the_stored_bytes(
    number: int, code: int, word: str, stalling: Server, cache: pathlib.Path
) -> None:
    """Standard error has one line for the download and one for the interruption."""
    process = start_command(stalling, cache)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (code, "")
    download, interruption = err.splitlines()
    assert f"{stalling.url}{PATH}" in download
    assert interruption.startswith(f"tf2torch: {word}")
    assert f"{HOLD:,} of {len(ARCHIVE):,} bytes" in interruption
    assert list(read_cache(cache).values()) == [ARCHIVE[:HOLD]]


@pytest.mark.parametrize("change", ["version", "size", "address", "too long"])
def test_partial_file_of_a_different_archive_is_not_resumed(change: str, server: Server, cache: pathlib.Path) -> None:
    """Unless address, size and version are the same, the download starts again."""
    part = interrupt(server, cache)
    base_url, expected = server.url, OTHER
    if change == "version":
        server.etags[PATH], server.files[PATH] = '"new"', OTHER
    elif change == "size":
        server.files[PATH] = expected = OTHER + b"\0"
    elif change == "address":
        server.files["mirror/" + PATH] = OTHER
        server.etags["mirror/" + PATH] = server.etags[PATH]
        base_url += "mirror"
    else:
        part.write_bytes(OTHER + ARCHIVE)
        expected = ARCHIVE
    server.forget()

    path = fetch(NAME, base_url=base_url, cache=cache)

    assert pathlib.Path(path).read_bytes() == expected
    assert list_ranges(server)[1] == "bytes=0-65535"
    assert set(read_cache(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}


def test_pieces_of_different_files_are_never_mixed(server: Server, cache: pathlib.Path) -> None:
    """A change between two pieces is an error, and the next attempt downloads the new file."""

    def fault(handler: Handler, number: int) -> bool:
        if number == 2:
            server.etags[PATH], server.files[PATH] = '"new"', OTHER
        return False

    server.fault = fault
    with pytest.raises(tfckpt.StorageError):
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert pathlib.Path(path).read_bytes() == OTHER


def test_complete_file_is_requested_from_a_server_without_versions(server: Server, cache: pathlib.Path) -> None:
    """Two responses may belong to different files, so the partial file is removed after an interruption."""
    server.etags.clear()
    server.fault = make_interruption(100_000)
    with pytest.raises(tfckpt.TruncatedError):
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None
    remaining = read_cache(cache)
    server.forget()

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert remaining == {}
    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert list_ranges(server) == ["bytes=0-0", f"bytes=0-{len(ARCHIVE) - 1}"]


def test_complete_file_is_requested_from_a_server_without_ranges(server: Server, cache: pathlib.Path) -> None:
    """The request for a piece is followed by one for the complete file."""
    server.fault = whole

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert list_ranges(server) == ["bytes=0-0", "bytes=0-65535", f"bytes=0-{len(ARCHIVE) - 1}"]


def test_partial_file_is_not_resumed_without_ranges(server: Server, cache: pathlib.Path) -> None:
    """The partial file is emptied before the complete file is written."""
    interrupt(server, cache)
    server.fault = whole

    assert pathlib.Path(fetch(NAME, base_url=server.url, cache=cache)).read_bytes() == ARCHIVE


def test_http_server_of_python_can_be_a_mirror(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    """`python -m http.server` does not support ranges."""
    (tmp_path / "mirror" / "v2").mkdir(parents=True)
    (tmp_path / "mirror" / PATH).write_bytes(ARCHIVE)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Log nothing."""

    class Mirror(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that disconnect."""

    with Mirror(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "mirror"))) as mirror:
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        path = fetch(NAME, base_url=f"http://127.0.0.1:{mirror.server_port}", cache=cache)
        mirror.shutdown()
        thread.join()

    assert pathlib.Path(path).read_bytes() == ARCHIVE


# Errors


def test_release_missing_on_the_server_is_not_found(server: Server, cache: pathlib.Path) -> None:
    """The error has the address, and nothing is stored."""
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        fetch("efficientnetv2-b1", base_url=server.url, cache=cache)

    assert caught.value.path == f"{server.url}v2/efficientnetv2-b1.tgz"
    assert read_cache(cache) == {}


@pytest.mark.parametrize("page", [b"<html>log in</html>", b""], ids=["page", "empty"])
def test_web_page_instead_of_an_archive_is_not_stored(page: bytes, server: Server, cache: pathlib.Path) -> None:
    """It may be the login page of a proxy; the archive is downloaded as soon as the server sends it."""
    server.files[PATH] = page
    with pytest.raises(tfckpt.CheckpointNotFoundError):
        fetch(NAME, base_url=server.url, cache=cache)
    remaining = read_cache(cache)
    server.files[PATH] = ARCHIVE

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert remaining == {}
    assert pathlib.Path(path).read_bytes() == ARCHIVE


def test_impossible_size_is_rejected_before_the_download(server: Server, cache: pathlib.Path) -> None:
    """The size that a server claims is limited."""

    def fault(handler: Handler, number: int) -> bool:
        handler.answer(206, {**handler.version, "Content-Range": f"bytes 0-0/{1 << 50}"}, b"\x1f")
        return True

    server.fault = fault
    with pytest.raises(tfckpt.StorageError, match="1,125,899,906,842,624"):
        fetch(NAME, base_url=server.url, cache=cache)

    assert (len(server.requests), read_cache(cache)) == (1, {})


@pytest.mark.parametrize("damage", ["changed byte", "truncated"])
def test_damaged_archive_in_the_cache_is_rejected(damage: str, server: Server, cache: pathlib.Path) -> None:
    """The error contains both checksums; after the archive is removed, it is downloaded again."""
    path = pathlib.Path(fetch(NAME, base_url=server.url, cache=cache))
    damaged = ARCHIVE[:100_000] if damage == "truncated" else ARCHIVE[:-1] + bytes([ARCHIVE[-1] ^ 1])
    path.write_bytes(damaged)

    with pytest.raises(tfckpt.CorruptionError) as caught:
        fetch(NAME, base_url=server.url, cache=cache)
    path.unlink()

    assert caught.value.path == str(path)
    assert hashlib.sha256(damaged).hexdigest() in str(caught.value)
    assert hashlib.sha256(ARCHIVE).hexdigest() in str(caught.value)
    assert pathlib.Path(fetch(NAME, base_url=server.url, cache=cache)).read_bytes() == ARCHIVE


@pytest.mark.parametrize("other", [OTHER, OTHER + b"\0"], ids=["same size", "different size"])
def test_archive_downloaded_again_must_match_the_record(other: bytes, server: Server, cache: pathlib.Path) -> None:
    """The error names the record to remove; then the stored bytes are accepted without another download."""
    assert len(OTHER) == len(ARCHIVE)  # otherwise only sizes would be compared
    path = pathlib.Path(fetch(NAME, base_url=server.url, cache=cache))
    path.unlink()
    with serving({PATH: other}) as mirror:
        with pytest.raises(tfckpt.CorruptionError) as caught:
            fetch(NAME, base_url=mirror.url, cache=cache)
        assert not path.exists()
        assert len(mirror.requests) == (1 if len(other) != len(ARCHIVE) else 5)
        assert caught.value.path == mirror.url + PATH
        assert f"{path}.json" in str(caught.value)
        assert hashlib.sha256(ARCHIVE).hexdigest() in str(caught.value)
        pathlib.Path(f"{path}.json").unlink()

        fetch(NAME, base_url=mirror.url, cache=cache)

        assert path.read_bytes() == other
        assert mirror.sent <= len(other) + 3


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"size": 1, "sha256": "x"}', b"\xff"], ids=repr)
def test_record_without_size_and_checksum_is_rejected(record: bytes, server: Server, cache: pathlib.Path) -> None:
    """The error has the path of the record."""
    path = fetch(NAME, base_url=server.url, cache=cache)
    pathlib.Path(f"{path}.json").write_bytes(record)

    with pytest.raises(tfckpt.CorruptionError) as caught:
        fetch(NAME, base_url=server.url, cache=cache)

    assert caught.value.path == f"{path}.json"


def test_cache_that_cannot_be_written_is_an_error(server: Server, tmp_path: pathlib.Path) -> None:
    """The error precedes all requests."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(WriteError):
        fetch(NAME, base_url=server.url, cache=tmp_path / "file" / "cache")

    assert server.requests == []


@pytest.mark.parametrize("name", [PATH, f"{PATH}.json"], ids=["archive", "record"])
@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)], ids=["folder", "pipe"])
def test_cache_entry_that_is_not_a_regular_file_is_rejected(
    make: Callable[[pathlib.Path], None], name: str, server: Server, cache: pathlib.Path
) -> None:
    """Reading a pipe might never end."""
    path = cache / "releases" / name
    path.parent.mkdir(parents=True)
    make(path)

    with pytest.raises(tfckpt.StorageError) as caught:
        fetch(NAME, base_url=server.url, cache=cache)

    assert caught.value.path == str(path)


@pytest.mark.parametrize("make", [os.symlink, os.link, lambda _, path: os.mkfifo(path)], ids=["soft", "hard", "pipe"])
@pytest.mark.parametrize("kind", ["partial file", "lock"])
def test_link_or_pipe_in_the_cache_is_not_written_to(
    kind: str, make: Callable[[pathlib.Path, pathlib.Path], None], server: Server, cache: pathlib.Path
) -> None:
    """Someone who can write to the cache cannot make us write to other files."""
    precious = cache.parent / "precious"
    precious.write_bytes(b"precious")
    part = interrupt(server, cache)
    part.unlink()
    make(precious, part if kind == "partial file" else cache / "releases" / f"{PATH}.lock")

    with contextlib.suppress(tfckpt.WriteError):  # a lock that is a link is rejected
        assert not os.path.islink(fetch(NAME, base_url=server.url, cache=cache))

    assert precious.read_bytes() == b"precious"


def test_download_is_resumed_after_a_full_disk(
    server: Server, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error contains the number of stored bytes, and the next attempt resumes there."""
    resource = pytest.importorskip("resource", reason="limits of files are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(WriteError, match="100,000 of"):
            fetch(NAME, base_url=server.url, cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    server.forget()

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert server.sent == 1 + len(ARCHIVE) - 100_000


# Several processes


def test_second_process_gets_an_error_during_a_download(stalling: Server, cache: pathlib.Path) -> None:
    """It does not change the partial file of the first process, and later resumes it."""
    process = start_command(stalling, cache)

    with pytest.raises(WriteError):
        fetch(NAME, base_url=stalling.url, cache=cache)

    assert find_partial(cache).stat().st_size == HOLD
    process.kill()
    process.communicate()
    stalling.fault = None
    assert pathlib.Path(fetch(NAME, base_url=stalling.url, cache=cache)).read_bytes() == ARCHIVE


def test_archive_from_another_process_is_not_downloaded_again(
    server: Server, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process may finish between our check of the cache and the lock."""

    def download_before_locking(lock: str, *, path: str, busy: str) -> FileLock:
        monkeypatch.setattr(downloads, "FileLock", FileLock)
        fetch(NAME, base_url=server.url, cache=cache)
        server.forget()
        return FileLock(lock, path=path, busy=busy)

    monkeypatch.setattr(downloads, "FileLock", download_before_locking)
    path = fetch(NAME, base_url=server.url, cache=cache)

    assert server.requests == []
    assert pathlib.Path(path).read_bytes() == ARCHIVE
