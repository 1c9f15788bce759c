"""TensorFlow's messages in a private descriptor pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt import protos
from tfckpt.errors import CorruptionError


def test_message_parses_from_hand_made_bytes() -> None:
    """Every field of an entry is read by its number."""
    data = builders.entry_proto(1, [2, 3], shard_id=4, offset=5, size=6, crc=0, slices=[[None, (7, 8)]])

    message = protos.parse("BundleEntryProto", data)

    assert (message.dtype, message.shard_id, message.offset, message.size) == (1, 4, 5, 6)
    assert [dim.size for dim in message.shape.dim] == [2, 3]
    assert message.crc32c == builders.mask(0)
    assert message.slices[0].extent[1].start == 7
    assert not message.slices[0].extent[0].HasField("length")


def test_unknown_fields_are_ignored() -> None:
    """Newer releases may add fields."""
    data = builders.field_varint(99, 5) + builders.header_proto(3) + builders.field_bytes(100, b"anything")

    assert protos.parse("BundleHeaderProto", data).num_shards == 3


@pytest.mark.parametrize("packed", [False, True])
def test_repeated_numbers_are_read_packed_and_unpacked(packed: bool) -> None:
    """Both encodings are legal on the wire."""
    data = builders.header_proto(bad_consumers=[2, 3], packed=packed)

    assert list(protos.parse("BundleHeaderProto", data).version.bad_consumers) == [2, 3]


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x0a\x05ab", b"\xff" * 11, b"\x07"], ids=["cut", "short", "tag", "wire type"]
)
def test_bytes_that_are_not_a_message_are_corrupt(data: bytes) -> None:
    """Truncated fields, bad tags and undefined wire types are corruption."""
    with pytest.raises(CorruptionError):
        protos.parse("BundleEntryProto", data)


def test_deep_nesting_is_corrupt_and_not_a_recursion_error() -> None:
    """A message may contain itself hundreds of times."""
    data = b""
    for _ in range(50):
        data = builders.field_bytes(15, builders.field_bytes(3, data))
    deeper = data
    for _ in range(500):
        deeper = builders.field_bytes(15, builders.field_bytes(3, deeper))

    assert protos.parse("TensorProto", data).variant_val
    with pytest.raises(CorruptionError):
        protos.parse("TensorProto", deeper)


def test_error_in_text_has_its_line_and_column() -> None:
    """They come from protobuf's own message."""
    assert protos.parse_text("CheckpointState", 'model_checkpoint_path: "a"').model_checkpoint_path == "a"

    with pytest.raises(CorruptionError, match=r"\b2:1\b"):
        protos.parse_text("CheckpointState", 'model_checkpoint_path: "a"\nunknown: 1')


@given(
    st.sampled_from(["BundleEntryProto", "BundleHeaderProto", "TensorProto", "MetaGraphDef"]), st.binary(max_size=60)
)
def test_arbitrary_bytes_give_a_message_or_our_error(name: str, data: bytes) -> None:
    """Messages that parse can be serialized and parsed again without a change."""
    try:
        message = protos.parse(name, data)
    except CorruptionError:
        return

    again = protos.parse(name, message.SerializeToString())
    assert again.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@given(st.text(max_size=60) | st.text(alphabet="model_checkpoint_path:\"\\\n'0189xu{}<>[]#-.e ", max_size=60))
def test_arbitrary_text_gives_a_message_or_our_error(text: str) -> None:
    """None of protobuf's own errors escape, whatever escapes, numbers and brackets the text contains."""
    for source in (text, f'model_checkpoint_path: "{text}"', f"last_preserved_timestamp: {text}"):
        try:
            message = protos.parse_text("CheckpointState", source)
        except CorruptionError:
            continue

        assert isinstance(message.model_checkpoint_path, str)


@pytest.mark.parametrize(
    "text",
    ["1" * 5000, "-" + "9" * 400, "1e999999", "0x" + "f" * 400, "nan", "-inf", "07777777777777777777777777777777"],
    ids=["5000 digits", "400 digits", "exponent", "hexadecimal", "nan", "infinity", "octal"],
)
def test_extreme_numbers_in_text_give_a_message_or_our_error(text: str) -> None:
    """Python itself refuses to parse integers of more than 4300 digits."""
    try:
        message = protos.parse_text("CheckpointState", f"last_preserved_timestamp: {text}")
    except CorruptionError:
        return

    assert isinstance(message.last_preserved_timestamp, float)
