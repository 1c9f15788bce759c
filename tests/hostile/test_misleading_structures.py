"""Files whose parts are sound one by one and mislead together, each beside its nearest legal twin."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle, handle
from tests.hostile.test_failure_table import sound
from tfckpt.cli import main

FIRST = builders.block([(b"", builders.header_proto()), (b"a", builders.entry_proto(builders.FLOAT, [1], size=4))])
SECOND = builders.block([(b"m", builders.entry_proto(builders.FLOAT, [1], size=4, offset=4))])
#: Where the index block begins: after two data blocks and the empty metaindex, each with 5 bytes of trailer.
INDEX_AT = len(FIRST) + 5 + len(SECOND) + 5 + len(builders.EMPTY_BLOCK) + 5
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202eevil\r\n\u2028"


def names_of(index: bytes) -> list[str]:
    """The names of a bundle with this index, in memory."""
    with tfckpt.open({"model.index": index, "model.data-00000-of-00001": bytes(8)}) as checkpoint:
        return list(checkpoint)


def two_blocks(**broken: object) -> bytes:
    """An index of two data blocks and keywords of `table_of_blocks`."""
    return builders.table_of_blocks([FIRST, SECOND], [b"a", b"z"], **broken)  # type: ignore[arg-type]  # each keyword has its own type


def second_handle(offset: int, size: int) -> bytes:
    """An index whose second entry leads somewhere else."""
    return two_blocks(handle_of=lambda number, place: handle(offset, size) if number else handle(*place))


def test_two_blocks_side_by_side_are_read() -> None:
    """What the cases below start from."""
    assert names_of(two_blocks()) == ["a", "m"]


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (second_handle(0, len(FIRST)), "key b'' is not after the separator b'a'"),
        (second_handle(len(FIRST), len(SECOND) + 5), "crc32c"),
        (second_handle(0, len(FIRST) + 5 + len(SECOND)), "crc32c"),
        (second_handle(INDEX_AT, 20), "crc32c|past the end"),
        (second_handle(INDEX_AT, 1 << 32), "past the end"),
        (two_blocks(index_handle=(0, len(FIRST))), "handle|crc32c|past the end|varint"),
        (two_blocks(index_handle=(INDEX_AT - 13, 8)), "without a bundle header"),
        (two_blocks(metaindex_handle=(INDEX_AT, 8)), "metaindex"),
    ],
    ids=[
        "one block twice",
        "overlap of a few bytes",
        "one block around the other",
        "data block that is the index",
        "data block past the end",
        "index that is a data block",
        "index that is the metaindex",
        "metaindex that is the index",
    ],
)
def test_blocks_that_overlap_or_lead_back_are_corruption(index: bytes, text: str) -> None:
    """Every block is read once, and its keys must come after those of the block before it."""
    with pytest.raises(tfckpt.CorruptionError, match=text):
        names_of(index)


@pytest.mark.parametrize(
    ("count", "error", "text"),
    [
        (1 << 31, tfckpt.CorruptionError, "-2147483648 data shards"),  # the field has 32 bits and a sign
        ((1 << 31) - 1, tfckpt.LimitExceededError, "max_shards"),
        (100_001, tfckpt.LimitExceededError, "max_shards"),
    ],
)
def test_shard_counts_beyond_the_limit_are_refused(count: int, error: type[Exception], text: str) -> None:
    """Before any name of a shard is made; the limit itself is accepted."""
    with pytest.raises(error, match=text):
        names_of(Bundle(header=builders.header_proto(count)).index())

    assert names_of(Bundle(header=builders.header_proto(100_000)).index()) == []


def nested_attribute(depth: int) -> bytes:
    """A `.meta` file whose only node has an attribute of functions inside functions."""
    value = builders.field_varint(3, 1)
    for _ in range(depth):
        entry = builders.field_bytes(1, b"k") + builders.field_bytes(2, value)
        value = builders.field_bytes(10, builders.field_bytes(1, b"f") + builders.field_bytes(2, entry))
    attribute = builders.field_bytes(5, builders.field_bytes(1, b"a") + builders.field_bytes(2, value))
    node = builders.field_bytes(1, b"n") + builders.field_bytes(2, b"NoOp") + attribute
    return builders.field_bytes(2, builders.field_bytes(1, node))


@pytest.mark.parametrize("depth", [40, 10_000])
def test_messages_nested_without_end_are_corruption(depth: int) -> None:
    """Protobuf stops at 100 messages inside one another, of which each function here takes three."""
    files = {"model.index": Bundle().index(), "model.data-00000-of-00001": b""}

    with tfckpt.open({**files, "model.meta": nested_attribute(depth)}) as checkpoint:
        with pytest.raises(tfckpt.CorruptionError, match="do not parse as MetaGraphDef"):
            _ = checkpoint.graph
        assert list(checkpoint) == []

    with tfckpt.open({**files, "model.meta": nested_attribute(20)}) as checkpoint:
        assert checkpoint.graph is not None
        assert [dict(node.attributes) for node in checkpoint.graph] == [{"a": "f"}]


@pytest.mark.parametrize(
    "text", ["x {" * 100_000, "[a.b/c] {" * 100_000, "x: [" * 100_000], ids=["field", "any", "list"]
)
def test_state_file_nested_without_end_is_corruption(tmp_path: pathlib.Path, text: str) -> None:
    """Only the fields that exist are entered, and none of them nests."""
    sound().write(tmp_path)
    (tmp_path / "checkpoint").write_text(text)

    with pytest.raises(tfckpt.CorruptionError, match="does not parse as CheckpointState"):
        tfckpt.open(tmp_path)


def test_state_file_with_dots_leads_where_tensorflow_goes_and_never_out_of_an_archive_or_memory(
    tmp_path: pathlib.Path,
) -> None:
    """On a disk `..` is a path like any other; the root of files in memory or in an archive is where it ends."""
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    sound().write(tmp_path / "out")
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
def test_state_file_that_names_no_checkpoint_is_said_in_a_short_line(tmp_path: pathlib.Path, path: str) -> None:
    """Devices are not read, and what is quoted is short and cannot reach a terminal."""
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{path}"')

    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    "verb",
    ["ls", "ls --json", "ls --all", "show", "info", "tree", "graph", "verify", "verify --json", "doctor", "diff"],
)
def test_names_cannot_command_a_terminal(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Escapes, bells, line ends and marks of direction in names are shown, not sent, by every verb that prints them."""
    bundle = (
        Bundle().add(f"{ESCAPES}/a", builders.FLOAT, [1], bytes(4)).add(b"\xff\x1bb", builders.FLOAT, [1], bytes(4))
    )
    prefix = str(bundle.add(f"c{ESCAPES}", builders.FLOAT, [1], bytes(4), crc=1).write(tmp_path))
    (tmp_path / "other").mkdir()
    other = str(sound().write(tmp_path / "other"))
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
