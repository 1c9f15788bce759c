"""Checkpoints on web servers: how much is requested, and how servers that misbehave are handled."""

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
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the retry policy by a fast one."""
    monkeypatch.setattr(http, "DEFAULT_PATIENCE", FAST)


def bundle_files(bundle: builders.Bundle, prefix: str = "model") -> dict[str, bytes]:
    """Return the files of a bundle by name."""
    shards = {
        f"{prefix}.data-{shard_id:05d}-of-{bundle.num_shards:05d}": bytes(data)
        for shard_id, data in bundle.shards.items()
    }
    return {f"{prefix}.index": bundle.index(), **shards}


def random_floats(count: int, seed: int = 0) -> bytes:
    """Return this many float32 values as bytes."""
    return np.random.default_rng(seed).standard_normal(count).astype("<f4").tobytes()


LARGE = random_floats(100_000)
SMALL = {f"small/{number:03d}": random_floats(25, number) for number in range(200)}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with a checkpoint: one tensor of 400 KB between 200 of 100 bytes, in order of the names."""
    bundle = builders.Bundle()
    for name, payload in sorted({**SMALL, "large": LARGE}.items(), key=lambda item: item[0] > "small/099"):
        bundle.add(name, builders.FLOAT, [len(payload) // 4], payload)
    with serving(bundle_files(bundle)) as running:
        yield running


@pytest.fixture
def many() -> Iterator[Server]:
    """A server with 20,000 tensors written by TensorFlow, whose index has 1.5 MB."""
    path = pathlib.Path(__file__).parents[3] / "data" / "tensorflow" / "many.tgz"
    with tarfile.open(path) as archive:
        files = {pathlib.PurePath(m.name).name: archive.extractfile(m) for m in archive if m.isfile()}
        with serving({name: file.read() for name, file in files.items() if file is not None}) as running:
            yield running


# How much is requested


def test_listing_fetches_the_index_once(server: Server) -> None:
    """A small index takes one request, and the data shard none."""
    with tfckpt.open(server.url + "model") as checkpoint:
        names = list(checkpoint)

    assert len(names) == 201
    assert [request.path for request in server.requests] == ["/model.index"]
    assert server.sent == len(server.files["model.index"])


def test_listing_a_large_index_fetches_each_byte_once(many: Server) -> None:
    """An index of several blocks is fetched in growing pieces that do not overlap."""
    with tfckpt.open(many.url + "ckpt") as checkpoint:
        assert len(checkpoint) == 20_000

    assert many.sent == len(many.files["ckpt.index"])
    assert len(many.requests) <= 5
    assert {request.path for request in many.requests} == {"/ckpt.index"}


def test_first_tensor_takes_two_requests(server: Server) -> None:
    """One for the index, and one for exactly the bytes of the tensor."""
    with tfckpt.open(server.url + "model") as checkpoint:
        large = checkpoint["large"]

    assert large.tobytes() == LARGE
    assert len(server.requests) == 2
    assert server.requests[1].sent == len(LARGE)
    assert server.sent <= len(LARGE) + 64 * KIB


def test_one_tensor_of_many_takes_one_block_of_the_index(many: Server) -> None:
    """The requests are for the end of the index, the block of the header, the block of the name, and the tensor."""
    record = json.loads(many.files["expected.json"])["checkpoints"][0]["tensors"][25]

    with tfckpt.open(many.url + "ckpt") as checkpoint:
        array = checkpoint[record["name"]]

    assert digest(array) == record["sha256"]
    assert len(many.requests) == 4
    assert many.sent <= 64 * KIB + 2 * 263_000 + array.nbytes


def test_neighbours_of_a_small_tensor_are_fetched_with_it(server: Server) -> None:
    """Adjacent small tensors are fetched together, 16 KiB at a time."""
    with tfckpt.open(server.url + "model") as checkpoint:
        list(checkpoint)
        checkpoint["small/100"]
        server.forget()
        arrays = {name: checkpoint[name] for name in SMALL if name > "small/100"}

    assert all(array.tobytes() == SMALL[name] for name, array in arrays.items())
    assert len(server.requests) == 1
    assert server.sent <= 16 * KIB


def test_many_tensors_are_fetched_in_few_ranges(server: Server) -> None:
    """All 201 tensors are close together, so one range contains them."""
    with tfckpt.open(server.url + "model") as checkpoint:
        list(checkpoint)
        server.forget()
        arrays = dict(checkpoint.read_many())

    assert {name: array.tobytes() for name, array in arrays.items()} == {**SMALL, "large": LARGE}
    assert len(server.requests) == 1
    assert server.sent == len(server.files["model.data-00000-of-00001"])


def test_distant_tensors_are_fetched_separately(server: Server) -> None:
    """The bytes between them are not fetched."""
    with tfckpt.open(server.url + "model") as checkpoint:
        list(checkpoint)
        server.forget()
        arrays = dict(checkpoint.read_many(["small/199", "small/000"]))

    assert list(arrays) == ["small/199", "small/000"]
    assert arrays["small/000"].tobytes() == SMALL["small/000"]
    assert server.sent < 33 * KIB


def test_unverified_part_fetches_only_its_rows() -> None:
    """Of a matrix of 1 MB, 100 rows are fetched; with verification the whole payload is."""
    matrix = np.arange(250_000, dtype="<f4").reshape(1000, 250)
    bundle = builders.Bundle().add("matrix", builders.FLOAT, [1000, 250], matrix.tobytes())
    with serving(bundle_files(bundle)) as server, tfckpt.open(server.url + "model") as checkpoint:
        server.forget()

        rows = checkpoint.read("matrix", index=np.s_[500:600], verify=False)
        unverified = server.sent
        checked = checkpoint.read("matrix", index=np.s_[500:600])

    np.testing.assert_array_equal(rows, matrix[500:600])
    np.testing.assert_array_equal(checked, matrix[500:600])
    assert unverified == 100 * 250 * 4
    assert server.sent - unverified >= matrix.nbytes - unverified


def test_part_of_a_partitioned_tensor_fetches_only_its_slices() -> None:
    """A slice without selected rows is not fetched, even with verification."""
    rows = np.arange(4 * 25_000, dtype="<f4").reshape(4, 25_000)
    pieces = [([(number, 1), None], rows[number].tobytes()) for number in range(4)]
    bundle = builders.Bundle().add_slices("rows", builders.FLOAT, [4, 25_000], pieces)
    with serving(bundle_files(bundle)) as server, tfckpt.open(server.url + "model") as checkpoint:
        server.forget()

        part = checkpoint.read("rows", index=2)

    np.testing.assert_array_equal(part, rows[2])
    assert server.sent <= 100_000 + 1


def test_folder_is_recognised_by_its_state_file(server: Server) -> None:
    """HTTP cannot list folders, so the state file names the checkpoint, with or without a trailing slash."""
    state = b'model_checkpoint_path: "step 7"\nall_model_checkpoint_paths: "step 7"\n'
    renamed = {name.replace("model", "run/step 7"): data for name, data in server.files.items()}
    with serving({**renamed, "run/checkpoint": state}) as running:
        for address, max_requests in (("run/", 3), ("run", 4), ("run/checkpoint", 6)):
            running.forget()
            with tfckpt.open(running.url + address) as checkpoint:
                assert checkpoint["large"].tobytes() == LARGE
                assert checkpoint.prefix == f"{running.url}run/step%207"
            assert len(running.requests) <= max_requests


def test_folder_without_a_state_file_is_not_found(server: Server) -> None:
    """The folder cannot be listed; a prefix in it opens."""
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(server.url)

    assert caught.value.path == server.url
    assert len(tfckpt.open(server.url + "model")) == 201


def test_files_of_a_checkpoint_open_it(server: Server) -> None:
    """The index and a data shard open the checkpoint, as with local files."""
    for name in ("model.index", "model.data-00000-of-00001"):
        with tfckpt.open(server.url + name) as checkpoint:
            assert checkpoint.prefix == server.url + "model"


def test_query_and_password_are_sent_but_not_shown(server: Server) -> None:
    """Credentials in an address are sent with every request, hidden in messages, and kept by pickling."""
    address = server.url.replace("//", "//me:se%20cret@") + "model?token=abc"

    with tfckpt.open(address) as checkpoint:
        checkpoint["large"]
        shown = repr(checkpoint) + " ".join(checkpoint.files)
        pickled = str(checkpoint.__reduce__()[1])

    assert {request.path.partition("?")[2] for request in server.requests} == {"token=abc"}
    assert {request.headers["Authorization"] for request in server.requests} == {"Basic bWU6c2UgY3JldA=="}
    assert "token" not in shown
    assert "cret" not in shown
    assert "token=abc" in pickled
    assert "me:se%20cret@" in pickled


def test_missing_shard_affects_only_its_tensors(server: Server) -> None:
    """Tensors of the other shard can be read, as with local files."""
    bundle = builders.Bundle(num_shards=2)
    bundle.add("here", builders.FLOAT, [25], SMALL["small/000"])
    bundle.add("lost", builders.FLOAT, [25], SMALL["small/001"], shard_id=1)
    files = bundle_files(bundle)
    del files["model.data-00001-of-00002"]
    with serving(files) as running, tfckpt.open(running.url + "model") as checkpoint:
        with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
            checkpoint["lost"]

        assert caught.value.tensor == "lost"
        assert caught.value.path == f"{running.url}model.data-00001-of-00002"
        assert checkpoint["here"].tobytes() == SMALL["small/000"]
        assert checkpoint.missing_files() == {f"{running.url}model.data-00001-of-00002": ("lost",)}


# Servers that misbehave


def test_transient_errors_are_retried(server: Server) -> None:
    """A server that is overloaded, resets a connection and stops half-way delivers the correct bytes in the end."""

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


def test_interrupted_response_is_resumed_where_it_stopped(server: Server) -> None:
    """Bytes already received are not requested again."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
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
def test_permanent_failure_is_an_error_with_the_address(server: Server, status: int) -> None:
    """The last response is reported after the last attempt."""
    server.fault = respond_with(status)

    with pytest.raises(tfckpt.StorageError, match=str(status)) as caught:
        tfckpt.open(server.url + "model")

    assert caught.value.path == f"{server.url}model.index"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 418])
def test_denied_access_is_not_retried(server: Server, status: int) -> None:
    """Waiting does not help."""
    server.fault = respond_with(status)

    with pytest.raises(tfckpt.StorageError, match=str(status)) as caught:
        tfckpt.open(server.url + "model")

    assert caught.value.path == f"{server.url}model.index"
    assert len(server.requests) == 1


def test_unreachable_server_is_an_error_with_the_address() -> None:
    """Nothing listens on the port."""
    with serving({}) as gone:
        address = gone.url + "model"

    with pytest.raises(tfckpt.StorageError) as caught:
        tfckpt.open(address)

    assert caught.value.path == f"{address}.index"


def respond_with(status: int) -> Fault:
    """Return a fault that answers every request with this status."""

    def fault(handler: Handler, number: int) -> bool:
        handler.answer(status, {}, b"")
        return True

    return fault


def test_server_without_ranges_is_rejected_before_the_file_is_read(server: Server) -> None:
    """The small index was wanted whole, so it can be read; the data shard is rejected by its head."""
    server.fault = whole

    with tfckpt.open(server.url + "model") as checkpoint:
        assert len(checkpoint) == 201
        with pytest.raises(tfckpt.UnsupportedFeatureError) as caught:
            checkpoint["large"]

    assert caught.value.path == f"{server.url}model.data-00000-of-00001"


def test_server_without_ranges_serves_a_checkpoint_of_one_tensor() -> None:
    """The whole file was requested."""
    with serving(bundle_files(builders.Bundle().add("only", builders.FLOAT, [25], SMALL["small/000"]))) as server:
        server.fault = whole

        with tfckpt.open(server.url + "model") as checkpoint:
            assert checkpoint["only"].tobytes() == SMALL["small/000"]


def test_server_without_ranges_serves_an_archive(server: Server) -> None:
    """An archive is wanted whole in any case; one that is too large is rejected by its head."""
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
        with pytest.raises(tfckpt.LimitExceededError) as caught:
            tfckpt.open(running.url + "net.tgz", limits=tfckpt.Limits(max_download_bytes=1000))
    assert (caught.value.limit, caught.value.claimed) == ("max_download_bytes", len(buffer.getvalue()))


Tail = Callable[[Handler, int, int], None]


def send_partial(handler: Handler, start: int, stop: int, **lies: object) -> None:
    """Send a partial response with one thing wrong."""
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
    ("lies", "error"),
    [
        ({"half": True}, tfckpt.TruncatedError),
        ({"longer": 10}, tfckpt.StorageError),
        ({"shift": True}, tfckpt.StorageError),
        ({"range": "bytes {start}-{stop}/{size}"}, tfckpt.StorageError),
        ({"range": "bytes */{size}"}, tfckpt.StorageError),
        ({"range": "rows 1-2/3"}, tfckpt.StorageError),
        ({"range": "bytes {start}-{stop}/*"}, tfckpt.StorageError),
    ],
    ids=["half a response", "wrong length", "another range", "one byte more", "no range", "no bytes", "no total"],
)
def test_inconsistent_response_is_one_of_our_errors(
    server: Server, lies: dict[str, object], error: type[tfckpt.CheckpointError]
) -> None:
    """The head is checked against the request and against itself; correct responses can be read."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
        if not handler.name.endswith("00001") or wanted is None:
            return False
        start, stop = wanted
        send_partial(handler, start, stop, **lies)
        return True

    with tfckpt.open(server.url + "model") as checkpoint:
        server.fault = fault
        with pytest.raises(error) as caught:
            checkpoint["large"]
        server.fault = None
        correct = checkpoint["large"]

    assert caught.value.path == f"{server.url}model.data-00000-of-00001"
    assert correct.tobytes() == LARGE


def test_short_responses_are_joined(server: Server) -> None:
    """A server may limit the size of a response; short ones are not failures, so their number has no limit."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
        if not handler.name.endswith("00001") or wanted is None:
            return False
        send_partial(handler, wanted[0], min(wanted[1], wanted[0] + 50_000))
        return True

    server.fault = fault

    with tfckpt.open(server.url + "model") as checkpoint:
        assert checkpoint["large"].tobytes() == LARGE


def test_refused_range_without_a_size_is_an_error(server: Server) -> None:
    """A response 416 must contain the size of the file."""
    server.fault = respond_with(416)

    with pytest.raises(tfckpt.StorageError) as caught:
        tfckpt.open(server.url + "model")

    assert caught.value.path == f"{server.url}model.index"


def test_whole_file_of_unknown_length_is_unsupported(server: Server) -> None:
    """The amount of data would be unbounded; with a length, a small index can be read."""

    def send_without_length(handler: Handler, number: int) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(handler.data)
        return True

    server.fault = send_without_length
    with pytest.raises(tfckpt.UnsupportedFeatureError) as caught:
        tfckpt.open(server.url + "model")
    assert caught.value.path == f"{server.url}model.index"

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
    ids=["seconds", "date", "nonsense", "invalid year", "invalid zone"],
)
def test_retry_after_is_respected(server: Server, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay has an upper limit; a header that cannot be parsed is ignored."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    def fault(handler: Handler, number: int) -> bool:
        if number == 0:
            handler.answer(429, {"Retry-After": after}, b"")
        return number == 0

    server.fault = fault

    assert len(tfckpt.open(server.url + "model")) == 201
    assert (max(waits) == 1.0) == (after == "1")


def test_state_file_cannot_name_another_server(server: Server) -> None:
    """Another server, a disk and a folder above the root do not exist here; the name next to the state file is read."""
    with serving({}) as other:
        for named in (f"{other.url}model", "file:///model", "/somewhere/model", "../../../model"):
            server.files["checkpoint"] = f'model_checkpoint_path: "{named}"'.encode()
            with tfckpt.open(server.url) as checkpoint:
                assert checkpoint.prefix == server.url + "model"

        assert other.requests == []


def test_encoded_responses_are_unsupported(server: Server) -> None:
    """The request asks for unencoded bytes."""

    def fault(handler: Handler, number: int) -> bool:
        handler.answer(206, {"Content-Encoding": "gzip", "Content-Range": "bytes 0-1/2"}, b"ab")
        return True

    server.fault = fault

    with pytest.raises(tfckpt.UnsupportedFeatureError, match="gzip") as caught:
        tfckpt.open(server.url + "model")
    assert caught.value.path == f"{server.url}model.index"


def test_slow_response_is_given_up(server: Server) -> None:
    """A response that is too slow counts as stalled."""

    def fault(handler: Handler, number: int) -> bool:
        handler.send_response(206)
        start, stop = handler.requested_range() or (0, 0)
        handler.send_header("Content-Range", handler.content_range(start, stop))
        handler.end_headers()
        for byte in handler.data[start : start + 30]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)
        return True

    server.fault = fault
    start = time.monotonic()

    with pytest.raises(tfckpt.StorageError) as caught:
        tfckpt.open(server.url + "model")

    assert caught.value.path == f"{server.url}model.index"
    assert time.monotonic() - start < 10


def trickle_head(handler: Handler) -> None:
    """Start a header and never end it."""
    handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\nX: ")
    trickle(handler, b"x")


def continue_forever(handler: Handler) -> None:
    """Send 100 Continue again and again."""
    trickle(handler, b"HTTP/1.1 100 Continue\r\n\r\n")


def trickle_chunk_length(handler: Handler) -> None:
    """Start the length of a chunk and never end it."""
    start, stop = handler.requested_range() or (0, 0)
    handler.wfile.write(
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: {handler.content_range(start, stop)}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1;".encode()
    )
    trickle(handler, b"x")


def flood_with_continue(handler: Handler) -> None:
    """Send 100 Continue as fast as the connection allows."""
    while True:  # until the client goes away
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def trickle(handler: Handler, data: bytes) -> None:
    """Send these bytes again and again, often enough that no single wait is long."""
    with contextlib.suppress(OSError):
        for _ in range(100):
            handler.wfile.write(data)
            handler.wfile.flush()
            time.sleep(0.05)


@pytest.mark.parametrize("respond", [trickle_head, continue_forever, trickle_chunk_length, flood_with_continue])
def test_endless_head_is_given_up(server: Server, respond: Callable[[Handler], None]) -> None:
    """Every byte arrives in time, but the head has no end."""

    def fault(handler: Handler, number: int) -> bool:
        with contextlib.suppress(OSError):
            respond(handler)
        handler.close_connection = True
        return True

    server.fault = fault
    start = time.monotonic()

    with pytest.raises(tfckpt.StorageError) as caught:
        tfckpt.open(server.url + "model")

    assert caught.value.path == f"{server.url}model.index"
    assert time.monotonic() - start < 10


def test_body_of_a_redirect_is_not_read(server: Server) -> None:
    """It may be endless; only the address in the head counts."""
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


def test_long_etags_are_stored_short() -> None:
    """They still distinguish versions; they are stored in records and shown in messages."""
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


def test_long_reason_makes_a_short_message(server: Server) -> None:
    """The reason phrase is abridged."""

    def fault(handler: Handler, number: int) -> bool:
        handler.wfile.write(b"HTTP/1.1 500 " + b"no " * 20_000 + b"\r\nContent-Length: 0\r\n\r\n")
        handler.close_connection = True
        return True

    server.fault = fault

    with pytest.raises(tfckpt.StorageError) as caught:
        tfckpt.open(server.url + "model")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("changes", ["etag", "size"])
def test_bytes_of_two_versions_are_never_mixed(server: Server, changes: str) -> None:
    """Another version of the data shard is an error; before and after that, one version can be read."""
    shard = "model.data-00000-of-00001"
    with tfckpt.open(server.url + "model") as checkpoint:
        first = checkpoint["small/000"]
        if changes == "etag":
            server.etags[shard] = '"new"'
        else:
            server.files[shard] += b"\0"
        with pytest.raises(tfckpt.StorageError) as caught:
            checkpoint.read("large", verify=False)

    assert first.tobytes() == SMALL["small/000"]
    assert caught.value.path == server.url + shard
    assert tfckpt.open(server.url + "model")["large"].tobytes() == LARGE


def test_response_is_not_resumed_from_another_version(server: Server) -> None:
    """The file changes between the two halves of a response."""

    def fault(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
        if number != 1 or wanted is None:
            return False
        send_partial(handler, *wanted, half=True)
        server.etags[handler.name] = '"new"'
        return True

    server.fault = fault

    with tfckpt.open(server.url + "model") as checkpoint, pytest.raises(tfckpt.StorageError) as caught:
        checkpoint.read("large", verify=False)

    assert caught.value.path == server.url + "model.data-00000-of-00001"


def test_index_that_claims_exabytes_fetches_nothing() -> None:
    """The size of the file is compared before a byte is fetched."""
    count = 1 << 58
    bundle = builders.Bundle().add("absurd", builders.FLOAT, [count], b"abcd", size=4 * count, crc=0)
    with serving(bundle_files(bundle)) as server, tfckpt.open(server.url + "model") as checkpoint:
        server.forget()

        for verify in (True, False):
            with pytest.raises(tfckpt.TruncatedError) as caught:
                checkpoint.read("absurd", verify=verify)
            assert (caught.value.tensor, caught.value.available) == ("absurd", 4)

    assert server.sent <= 8


def test_redirects_are_followed_to_web_addresses_only(server: Server) -> None:
    """Files may have moved, but a server cannot redirect to the disk."""

    def redirect(target: str) -> Callable[[Handler, int], bool]:
        def fault(handler: Handler, number: int) -> bool:
            handler.answer(302, {"Location": target + handler.path.removeprefix("/old")}, b"")
            return True

        return fault

    with serving({}) as old:
        old.fault = redirect(server.url + "model")
        with tfckpt.open(old.url + "old") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE
        for elsewhere in ("file:///etc/passwd", "ftp://127.0.0.1/passwd", "http://[::1"):
            old.fault = redirect(elsewhere)
            with pytest.raises(tfckpt.StorageError) as caught:
                tfckpt.open(old.url + "old")
            assert caught.value.path == old.url + "old.index"


def test_page_instead_of_an_index_is_not_found(server: Server) -> None:
    """A server that answers every request with a page has no checkpoint."""
    server.files["page.index"] = b"<!DOCTYPE html><html><body>Not found, but politely</body></html>"

    with pytest.raises(tfckpt.CheckpointNotFoundError, match="HTML") as caught:
        tfckpt.open(server.url + "page")
    assert caught.value.path == server.url + "page.index"


# Archives


def make_tgz(files: dict[str, bytes]) -> bytes:
    """Return a tar archive compressed with gzip."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_archive_is_recognised_by_content_too(server: Server) -> None:
    """An address without an archive's ending, with a query, opens the archive behind it."""
    with serving({"module/1": make_tgz(server.files)}) as running:
        with tfckpt.open(running.url + "module/1?format=compressed") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE
        with tfckpt.open(running.url + "module/1?format=compressed!model") as checkpoint:
            assert checkpoint["large"].tobytes() == LARGE


def test_archive_that_is_too_large_is_not_downloaded(server: Server) -> None:
    """The limit is checked before the download; at the limit the archive opens."""
    packed = make_tgz(server.files)
    with serving({"a.tgz": packed}) as running:
        with pytest.raises(tfckpt.LimitExceededError) as caught:
            tfckpt.open(running.url + "a.tgz", limits=tfckpt.Limits(max_download_bytes=len(packed) - 1))
        sent = running.sent

        assert len(tfckpt.open(running.url + "a.tgz", limits=tfckpt.Limits(max_download_bytes=len(packed)))) == 201

    assert (caught.value.limit, caught.value.claimed) == ("max_download_bytes", len(packed))
    assert sent <= 64 * KIB


def test_path_inside_a_file_that_is_not_an_archive_is_not_found(server: Server) -> None:
    """An exclamation mark after another kind of file means nothing."""
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(server.url + "model.index!model")
    assert caught.value.path == server.url + "model.index"


def test_untrusted_certificate_is_not_retried(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting does not make a certificate valid."""
    requested: list[str] = []

    def distrust(self: urllib.request.OpenerDirector, request: urllib.request.Request, **_: object) -> None:
        requested.append(request.full_url)
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", distrust)

    address = server.url.replace("http", "https") + "model"
    with pytest.raises(tfckpt.StorageError) as caught:
        tfckpt.open(address)
    assert caught.value.path == address + ".index"
    assert requested == [address + ".index"]


# Copies into a file


class RecordingSink:
    """A sink that records what was written and how often it started over."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.restarts = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self.data += data

    def restart(self) -> None:
        """Discard the bytes and count the restart."""
        self.data.clear()
        self.restarts += 1


def send_cut(handler: Handler, count: int) -> None:
    """Promise the requested bytes and send only this many."""
    wanted = handler.requested_range()
    assert wanted is not None
    start, stop = wanted
    fields = {**handler.version, "Content-Range": handler.content_range(start, stop)}
    handler.answer(206, fields, handler.data[start : start + count], length=stop - start)


def test_copy_writes_exactly_the_requested_bytes() -> None:
    """They are written in order, as they arrive, with one request."""
    sink = RecordingSink()
    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        http.HttpTransport().copy(server.url + "file", 1000, 300_000, sink, facts)

        assert bytes(sink.data) == LARGE[1000:301_000]
        assert [request.range for request in server.requests] == ["bytes=1000-300999"]
        assert sink.restarts == 0


def test_interrupted_copy_is_resumed_where_it_stopped() -> None:
    """The sink continues; nothing is sent twice."""
    sink = RecordingSink()
    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        server.fault = lambda handler, number: send_cut(handler, 150_000) is None if number == 0 else False
        http.HttpTransport().copy(server.url + "file", 0, len(LARGE), sink, facts)

        assert bytes(sink.data) == LARGE
        assert server.sent == len(LARGE)


def test_interrupted_copy_without_version_starts_over() -> None:
    """The rest could be from another file."""
    sink = RecordingSink()
    with serving({"file": LARGE}) as server:
        server.etags.clear()
        facts = http.HttpTransport().stat(server.url + "file")
        server.forget()
        server.fault = lambda handler, number: send_cut(handler, 150_000) is None if number == 0 else False
        http.HttpTransport().copy(server.url + "file", 0, len(LARGE), sink, facts)

        assert bytes(sink.data) == LARGE
        assert [request.range for request in server.requests] == ["bytes=0-399999"] * 2
        assert sink.restarts == 1


@pytest.mark.parametrize("has_version", [True, False], ids=["version", "no version"])
def test_copy_joins_short_responses_only_with_a_version(has_version: bool) -> None:
    """Without a version, a short response counts as an interruption."""
    sink = RecordingSink()

    def half(handler: Handler, number: int) -> bool:
        wanted = handler.requested_range()
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
            with pytest.raises(tfckpt.TruncatedError) as caught:
                http.HttpTransport().copy(server.url + "file", 0, 1000, sink, facts)
            assert (caught.value.available, caught.value.needed) == (500, 1000)
            assert len(server.requests) == FAST.attempts
            assert {request.range for request in server.requests} == {"bytes=0-999"}


def test_copy_of_another_version_writes_nothing() -> None:
    """The facts are compared before the content is read."""
    sink = RecordingSink()
    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        server.etags["file"] = '"new"'
        with pytest.raises(tfckpt.StorageError) as caught:
            http.HttpTransport().copy(server.url + "file", 0, 100, sink, facts)
        assert caught.value.path == server.url + "file"

    assert (bytes(sink.data), sink.restarts) == (b"", 0)


def test_copy_from_a_server_without_ranges_is_all_or_nothing() -> None:
    """The whole file is copied, starting over after an interruption; a part of it is rejected before it is written."""
    sink, other = RecordingSink(), RecordingSink()

    def cut_second_response(handler: Handler, number: int) -> bool:
        count = 150_000 if number == 1 else len(LARGE)
        handler.answer(200, handler.version, handler.data[:count], length=len(LARGE))
        return True

    with serving({"file": LARGE}) as server:
        server.fault = cut_second_response
        facts = http.HttpTransport().stat(server.url + "file")
        http.HttpTransport().copy(server.url + "file", 0, len(LARGE), sink, facts)
        with pytest.raises(tfckpt.UnsupportedFeatureError) as caught:
            http.HttpTransport().copy(server.url + "file", 0, 100, other, facts)
        assert caught.value.path == server.url + "file"

    assert bytes(sink.data) == LARGE
    assert other.data == b""


def test_copy_does_not_change_errors_of_the_sink() -> None:
    """A full disk is not the server's failure, so nothing is requested again."""

    class Full(RecordingSink):
        def write(self, data: bytes) -> None:
            raise tfckpt.WriteError("no space", path="here")

    with serving({"file": LARGE}) as server:
        facts = http.HttpTransport().stat(server.url + "file")
        with pytest.raises(tfckpt.WriteError) as caught:
            http.HttpTransport().copy(server.url + "file", 0, len(LARGE), Full(), facts)

        assert caught.value.path == "here"
        assert len(server.requests) == 2
