"""Checkpoints on web servers: how much is asked for, and what comes of servers that misbehave."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import socket
import ssl
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.arrays import digest
from tests.contracts.server import Fault, Handler, Server, serving, whole
from tfckpt.storage.remote import http, transport

FAST = transport.Patience(attempts=3, delay=0.001, timeout=0.4, total=5.0)
KIB = 1 << 10


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults cost tests no time."""
    monkeypatch.setattr(http, "DEFAULT_PATIENCE", FAST)


def files_of(bundle: builders.Bundle, prefix: str = "model") -> dict[str, bytes]:
    """The files of a bundle by name."""
    shards = {
        f"{prefix}.data-{shard_id:05d}-of-{bundle.num_shards:05d}": bytes(data)
        for shard_id, data in bundle.shards.items()
    }
    return {f"{prefix}.index": bundle.index(), **shards}


def floats(count: int, seed: int = 0) -> bytes:
    """That many float32 values."""
    return np.random.default_rng(seed).standard_normal(count).astype("<f4").tobytes()


LARGE = floats(100_000)
SMALL = {f"small/{number:03d}": floats(25, number) for number in range(200)}


@pytest.fixture
def server() -> Iterator[Server]:
    """A checkpoint with one tensor of 400 KB amid 200 of 100 bytes, in order of the names."""
    bundle = builders.Bundle()
    for name, payload in sorted({**SMALL, "large": LARGE}.items(), key=lambda item: item[0] > "small/099"):
        bundle.add(name, builders.FLOAT, [len(payload) // 4], payload)
    with serving(files_of(bundle)) as running:
        yield running


@pytest.fixture
def many() -> Iterator[Server]:
    """The 20 000 tensors that TensorFlow wrote, with an index of 1.5 MB."""
    path = pathlib.Path(__file__).parents[3] / "data" / "tensorflow" / "many.tgz"
    with tarfile.open(path) as archive:
        files = {pathlib.PurePath(m.name).name: archive.extractfile(m) for m in archive if m.isfile()}
        with serving({name: file.read() for name, file in files.items() if file is not None}) as running:
            yield running


# How much is asked for


def test_listing_fetches_the_index_once(server: Server) -> None:
    """A small index takes one request, and the data shard none."""
    with tfckpt.open(server.url + "model") as checkpoint:
        names = list(checkpoint)

    assert len(names) == 201
    assert [request.path for request in server.requests] == ["/model.index"]
    assert server.sent == len(server.files["model.index"])


def test_listing_a_large_index_fetches_each_byte_once(many: Server) -> None:
    """An index of several blocks is fetched in growing pieces that never overlap."""
    with tfckpt.open(many.url + "ckpt") as checkpoint:
        assert len(checkpoint) == 20_000

    assert many.sent == len(many.files["ckpt.index"])
    assert len(many.requests) <= 5
    assert {request.path for request in many.requests} == {"/ckpt.index"}


def test_first_tensor_takes_two_requests(server: Server) -> None:
    """One for the index, one for the tensor's own bytes; together at most 64 KiB more than the tensor."""
    with tfckpt.open(server.url + "model") as checkpoint:
        large = checkpoint["large"]

    assert large.tobytes() == LARGE
    assert len(server.requests) == 2
    assert server.requests[1].sent == len(LARGE)
    assert server.sent <= len(LARGE) + 64 * KIB


def test_one_tensor_of_many_takes_one_block_of_the_index(many: Server) -> None:
    """The end of the index, the block of the header, the block of the name, and the tensor."""
    record = json.loads(many.files["expected.json"])["checkpoints"][0]["tensors"][25]

    with tfckpt.open(many.url + "ckpt") as checkpoint:
        array = checkpoint[record["name"]]

    assert digest(array) == record["sha256"]
    assert len(many.requests) == 4
    assert many.sent <= 64 * KIB + 2 * 263_000 + array.nbytes


def test_neighbours_of_a_small_tensor_come_with_it(server: Server) -> None:
    """Small tensors that stand together are fetched together, 16 KiB at a time."""
    with tfckpt.open(server.url + "model") as checkpoint:
        list(checkpoint)
        checkpoint["small/100"]
        server.forget()
        arrays = {name: checkpoint[name] for name in SMALL if name > "small/100"}

    assert all(array.tobytes() == SMALL[name] for name, array in arrays.items())
    assert len(server.requests) == 1
    assert server.sent <= 16 * KIB


def test_many_tensors_are_fetched_in_few_ranges(server: Server) -> None:
    """All 201 tensors lie close together, so that one range holds them."""
    with tfckpt.open(server.url + "model") as checkpoint:
        list(checkpoint)
        server.forget()
        arrays = dict(checkpoint.read_many())

    assert {name: array.tobytes() for name, array in arrays.items()} == {**SMALL, "large": LARGE}
    assert len(server.requests) == 2
    assert server.sent == len(server.files["model.data-00000-of-00001"]) + 1


def test_many_tensors_far_apart_are_fetched_each_by_itself(server: Server) -> None:
    """What lies between them is not fetched."""
    with tfckpt.open(server.url + "model") as checkpoint:
        list(checkpoint)
        server.forget()
        arrays = dict(checkpoint.read_many(["small/199", "small/000"]))

    assert list(arrays) == ["small/199", "small/000"]
    assert arrays["small/000"].tobytes() == SMALL["small/000"]
    assert server.sent < 33 * KIB


def test_unverified_part_fetches_only_its_rows() -> None:
    """Of a matrix of 1 MB ten rows are fetched; verified, the whole payload is."""
    matrix = np.arange(250_000, dtype="<f4").reshape(1000, 250)
    bundle = builders.Bundle().add("matrix", builders.FLOAT, [1000, 250], matrix.tobytes())
    with serving(files_of(bundle)) as server, tfckpt.open(server.url + "model") as checkpoint:
        server.forget()

        rows = checkpoint.read("matrix", index=np.s_[500:600], verify=False)
        unverified = server.sent
        checked = checkpoint.read("matrix", index=np.s_[500:600])

    np.testing.assert_array_equal(rows, matrix[500:600])
    np.testing.assert_array_equal(checked, matrix[500:600])
    assert unverified == 100 * 250 * 4
    assert server.sent - unverified >= matrix.nbytes - unverified


def test_part_of_a_partitioned_tensor_fetches_only_its_slices() -> None:
    """A slice that holds no selected row is not touched, also when verified."""
    rows = np.arange(4 * 25_000, dtype="<f4").reshape(4, 25_000)
    pieces = [([(number, 1), None], rows[number].tobytes()) for number in range(4)]
    bundle = builders.Bundle().add_slices("rows", builders.FLOAT, [4, 25_000], pieces)
    with serving(files_of(bundle)) as server, tfckpt.open(server.url + "model") as checkpoint:
        server.forget()

        part = checkpoint.read("rows", index=2)

    np.testing.assert_array_equal(part, rows[2])
    assert server.sent <= 100_000 + 1


def test_folder_is_known_by_its_state_file(server: Server) -> None:
    """HTTP has no listing: the state file says which checkpoint, with or without a slash at the end."""
    state = b'model_checkpoint_path: "step 7"\nall_model_checkpoint_paths: "step 7"\n'
    renamed = {name.replace("model", "run/step 7"): data for name, data in server.files.items()}
    with serving({**renamed, "run/checkpoint": state}) as running:
        for address, most in (("run/", 3), ("run", 4), ("run/checkpoint", 6)):
            running.forget()
            with tfckpt.open(running.url + address) as checkpoint:
                assert checkpoint["large"].tobytes() == LARGE
                assert checkpoint.prefix == f"{running.url}run/step%207"
            assert len(running.requests) <= most


def test_folder_without_a_state_file_is_not_found(server: Server) -> None:
    """There is nothing to list; the prefix beside it opens."""
    with pytest.raises(tfckpt.CheckpointNotFoundError, match="HTTP has no listing; name a checkpoint in it"):
        tfckpt.open(server.url)

    assert len(tfckpt.open(server.url + "model")) == 201


def test_member_files_mean_their_checkpoint(server: Server) -> None:
    """The index and a data shard open as on a disk."""
    for name in ("model.index", "model.data-00000-of-00001"):
        with tfckpt.open(server.url + name) as checkpoint:
            assert checkpoint.prefix == server.url + "model"


def test_query_and_password_go_with_every_request_and_are_not_shown(server: Server) -> None:
    """Access data of an address is sent, kept out of messages, and kept by pickling."""
    address = server.url.replace("//", "//me:se%20cret@") + "model?token=abc"

    with tfckpt.open(address) as checkpoint:
        checkpoint["large"]
        shown = repr(checkpoint) + " ".join(checkpoint.files)
        given_again = str(checkpoint.__reduce__()[1])

    assert {request.path.partition("?")[2] for request in server.requests} == {"token=abc"}
    assert {request.headers["Authorization"] for request in server.requests} == {"Basic bWU6c2UgY3JldA=="}
    assert "token" not in shown
    assert "cret" not in shown
    assert "token=abc" in given_again
    assert "me:se%20cret@" in given_again


def test_missing_shard_says_what_it_costs(server: Server) -> None:
    """As on a disk; tensors of the shard that is there read."""
    bundle = builders.Bundle(num_shards=2)
    bundle.add("here", builders.FLOAT, [25], SMALL["small/000"])
    bundle.add("lost", builders.FLOAT, [25], SMALL["small/001"], shard_id=1)
    files = files_of(bundle)
    del files["model.data-00001-of-00002"]
    with serving(files) as running, tfckpt.open(running.url + "model") as checkpoint:
        with pytest.raises(tfckpt.CheckpointNotFoundError, match="1 of 2 tensors cannot be read without it"):
            checkpoint["lost"]

        assert checkpoint["here"].tobytes() == SMALL["small/000"]
        assert checkpoint.missing_files() == {f"{running.url}model.data-00001-of-00002": ("lost",)}


# Servers that misbehave


def test_passing_faults_are_borne_with(server: Server) -> None:
    """A server that is overloaded, resets a connection and stops half-way gives the right bytes in the end."""

    def fault(handler: Handler, number: int) -> bool:
        if number % 3 == 0:
            handler.answer(503, {"Retry-After": "0"}, b"busy")
            return True
        if number % 3 == 1:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            handler.connection.close()
            return True
        return False

    server.fault = fault

    with tfckpt.open(server.url + "model") as checkpoint:
        assert checkpoint["large"].tobytes() == LARGE


def test_answer_that_stops_is_resumed_where_it_stopped(server: Server) -> None:
    """Bytes that arrived are not asked for again."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.wanted()
        if number != 1 or wanted is None:
            return False
        start, stop = wanted
        body = handler.data[start : start + 150_000]
        handler.answer(
            206, {**handler.version, "Content-Range": handler.content_range(start, stop)}, body, length=400_000
        )
        return True

    server.fault = fault

    with tfckpt.open(server.url + "model") as checkpoint:
        assert checkpoint["large"].tobytes() == LARGE

    assert [request.sent for request in server.requests[1:]] == [150_000, 250_000]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_lasting_fault_is_an_error_with_the_address(server: Server, status: int) -> None:
    """After the last attempt the answer is told."""
    server.fault = answering(status)

    with pytest.raises(tfckpt.StorageError, match=f"the server answers {status} .* in 3 attempts") as caught:
        tfckpt.open(server.url + "model")

    assert caught.value.path == f"{server.url}model.index"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 418])
def test_refusal_is_not_asked_again(server: Server, status: int) -> None:
    """Waiting does not help there."""
    server.fault = answering(status)

    with pytest.raises(tfckpt.StorageError, match=str(status)):
        tfckpt.open(server.url + "model")

    assert len(server.requests) == 1


def test_server_that_is_not_there_is_an_error_with_the_address() -> None:
    """Nothing listens; the message has the reason."""
    with serving({}) as gone:
        address = gone.url + "model"

    with pytest.raises(tfckpt.StorageError, match="cannot reach the server") as caught:
        tfckpt.open(address)

    assert caught.value.path == f"{address}.index"


def answering(status: int) -> Fault:
    """Every request is answered so."""

    def fault(handler: Handler, number: int) -> bool:
        handler.answer(status, {}, b"")
        return True

    return fault


def test_server_without_ranges_is_refused_before_the_file_is_taken(server: Server) -> None:
    """Its small index is all that was wanted of it and serves; the data shard is refused by its head."""
    server.fault = whole

    with tfckpt.open(server.url + "model") as checkpoint:
        assert len(checkpoint) == 201
        with pytest.raises(tfckpt.UnsupportedFeatureError, match="does not give parts of files") as caught:
            checkpoint["large"]

    assert caught.value.path == f"{server.url}model.data-00000-of-00001"


def test_server_without_ranges_gives_a_checkpoint_of_one_tensor() -> None:
    """The whole file is what was asked for."""
    with serving(files_of(builders.Bundle().add("only", builders.FLOAT, [25], SMALL["small/000"]))) as server:
        server.fault = whole

        with tfckpt.open(server.url + "model") as checkpoint:
            assert checkpoint["only"].tobytes() == SMALL["small/000"]


def test_server_without_ranges_gives_an_archive(server: Server) -> None:
    """An archive is wanted whole in any case; one that is too large is refused by its head."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in server.files.items():
            member = tarfile.TarInfo(f"net/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with serving({"net.tgz": buffer.getvalue()}) as running:
        running.fault = whole

        with tfckpt.open(running.url + "net.tgz") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE
        with tfckpt.open(running.url + "net.tgz!net/model", mmap=False) as checkpoint:
            assert len(checkpoint) == 201
        with pytest.raises(tfckpt.LimitExceededError, match="too large to download"):
            tfckpt.open(running.url + "net.tgz", limits=tfckpt.Limits(max_download_bytes=1000))


Tail = Callable[[Handler, int, int], None]


def partial(handler: Handler, start: int, stop: int, **lies: object) -> None:
    """A partial answer, with one thing wrong."""
    fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
    body = handler.data[start:stop]
    if "range" in lies:
        fields["Content-Range"] = str(lies["range"]).format(start=start, stop=stop, size=len(handler.data))
    if "shift" in lies:
        fields["Content-Range"] = handler.content_range(start + 1, stop)
        body = body[1:]
    handler.answer(206, fields, body[: len(body) // 2] if "half" in lies else body, length=_length(lies, len(body)))


def _length(lies: dict[str, object], size: int) -> int:
    extra = lies.get("longer", 0)
    assert isinstance(extra, int)
    return size + extra


@pytest.mark.parametrize(
    ("lies", "kind", "message"),
    [
        ({"half": True}, tfckpt.TruncatedError, "the server stopped after"),
        ({"longer": 10}, tfckpt.StorageError, "the server contradicts itself"),
        ({"shift": True}, tfckpt.StorageError, "asked for were"),
        ({"range": "bytes {start}-{stop}/{size}"}, tfckpt.StorageError, "the server contradicts itself"),
        ({"range": "bytes */{size}"}, tfckpt.StorageError, "does not say which part"),
        ({"range": "rows 1-2/3"}, tfckpt.StorageError, "does not say which part"),
        ({"range": "bytes {start}-{stop}/*"}, tfckpt.StorageError, "does not say which part"),
    ],
    ids=["stops half-way", "longer than it says", "another part", "one byte more", "no part", "no bytes", "no total"],
)
def test_answer_that_lies_is_an_error_of_the_family(
    server: Server, lies: dict[str, object], kind: type[tfckpt.CheckpointError], message: str
) -> None:
    """The head of an answer is compared with the question, and with itself; honest answers read."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.wanted()
        if not handler.name.endswith("00001") or wanted is None:
            return False
        start, stop = wanted
        partial(handler, start, stop, **lies)
        return True

    with tfckpt.open(server.url + "model") as checkpoint:
        server.fault = fault
        with pytest.raises(kind, match=message) as caught:
            checkpoint["large"]
        server.fault = None
        honest = checkpoint["large"]

    assert caught.value.path == f"{server.url}model.data-00000-of-00001"
    assert honest.tobytes() == LARGE


def test_shorter_answers_than_asked_for_are_put_together(server: Server) -> None:
    """A server may cap what it gives at once; such answers are no faults, so that their number has no limit."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.wanted()
        if not handler.name.endswith("00001") or wanted is None:
            return False
        partial(handler, wanted[0], min(wanted[1], wanted[0] + 50_000))
        return True

    server.fault = fault

    with tfckpt.open(server.url + "model") as checkpoint:
        assert checkpoint["large"].tobytes() == LARGE


def test_range_that_is_refused_without_a_length_is_told(server: Server) -> None:
    """The answer 416 must say how long the file is; with it, a short file reads."""
    server.fault = answering(416)

    with pytest.raises(tfckpt.StorageError, match="does not say how long the file is"):
        tfckpt.open(server.url + "model")


def test_whole_file_of_unknown_length_is_refused(server: Server) -> None:
    """Nobody knows how much would come; with a length, a small index reads."""

    def unknown(handler: Handler, number: int) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(handler.data)
        return True

    server.fault = unknown
    with pytest.raises(tfckpt.UnsupportedFeatureError, match="a file of unknown length"):
        tfckpt.open(server.url + "model")

    server.fault = whole
    assert len(tfckpt.open(server.url + "model")) == 201


@pytest.mark.parametrize(
    "after",
    [
        "1",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "soon",
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
    ],
    ids=["seconds", "a date", "nonsense", "a year beyond all calendars", "a zone beyond all maps"],
)
def test_server_may_say_how_long_to_wait(server: Server, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the longest wait; a field that says nothing is passed over."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    def fault(handler: Handler, number: int) -> bool:
        if number == 0:
            handler.answer(429, {"Retry-After": after}, b"")
        return number == 0

    server.fault = fault

    assert len(tfckpt.open(server.url + "model")) == 201
    assert (max(waits) == 1.0) == (after == "1")


def test_state_file_cannot_send_us_to_another_server(server: Server) -> None:
    """Another server, a disk or a folder above the root is nowhere; the name beside the state file is read."""
    with serving({}) as other:
        for named in (f"{other.url}model", "file:///model", "/somewhere/model", "../../../model"):
            server.files["checkpoint"] = f'model_checkpoint_path: "{named}"'.encode()
            with tfckpt.open(server.url) as checkpoint:
                assert checkpoint.prefix == server.url + "model"

        assert other.requests == []


def test_packed_answers_are_refused(server: Server) -> None:
    """We ask for the bytes as they are."""

    def fault(handler: Handler, number: int) -> bool:
        handler.answer(206, {"Content-Encoding": "gzip", "Content-Range": "bytes 0-1/2"}, b"ab")
        return True

    server.fault = fault

    with pytest.raises(tfckpt.UnsupportedFeatureError, match="packs what it sends with gzip"):
        tfckpt.open(server.url + "model")


def test_server_that_trickles_is_given_up(server: Server) -> None:
    """An answer that comes too slowly counts as one that stands still."""

    def fault(handler: Handler, number: int) -> bool:
        handler.send_response(206)
        start, stop = handler.wanted() or (0, 0)
        handler.send_header("Content-Range", handler.content_range(start, stop))
        handler.end_headers()
        for byte in handler.data[start : start + 30]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)
        return True

    server.fault = fault
    begun = time.monotonic()

    with pytest.raises(tfckpt.StorageError, match="too slowly"):
        tfckpt.open(server.url + "model")

    assert time.monotonic() - begun < 10


def trickled_head(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\nX: ")
    trickle(handler, b"x")


def continued_for_ever(handler: Handler) -> None:
    trickle(handler, b"HTTP/1.1 100 Continue\r\n\r\n")


def trickled_length_of_a_chunk(handler: Handler) -> None:
    start, stop = handler.wanted() or (0, 0)
    handler.wfile.write(
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: {handler.content_range(start, stop)}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1;".encode()
    )
    trickle(handler, b"x")


def head_without_end(handler: Handler) -> None:
    while True:  # until the client goes away
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def trickle(handler: Handler, data: bytes) -> None:
    """Send these bytes again and again, fast enough that no single wait is long."""
    with contextlib.suppress(OSError):
        for _ in range(100):
            handler.wfile.write(data)
            handler.wfile.flush()
            time.sleep(0.05)


@pytest.mark.parametrize("answer", [trickled_head, continued_for_ever, trickled_length_of_a_chunk, head_without_end])
def test_server_that_never_comes_to_the_point_is_given_up(server: Server, answer: Callable[[Handler], None]) -> None:
    """Each byte would come in time; all of them never do."""

    def fault(handler: Handler, number: int) -> bool:
        with contextlib.suppress(OSError):
            answer(handler)
        handler.close_connection = True
        return True

    server.fault = fault
    begun = time.monotonic()

    with pytest.raises(tfckpt.StorageError, match="too slowly"):
        tfckpt.open(server.url + "model")

    assert time.monotonic() - begun < 10


def test_page_of_a_redirect_is_not_read(server: Server) -> None:
    """It may have no end; only the address in its head counts."""
    sent = []

    def fault(handler: Handler, number: int) -> bool:
        with contextlib.suppress(OSError):
            handler.wfile.write(
                f"HTTP/1.1 302 Found\r\nLocation: {server.url}{handler.path.lstrip('/')}\r\n\r\n".encode()
            )
            sent.append(0)
            for _ in range(64):
                handler.wfile.write(bytes(1 << 20))
                sent[-1] += 1 << 20
        handler.close_connection = True
        return True

    with serving({}) as old:
        old.fault = fault
        with tfckpt.open(old.url + "model") as checkpoint:
            assert len(checkpoint) == len(SMALL) + 1
    assert sent and max(sent) < 16 << 20


def test_version_of_any_length_tells_versions_apart_and_stays_short() -> None:
    """It is kept in records and shown in messages."""
    with serving({"file": b"0123456789"}) as server:
        facts = []
        for last in "aab":

            def fault(handler: Handler, number: int, *, last: str = last) -> bool:
                handler.answer(206, {"ETag": f'"{"x" * 50_000}{last}"', "Content-Range": "bytes 0-0/10"}, b"0")
                return True

            server.fault = fault
            facts.append(http.HttpTransport().stat(server.url + "file"))

    assert facts[0] == facts[1] != facts[2]
    assert len(facts[0].version or "") < 100


def test_reason_of_any_length_makes_a_short_message(server: Server) -> None:
    """A server says what it likes."""

    def fault(handler: Handler, number: int) -> bool:
        handler.wfile.write(b"HTTP/1.1 500 " + b"no " * 20_000 + b"\r\nContent-Length: 0\r\n\r\n")
        handler.close_connection = True
        return True

    server.fault = fault

    with pytest.raises(tfckpt.StorageError, match="the server answers 500 no") as caught:
        tfckpt.open(server.url + "model")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("changes", ["etag", "size"])
def test_file_that_changes_is_never_mixed(server: Server, changes: str) -> None:
    """Another version of the data shard is an error, before and after which the same version reads."""
    shard = "model.data-00000-of-00001"
    with tfckpt.open(server.url + "model") as checkpoint:
        first = checkpoint["small/000"]
        if changes == "etag":
            server.etags[shard] = '"new"'
        else:
            server.files[shard] += b"\0"
        with pytest.raises(tfckpt.StorageError, match="changed while it was read") as caught:
            checkpoint.read("large", verify=False)

    assert first.tobytes() == SMALL["small/000"]
    assert caught.value.path == server.url + shard
    assert tfckpt.open(server.url + "model")["large"].tobytes() == LARGE


def test_file_that_changes_between_two_halves_is_never_mixed(server: Server) -> None:
    """An answer is not resumed from another version."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.wanted()
        if number != 1 or wanted is None:
            return False
        partial(handler, *wanted, half=True)
        server.etags[handler.name] = '"new"'
        return True

    server.fault = fault

    with (
        tfckpt.open(server.url + "model") as checkpoint,
        pytest.raises(tfckpt.StorageError, match="changed while it was read"),
    ):
        checkpoint.read("large", verify=False)


def test_index_that_claims_exabytes_costs_nothing() -> None:
    """The length of the file is compared before a byte is taken."""
    count = 1 << 58
    bundle = builders.Bundle().add("absurd", builders.FLOAT, [count], b"abcd", size=4 * count, crc=0)
    with serving(files_of(bundle)) as server, tfckpt.open(server.url + "model") as checkpoint:
        server.forget()

        for verify in (True, False):
            with pytest.raises(tfckpt.TruncatedError):
                checkpoint.read("absurd", verify=verify)

    assert server.sent <= 8


def test_redirects_are_followed_to_web_addresses_only(server: Server) -> None:
    """Files have moved; a server cannot send us to the disk."""
    target = server.url + "model"

    def redirect(to: str) -> Callable[[Handler, int], bool]:
        def fault(handler: Handler, number: int) -> bool:
            handler.answer(302, {"Location": to + handler.path.removeprefix("/old")}, b"")
            return True

        return fault

    with serving({}) as old:
        old.fault = redirect(target)
        with tfckpt.open(old.url + "old") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE
        for elsewhere in ("file:///etc/passwd", "ftp://127.0.0.1/passwd", "http://[::1"):
            old.fault = redirect(elsewhere)
            with pytest.raises(tfckpt.StorageError, match=r"(?i)the server .*redirect"):
                tfckpt.open(old.url + "old")


def test_page_instead_of_a_file_is_told(server: Server) -> None:
    """A server that answers everything with a page has no checkpoint."""
    server.files["page.index"] = b"<!DOCTYPE html><html><body>Not found, but politely</body></html>"

    with pytest.raises(tfckpt.CheckpointNotFoundError, match="an HTML page"):
        tfckpt.open(server.url + "page")


# Archives


def tgz_of(files: dict[str, bytes]) -> bytes:
    """A packed archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_archive_is_known_by_its_content_too(server: Server) -> None:
    """An address without an ending, with a query, gives the archive behind it."""
    with serving({"module/1": tgz_of(server.files)}) as running:
        with tfckpt.open(running.url + "module/1?format=compressed") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE
        with tfckpt.open(running.url + "module/1?format=compressed!model") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE


def test_archive_that_is_too_large_is_not_downloaded(server: Server) -> None:
    """A limit stands before the download; at the limit it opens."""
    packed = tgz_of(server.files)
    with serving({"a.tgz": packed}) as running:
        with pytest.raises(tfckpt.LimitExceededError, match="max_download_bytes"):
            tfckpt.open(running.url + "a.tgz", limits=tfckpt.Limits(max_download_bytes=len(packed) - 1))
        refused = running.sent

        assert len(tfckpt.open(running.url + "a.tgz", limits=tfckpt.Limits(max_download_bytes=len(packed)))) == 201

    assert refused <= 64 * KIB


def test_address_that_is_no_archive_has_nothing_inside(server: Server) -> None:
    """The mark after a file that is something else."""
    with pytest.raises(tfckpt.CheckpointNotFoundError, match="this is no archive"):
        tfckpt.open(server.url + "model.index!model")


def test_server_that_is_not_trusted_is_not_asked_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate does not become right by waiting."""
    asked: list[str] = []

    def distrust(self: urllib.request.OpenerDirector, request: urllib.request.Request, **_: object) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", distrust)

    with pytest.raises(tfckpt.StorageError, match="the server is not trusted"):
        tfckpt.open(server.url.replace("http", "https") + "model")
    assert len(asked) == 1


# Copies into a file


class Taken:
    """A sink that remembers what it was told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.restarts = 0

    def write(self, data: bytes) -> None:
        """More bytes."""
        self.data += data

    def restart(self) -> None:
        """From the beginning."""
        self.data.clear()
        self.restarts += 1


def cut(handler: Handler, count: int) -> None:
    """Promise what was asked for and send this many bytes of it."""
    wanted = handler.wanted()
    assert wanted is not None
    start, stop = wanted
    fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
    handler.answer(206, fields, handler.data[start : start + count], length=stop - start)


def test_copy_writes_exactly_the_bytes_asked_for() -> None:
    """In their order, as they arrive, with one request."""
    sink = Taken()
    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        http.HttpTransport().copy(server.url + "file", 1000, 300_000, sink, facts)

        assert bytes(sink.data) == LARGE[1000:301_000]
        assert [request.range for request in server.requests] == ["bytes=1000-300999"]
        assert sink.restarts == 0


def test_copy_that_breaks_off_is_resumed_where_it_stopped() -> None:
    """The sink goes on; nothing is sent twice."""
    sink = Taken()
    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        server.fault = lambda handler, number: cut(handler, 150_000) is None if number == 0 else False
        http.HttpTransport().copy(server.url + "file", 0, len(LARGE), sink, facts)

        assert bytes(sink.data) == LARGE
        assert server.sent == len(LARGE)


def test_copy_of_a_file_without_version_begins_anew_when_it_breaks_off() -> None:
    """Nobody could tell whether the second half is of the same file; an answer of one piece is taken."""
    sink = Taken()
    with serving({"file": LARGE}) as server:
        server.etags.clear()
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        server.fault = lambda handler, number: cut(handler, 150_000) is None if number == 0 else False
        http.HttpTransport().copy(server.url + "file", 0, len(LARGE), sink, facts)

        assert bytes(sink.data) == LARGE
        assert [request.range for request in server.requests] == ["bytes=0-399999"] * 2
        assert sink.restarts == 1


@pytest.mark.parametrize("has_version", [True, False], ids=["version", "no version"])
def test_copy_puts_short_answers_together_only_where_versions_agree(has_version: bool) -> None:
    """Without them, half of what was asked for is as good as a break."""
    sink = Taken()

    def half(handler: Handler, number: int) -> bool:
        wanted = handler.wanted()
        assert wanted is not None
        start, stop = wanted
        stop = max(start + 1, (start + stop) // 2)
        fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
        handler.answer(206, fields, handler.data[start:stop])
        return True

    with serving({"file": LARGE}) as server:
        if not has_version:
            server.etags.clear()
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        server.fault = half
        if has_version:
            http.HttpTransport().copy(server.url + "file", 0, 1000, sink, facts)
            assert bytes(sink.data) == LARGE[:1000]
        else:
            with pytest.raises(tfckpt.TruncatedError, match="stopped after 500 of 1000 bytes, in 3 attempts"):
                http.HttpTransport().copy(server.url + "file", 0, 1000, sink, facts)
            assert {request.range for request in server.requests} == {"bytes=0-999"}


def test_copy_of_another_version_writes_no_byte() -> None:
    """The facts are compared before the content is taken."""
    sink = Taken()
    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        server.etags["file"] = '"new"'
        with pytest.raises(tfckpt.StorageError, match="changed while it was read"):
            http.HttpTransport().copy(server.url + "file", 0, 100, sink, facts)

    assert (bytes(sink.data), sink.restarts) == (b"", 0)


def test_copy_from_a_server_without_ranges_takes_the_whole_or_nothing() -> None:
    """The whole file, begun anew after a break; a part of it is refused before it is written."""
    sink, other = Taken(), Taken()

    def whole_at_second(handler: Handler, number: int) -> bool:
        count = 150_000 if number == 1 else len(LARGE)
        handler.answer(200, handler.version, handler.data[:count], length=len(LARGE))
        return True

    with serving({"file": LARGE}) as server:
        server.fault = whole_at_second
        facts = http.HttpTransport().stat(server.url + "file")
        http.HttpTransport().copy(server.url + "file", 0, len(LARGE), sink, facts)
        with pytest.raises(tfckpt.UnsupportedFeatureError, match="does not give parts"):
            http.HttpTransport().copy(server.url + "file", 0, 100, other, facts)

    assert bytes(sink.data) == LARGE
    assert other.data == b""


def test_copy_leaves_errors_of_the_sink_as_they_are() -> None:
    """A full disk is no fault of the server's, and nothing is asked for again."""

    class Full(Taken):
        def write(self, data: bytes) -> None:
            raise tfckpt.WriteError("no space", path="here")

    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        with pytest.raises(tfckpt.WriteError, match="no space") as caught:
            http.HttpTransport().copy(server.url + "file", 0, len(LARGE), Full(), facts)

        assert caught.value.path == "here"
        assert len(server.requests) == 2
