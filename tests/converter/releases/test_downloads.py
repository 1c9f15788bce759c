"""Releases by their name: what is fetched, kept, resumed and compared, and what comes of servers that misbehave."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import json
import os
import pathlib
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


def archive(seed: int) -> bytes:
    """Some 200 KB that begin as a packed archive does; what is in it is read by others."""
    return gzip.compress(np.random.default_rng(seed).bytes(200_000), 1)


ARCHIVE, OTHER = archive(1), archive(2)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pieces an archive, and faults that cost no time."""
    monkeypatch.setattr(downloads, "_PIECE", PIECE)
    monkeypatch.setattr(http_storage, "DEFAULT_PATIENCE", FAST)


@pytest.fixture
def server() -> Iterator[Server]:
    """Where one release stands."""
    with serving({PATH: ARCHIVE}) as running:
        yield running


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> pathlib.Path:
    """A cache folder that is not there yet."""
    return tmp_path / "cache"


def kept(cache: pathlib.Path) -> dict[str, bytes]:
    """Every file in the cache."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def partial(cache: pathlib.Path) -> pathlib.Path:
    """The one partial file in the cache."""
    (found,) = (cache / "releases").glob(f"{PATH}.part-*")
    return found


def break_off(server: Server, cache: pathlib.Path) -> pathlib.Path:
    """Let a download stop after 100,000 bytes; gives the partial file."""
    server.fault = cutting(100_000)
    with pytest.raises(tfckpt.TruncatedError):
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None
    return partial(cache)


def ranges(server: Server) -> list[str | None]:
    """What was asked for."""
    return [request.range for request in server.requests]


def cutting(count: int) -> Callable[[Handler, int], bool]:
    """A fault: after the first byte and so many more a server breaks off for good."""
    left = [count]

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
        if wanted is None or wanted == (0, 1):
            return False
        start, stop = wanted
        body = handler.data[start : min(stop, start + left[0])]
        left[0] -= len(body)
        fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
        handler.answer(206, fields, body, length=stop - start)
        return True

    return fault


# First and later uses


def test_first_use_fetches_the_archive_in_pieces_and_records_it(server: Server, cache: pathlib.Path) -> None:
    """One request for the facts, one a piece; each byte once. The record says what it was and where it came from."""
    told: list[tuple[int, int]] = []

    path = fetch(NAME, base_url=server.url, cache=cache, progress=lambda done, total: told.append((done, total)))

    assert path == str(cache / "releases" / PATH)
    assert set(kept(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}
    assert pathlib.Path(path).read_bytes() == ARCHIVE
    record = json.loads(pathlib.Path(f"{path}.json").read_bytes())
    assert record.pop("first_used").startswith("20")
    assert record == {
        "address": f"{server.url}{PATH}",
        "size": len(ARCHIVE),
        "version": '"0"',
        "sha256": hashlib.sha256(ARCHIVE).hexdigest(),
    }
    assert ranges(server) == [
        "bytes=0-0",
        "bytes=0-65535",
        "bytes=65536-131071",
        "bytes=131072-196607",
        f"bytes=196608-{len(ARCHIVE) - 1}",
    ]
    assert told[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert told == sorted(told)


def test_later_use_asks_no_server(server: Server, cache: pathlib.Path) -> None:
    """It is read from the cache, whatever the base URL."""
    path = fetch(NAME, base_url=server.url, cache=cache)
    before = kept(cache)
    server.forget()

    assert fetch(NAME, base_url=server.url, cache=cache) == path
    assert fetch(NAME, base_url="https://nowhere.invalid", cache=cache) == path

    assert server.requests == []
    assert kept(cache) == before


def test_talk_is_told_what_is_done(server: Server, cache: pathlib.Path) -> None:
    """What is fetched from where, and later that it is there."""
    said: list[str] = []

    path = fetch(NAME, base_url=server.url, cache=cache, talk=said.append)
    fetch(NAME, base_url=server.url, cache=cache, talk=said.append)

    assert said == [
        f"fetching {len(ARCHIVE):,} bytes from {server.url}{PATH}",
        f"{NAME} is kept as {path}",
        f"{NAME} is in the cache: {path}",
    ]


def test_archive_that_was_put_into_the_cache_is_used(cache: pathlib.Path) -> None:
    """As on a machine without a network; it gets its record at its first use, and a page is refused."""
    path = cache / "releases" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>")
    with pytest.raises(tfckpt.CheckpointNotFoundError):
        fetch(NAME, base_url="https://nowhere.invalid", cache=cache)
    path.write_bytes(ARCHIVE)

    assert fetch(NAME, base_url="https://nowhere.invalid", cache=cache) == str(path)

    record = json.loads(kept(cache)[f"releases/{PATH}.json"])
    assert (record["address"], record["sha256"]) == (None, hashlib.sha256(ARCHIVE).hexdigest())


# Where


@pytest.mark.parametrize("ending", ["", "/"], ids=["without slash", "with slash"])
def test_base_url_may_end_in_a_slash(ending: str, cache: pathlib.Path) -> None:
    """A folder of the server's either way."""
    with serving({f"my mirror/{PATH}": ARCHIVE}) as server:
        fetch(NAME, base_url=f"{server.url}my mirror{ending}", cache=cache)

        assert {request.path for request in server.requests} == {f"/my%20mirror/{PATH}"}


def test_query_and_password_of_a_base_url_go_with_every_request_and_are_not_kept(
    server: Server, cache: pathlib.Path
) -> None:
    """As of any other address."""
    said: list[str] = []

    fetch(NAME, base_url=f"{server.url}?token=secret".replace("//", "//me:secret@"), cache=cache, talk=said.append)

    assert {request.path for request in server.requests} == {f"/{PATH}?token=secret"}
    assert all("Authorization" in request.headers for request in server.requests)
    assert "secret" not in f"{said} {kept(cache)[f'releases/{PATH}.json']!r}"


@pytest.mark.parametrize(
    "base_url",
    ["", "ftp://host", "file:///models", "gs://bucket", "host/folder", "https://", "http://host:x", "http://[1"],
)
def test_base_url_that_is_no_web_address_is_refused(base_url: str, cache: pathlib.Path) -> None:
    """Before anything is asked or written."""
    with pytest.raises(ValueError, match="web address"):
        fetch(NAME, base_url=base_url, cache=cache)

    assert not cache.exists()


def test_name_that_is_no_release_is_refused_with_close_ones(cache: pathlib.Path) -> None:
    """Those of a network of that name before those that look like it."""
    for name, close in {
        "efficientnet-b0": "close names: efficientnet-b0-advprop, efficientnet-b0-noisystudent;",
        "efficientnetv2-z": "close names: efficientnetv2-",
        "../x": "tf2torch models",
    }.items():
        with pytest.raises(UnknownModelError, match=close):
            fetch(name, cache=cache)

    assert not cache.exists()


def test_cache_folder_is_named_by_argument_variable_or_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order; a variable that is empty or a relative XDG_CACHE_HOME says nothing."""
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


# Breaks


def test_download_that_breaks_off_is_resumed_by_the_next_call(server: Server, cache: pathlib.Path) -> None:
    """The error says so, and every byte is sent once."""
    server.fault = cutting(100_000)
    with pytest.raises(
        tfckpt.TruncatedError, match=r"100,000 of .* bytes are kept, and the next attempt goes on"
    ) as caught:
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None
    said: list[str] = []
    told: list[int] = []

    path = fetch(
        NAME, base_url=server.url, cache=cache, talk=said.append, progress=lambda done, total: told.append(done)
    )

    assert caught.value.path == server.url + PATH
    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert server.sent == len(ARCHIVE) + 2  # and the byte that tells the facts, twice
    assert "of which 100,000 are there already" in said[0]
    assert min(told) > 100_000
    assert set(kept(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}


def test_server_that_never_gives_the_end_is_given_up(server: Server, cache: pathlib.Path) -> None:
    """In few requests each time, and nothing gets the archive's name."""
    server.fault = cutting(100_000)
    for _ in range(3):
        with pytest.raises(tfckpt.TruncatedError):
            fetch(NAME, base_url=server.url, cache=cache)

    assert len(server.requests) == (1 + 1 + 2) + 2 * (1 + 2)
    assert list(kept(cache).values()) == [ARCHIVE[:100_000]]


HOLD = 150_000


@pytest.fixture
def holding(server: Server) -> Iterator[Server]:
    """The server sends 150 KB of the archive in one answer, and then nothing until the test ends."""
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


def started(server: Server, cache: pathlib.Path) -> subprocess.Popen[str]:
    """A command that fetches a release, once 150 KB have arrived."""
    process = subprocess.Popen(
        [sys.executable, "-m", "converter", "plan", NAME, "--base-url", server.url, "--cache", cache],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 20
    while ARCHIVE[:HOLD] not in kept(cache).values():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


def test_killed_download_is_resumed(holding: Server, cache: pathlib.Path) -> None:
    """SIGKILL leaves what had arrived, which is not fetched again."""
    process = started(holding, cache)
    process.kill()
    process.communicate()
    holding.fault = None
    holding.forget()

    path = fetch(NAME, base_url=holding.url, cache=cache)

    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert holding.sent == 1 + len(ARCHIVE) - HOLD
    assert set(kept(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}


@pytest.mark.skipif(os.name == "nt", reason="signals of this kind are POSIX")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by the system")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_interrupted_command_says_that_the_next_goes_on(
    number: int, code: int, word: str, holding: Server, cache: pathlib.Path
) -> None:
    """One line, beside what was fetched from where."""
    process = started(holding, cache)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (code, "")
    assert err.splitlines() == [
        f"fetching {len(ARCHIVE):,} bytes from {holding.url}{PATH}",
        f"tf2torch: {word}; {HOLD:,} of {len(ARCHIVE):,} bytes are kept, and the next attempt goes on from there",
    ]
    assert list(kept(cache).values()) == [ARCHIVE[:HOLD]]


@pytest.mark.parametrize("change", ["version", "size", "address", "too long"])
def test_part_of_another_file_is_removed_and_not_resumed(change: str, server: Server, cache: pathlib.Path) -> None:
    """Address, size and version have to agree, or the archive is fetched from its beginning."""
    part = break_off(server, cache)
    base_url, wanted = server.url, OTHER
    if change == "version":
        server.etags[PATH], server.files[PATH] = '"new"', OTHER
    elif change == "size":
        server.files[PATH] = wanted = OTHER + b"\0"
    elif change == "address":
        server.files["mirror/" + PATH] = OTHER
        server.etags["mirror/" + PATH] = server.etags[PATH]
        base_url += "mirror"
    else:
        part.write_bytes(OTHER + ARCHIVE)
        wanted = ARCHIVE
    server.forget()

    path = fetch(NAME, base_url=base_url, cache=cache)

    assert pathlib.Path(path).read_bytes() == wanted
    assert ranges(server)[1] == "bytes=0-65535"
    assert set(kept(cache)) == {f"releases/{PATH}", f"releases/{PATH}.json"}


def test_file_that_changes_between_two_pieces_is_never_mixed(server: Server, cache: pathlib.Path) -> None:
    """An error, and the next attempt fetches the new file from its beginning."""

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


def test_server_without_versions_is_asked_for_the_whole_at_once(server: Server, cache: pathlib.Path) -> None:
    """Two answers could be of two files; so what broke off is dropped, and nothing is left of it."""
    server.etags.clear()
    server.fault = cutting(100_000)
    with pytest.raises(tfckpt.TruncatedError) as caught:
        fetch(NAME, base_url=server.url, cache=cache)
    server.fault = None
    left = kept(cache)
    server.forget()

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert "are kept" not in str(caught.value)
    assert left == {}
    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert ranges(server) == ["bytes=0-0", f"bytes=0-{len(ARCHIVE) - 1}"]


def test_server_without_ranges_gives_the_whole_at_once(server: Server, cache: pathlib.Path) -> None:
    """Asked for a piece it would send all; that is asked for instead."""
    server.fault = whole

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert pathlib.Path(path).read_bytes() == ARCHIVE
    assert ranges(server) == ["bytes=0-0", "bytes=0-65535", f"bytes=0-{len(ARCHIVE) - 1}"]


def test_part_is_begun_anew_at_a_server_that_has_no_ranges_any_more(server: Server, cache: pathlib.Path) -> None:
    """What was there does not stay before the whole."""
    break_off(server, cache)
    server.fault = whole

    assert pathlib.Path(fetch(NAME, base_url=server.url, cache=cache)).read_bytes() == ARCHIVE


def test_server_of_pythons_own_serves_as_a_mirror(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    """`python -m http.server`, which knows no ranges."""
    (tmp_path / "mirror" / "v2").mkdir(parents=True)
    (tmp_path / "mirror" / PATH).write_bytes(ARCHIVE)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence."""

    class Mirror(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no news."""

    with Mirror(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "mirror"))) as mirror:
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        path = fetch(NAME, base_url=f"http://127.0.0.1:{mirror.server_port}", cache=cache)
        mirror.shutdown()
        thread.join()

    assert pathlib.Path(path).read_bytes() == ARCHIVE


# What is refused


def test_release_that_the_server_does_not_have_is_not_found(server: Server, cache: pathlib.Path) -> None:
    """With the address; the next attempt asks again."""
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        fetch("efficientnetv2-b1", base_url=server.url, cache=cache)

    assert caught.value.path == f"{server.url}v2/efficientnetv2-b1.tgz"
    assert kept(cache) == {}


@pytest.mark.parametrize("page", [b"<html>log in</html>", b""], ids=["page", "empty"])
def test_page_instead_of_an_archive_is_not_kept(page: bytes, server: Server, cache: pathlib.Path) -> None:
    """Such as a proxy's that wants a password; the archive is fetched once it is let through."""
    server.files[PATH] = page
    with pytest.raises(tfckpt.CheckpointNotFoundError):
        fetch(NAME, base_url=server.url, cache=cache)
    left = kept(cache)
    server.files[PATH] = ARCHIVE

    path = fetch(NAME, base_url=server.url, cache=cache)

    assert left == {}
    assert pathlib.Path(path).read_bytes() == ARCHIVE


def test_size_that_no_release_has_is_refused_before_a_byte_is_taken(server: Server, cache: pathlib.Path) -> None:
    """A server's word is bounded."""

    def fault(handler: Handler, number: int) -> bool:
        handler.answer(206, {**handler.version, "Content-Range": f"bytes 0-0/{1 << 50}"}, b"\x1f")
        return True

    server.fault = fault
    with pytest.raises(tfckpt.StorageError, match="1,125,899,906,842,624"):
        fetch(NAME, base_url=server.url, cache=cache)

    assert (len(server.requests), kept(cache)) == (1, {})


@pytest.mark.parametrize("damage", ["changed byte", "cut short"])
def test_archive_that_was_damaged_in_the_cache_is_told(damage: str, server: Server, cache: pathlib.Path) -> None:
    """With both checksums and what to do; that done, it is fetched again."""
    path = pathlib.Path(fetch(NAME, base_url=server.url, cache=cache))
    found = ARCHIVE[:100_000] if damage == "cut short" else ARCHIVE[:-1] + bytes([ARCHIVE[-1] ^ 1])
    path.write_bytes(found)

    with pytest.raises(tfckpt.CorruptionError) as caught:
        fetch(NAME, base_url=server.url, cache=cache)
    path.unlink()

    assert caught.value.path == str(path)
    assert hashlib.sha256(found).hexdigest() in str(caught.value)
    assert hashlib.sha256(ARCHIVE).hexdigest() in str(caught.value)
    assert pathlib.Path(fetch(NAME, base_url=server.url, cache=cache)).read_bytes() == ARCHIVE


@pytest.mark.parametrize("other", [OTHER, OTHER + b"\0"], ids=["same size", "another size"])
def test_archive_that_is_fetched_again_has_to_be_the_recorded_one(
    other: bytes, server: Server, cache: pathlib.Path
) -> None:
    """From whatever server; the error says how the new one is accepted, and it is not fetched twice for that."""
    assert len(OTHER) == len(ARCHIVE)  # else only sizes would be compared
    path = pathlib.Path(fetch(NAME, base_url=server.url, cache=cache))
    path.unlink()
    with serving({PATH: other}) as mirror:
        with pytest.raises(tfckpt.CorruptionError) as caught:
            fetch(NAME, base_url=mirror.url, cache=cache)
        assert not path.exists()
        assert len(mirror.requests) == (1 if len(other) != len(ARCHIVE) else 5)
        assert caught.value.path == mirror.url + PATH
        assert str(caught.value).endswith(f"remove the record {path}.json")
        assert hashlib.sha256(ARCHIVE).hexdigest() in str(caught.value)
        pathlib.Path(f"{path}.json").unlink()

        fetch(NAME, base_url=mirror.url, cache=cache)

        assert path.read_bytes() == other
        assert mirror.sent <= len(other) + 3


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"size": 1, "sha256": "x"}', b"\xff"], ids=repr)
def test_record_without_size_and_checksum_is_told(record: bytes, server: Server, cache: pathlib.Path) -> None:
    """Nothing is guessed from it."""
    path = fetch(NAME, base_url=server.url, cache=cache)
    pathlib.Path(f"{path}.json").write_bytes(record)

    with pytest.raises(tfckpt.CorruptionError) as caught:
        fetch(NAME, base_url=server.url, cache=cache)

    assert caught.value.path == f"{path}.json"


def test_cache_that_cannot_be_written_is_told(server: Server, tmp_path: pathlib.Path) -> None:
    """Before anything is fetched."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(WriteError):
        fetch(NAME, base_url=server.url, cache=tmp_path / "file" / "cache")

    assert server.requests == []


@pytest.mark.parametrize("name", [PATH, f"{PATH}.json"], ids=["archive", "record"])
@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)], ids=["folder", "pipe"])
def test_cache_entry_that_is_not_a_regular_file_is_told(
    make: Callable[[pathlib.Path], None], name: str, server: Server, cache: pathlib.Path
) -> None:
    """As an error of the family; a pipe would never end."""
    place = cache / "releases" / name
    place.parent.mkdir(parents=True)
    make(place)

    with pytest.raises(tfckpt.StorageError):
        fetch(NAME, base_url=server.url, cache=cache)


@pytest.mark.parametrize("make", [os.symlink, os.link, lambda _, place: os.mkfifo(place)], ids=["soft", "hard", "pipe"])
@pytest.mark.parametrize("kind", ["partial file", "lock"])
def test_link_or_pipe_in_the_cache_is_not_written_to(
    kind: str, make: Callable[[pathlib.Path, pathlib.Path], None], server: Server, cache: pathlib.Path
) -> None:
    """Who may write into the cache cannot have us write anywhere else."""
    precious = cache.parent / "precious"
    precious.write_bytes(b"precious")
    part = break_off(server, cache)
    part.unlink()
    make(precious, part if kind == "partial file" else cache / "releases" / f"{PATH}.lock")

    with contextlib.suppress(tfckpt.WriteError):  # a lock that is a link is refused
        assert not os.path.islink(fetch(NAME, base_url=server.url, cache=cache))

    assert precious.read_bytes() == b"precious"


def test_full_disk_is_told_and_what_fits_is_kept(
    server: Server, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room enough the next attempt goes on."""
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


def test_second_process_is_told_that_another_fetches(holding: Server, cache: pathlib.Path) -> None:
    """It does not touch what the first writes, and later finds the archive."""
    process = started(holding, cache)

    with pytest.raises(WriteError, match="another process"):
        fetch(NAME, base_url=holding.url, cache=cache)

    assert partial(cache).stat().st_size == HOLD
    process.kill()
    process.communicate()
    holding.fault = None
    assert pathlib.Path(fetch(NAME, base_url=holding.url, cache=cache)).read_bytes() == ARCHIVE


def test_archive_that_another_process_fetched_meanwhile_is_not_fetched_again(
    server: Server, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come between the look into the cache and the lock."""

    def late(lock: str, *, path: str, busy: str) -> FileLock:
        monkeypatch.setattr(downloads, "FileLock", FileLock)
        fetch(NAME, base_url=server.url, cache=cache)
        server.forget()
        return FileLock(lock, path=path, busy=busy)

    monkeypatch.setattr(downloads, "FileLock", late)
    path = fetch(NAME, base_url=server.url, cache=cache)

    assert server.requests == []
    assert pathlib.Path(path).read_bytes() == ARCHIVE
