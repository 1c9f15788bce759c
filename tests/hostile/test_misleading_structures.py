"""Files whose parts are valid but contradict each other, each with its nearest legal twin."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle, handle
from tests.hostile.test_failure_table import valid_bundle
from tfckpt.cli import main

FIRST = builders.block([(b"", builders.header_proto()), (b"a", builders.entry_proto(builders.FLOAT, [1], size=4))])
SECOND = builders.block([(b"m", builders.entry_proto(builders.FLOAT, [1], size=4, offset=4))])
#: Offset of the index block: after two data blocks and the empty metaindex, each with 5 bytes of trailer.
INDEX_AT = len(FIRST) + 5 + len(SECOND) + 5 + len(builders.EMPTY_BLOCK) + 5
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202eevil\r\n\u2028"


def list_names(index: bytes) -> list[str]:
    """Return the names of a bundle in memory with this index."""
    with tfckpt.open({"model.index": index, "model.data-00000-of-00001": bytes(8)}) as checkpoint:
        return list(checkpoint)


def two_blocks(**broken: object) -> bytes:
    """Return an index of two data blocks, with keywords of `table_of_blocks`."""
    return builders.table_of_blocks([FIRST, SECOND], [b"a", b"z"], **broken)  # type: ignore[arg-type]  # each keyword has its own type


def second_handle(offset: int, size: int) -> bytes:
    """Return an index whose second entry has this handle."""
    return two_blocks(handle_of=lambda number, place: handle(offset, size) if number else handle(*place))


def test_two_adjacent_blocks_are_read() -> None:
    """The cases below start from this."""
    assert list_names(two_blocks()) == ["a", "m"]


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (second_handle(0, len(FIRST)), tfckpt.CorruptionError),
        (second_handle(len(FIRST), len(SECOND) + 5), tfckpt.ChecksumError),
        (second_handle(0, len(FIRST) + 5 + len(SECOND)), tfckpt.ChecksumError),
        (second_handle(INDEX_AT, 20), tfckpt.ChecksumError),
        (second_handle(INDEX_AT, 1 << 32), tfckpt.TruncatedError),
        (two_blocks(index_handle=(0, len(FIRST))), tfckpt.ChecksumError),
        (two_blocks(index_handle=(INDEX_AT - 13, 8)), tfckpt.CorruptionError),
        (two_blocks(metaindex_handle=(INDEX_AT, 8)), tfckpt.ChecksumError),
    ],
    ids=[
        "one block twice",
        "overlap of a few bytes",
        "one block inside the other",
        "index as data block",
        "data block past the end",
        "data block as index",
        "metaindex as index",
        "index as metaindex",
    ],
)
def test_overlapping_or_circular_blocks_are_corruption(index: bytes, error: type[tfckpt.CheckpointError]) -> None:
    """Every block is read once, and its keys must come after those of the previous block."""
    with pytest.raises(error) as caught:
        list_names(index)

    assert type(caught.value) is error
    assert caught.value.path == "model.index"


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (1 << 31, tfckpt.CorruptionError),  # the field is a signed number of 32 bits
        ((1 << 31) - 1, tfckpt.LimitExceededError),
        (100_001, tfckpt.LimitExceededError),
    ],
)
def test_too_large_shard_counts_are_rejected(count: int, error: type[tfckpt.CheckpointError]) -> None:
    """No name of a shard is created before; the limit itself is accepted."""
    with pytest.raises(error) as caught:
        list_names(Bundle(header=builders.header_proto(count)).index())
    assert caught.value.path == "model.index"
    assert not isinstance(caught.value, tfckpt.LimitExceededError) or caught.value.limit == "max_shards"

    assert list_names(Bundle(header=builders.header_proto(100_000)).index()) == []


def nested_attribute(depth: int) -> bytes:
    """Return a `.meta` file whose only node has an attribute of nested functions."""
    value = builders.field_varint(3, 1)
    for _ in range(depth):
        entry = builders.field_bytes(1, b"k") + builders.field_bytes(2, value)
        value = builders.field_bytes(10, builders.field_bytes(1, b"f") + builders.field_bytes(2, entry))
    attribute = builders.field_bytes(5, builders.field_bytes(1, b"a") + builders.field_bytes(2, value))
    node = builders.field_bytes(1, b"n") + builders.field_bytes(2, b"NoOp") + attribute
    return builders.field_bytes(2, builders.field_bytes(1, node))


@pytest.mark.parametrize("depth", [40, 10_000])
def test_deeply_nested_messages_are_corruption(depth: int) -> None:
    """Protobuf accepts 100 nested messages, of which each function here takes three."""
    files = {"model.index": Bundle().index(), "model.data-00000-of-00001": b""}

    with tfckpt.open({**files, "model.meta": nested_attribute(depth)}) as checkpoint:
        with pytest.raises(tfckpt.CorruptionError) as caught:
            _ = checkpoint.graph
        assert caught.value.path == "model.meta"
        assert list(checkpoint) == []

    with tfckpt.open({**files, "model.meta": nested_attribute(20)}) as checkpoint:
        assert checkpoint.graph is not None
        assert [dict(node.attributes) for node in checkpoint.graph] == [{"a": "f"}]


@pytest.mark.parametrize(
    "text", ["x {" * 100_000, "[a.b/c] {" * 100_000, "x: [" * 100_000], ids=["field", "any", "list"]
)
def test_deeply_nested_state_file_is_corruption(tmp_path: pathlib.Path, text: str) -> None:
    """Only known fields are parsed, and none of them nests."""
    valid_bundle().write(tmp_path)
    (tmp_path / "checkpoint").write_text(text)

    with pytest.raises(tfckpt.CorruptionError) as caught:
        tfckpt.open(tmp_path)

    assert caught.value.path == str(tmp_path / "checkpoint")


def test_state_file_with_dots_cannot_leave_an_archive_or_memory(
    tmp_path: pathlib.Path,
) -> None:
    """On a disk `..` is followed as in TensorFlow; in memory and in archives it ends at the root."""
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    valid_bundle().write(tmp_path / "out")
    (tmp_path / "in" / "checkpoint").write_text('model_checkpoint_path: "../out/model"')
    inside = {f"in/{path.name}": path.read_bytes() for path in (tmp_path / "out").iterdir()}

    with tfckpt.open(tmp_path / "in") as checkpoint:
        assert checkpoint["w"].tolist() == [[1, 2], [3, 4]]
    with tfckpt.open({**inside, "checkpoint": b'model_checkpoint_path: "x/../in/model"'}) as checkpoint:
        assert checkpoint["w"].tolist() == [[1, 2], [3, 4]]
    state = f'model_checkpoint_path: "../../../../../..{tmp_path}/out/model"'.encode()
    with pytest.raises(tfckpt.CheckpointNotFoundError):
        tfckpt.open({"checkpoint": state})


@pytest.mark.parametrize("path", ["a" * (1 << 20), "a\\000b", "/proc/self/mem", "/dev/zero", "\\033[2J"])
def test_error_for_a_hostile_state_file_is_one_short_line(tmp_path: pathlib.Path, path: str) -> None:
    """Devices are not read, and quoted names are short and escaped."""
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{path}"')

    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    "verb",
    ["ls", "ls --json", "ls --all", "show", "info", "tree", "graph", "verify", "verify --json", "doctor", "diff"],
)
def test_names_cannot_control_a_terminal(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Escapes, bells, line breaks and direction marks in names are escaped by every verb that prints them."""
    bundle = (
        Bundle().add(f"{ESCAPES}/a", builders.FLOAT, [1], bytes(4)).add(b"\xff\x1bb", builders.FLOAT, [1], bytes(4))
    )
    prefix = str(bundle.add(f"c{ESCAPES}", builders.FLOAT, [1], bytes(4), crc=1).write(tmp_path))
    (tmp_path / "other").mkdir()
    other = str(valid_bundle().write(tmp_path / "other"))
    word, *options = verb.split()
    extra = {"show": [f"{ESCAPES}/a"], "diff": [other]}.get(word, [])

    main([word, prefix, *extra, *options])

    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert printed
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", printed)
    assert not re.search("[\ud800-\udfff]", printed)
    if "--json" in options:
        assert repr(ESCAPES)[1:-1] in repr(json.loads(captured.out))
