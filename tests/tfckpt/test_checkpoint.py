"""A checkpoint as a read-only mapping from names to arrays."""

from __future__ import annotations

import collections.abc
import html
import inspect
import pathlib
import struct

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle


@pytest.fixture
def prefix(tmp_path: pathlib.Path) -> pathlib.Path:
    """A bundle of a matrix, a scalar and strings."""
    bundle = Bundle().add("m", builders.FLOAT, [2, 2], struct.pack("<4f", 1, 2, 3, 4))
    bundle.add("step", builders.INT64, [], struct.pack("<q", 7))
    return bundle.add_strings("words", [b"hi", b""]).write(tmp_path)


def test_checkpoint_is_a_mapping(prefix: pathlib.Path) -> None:
    """It implements the whole mapping protocol, in the order of names."""
    with tfckpt.open(prefix) as checkpoint:
        assert isinstance(checkpoint, collections.abc.Mapping)
        assert list(checkpoint) == list(checkpoint.keys()) == ["m", "step", "words"]
        assert len(checkpoint) == len(list(checkpoint.values())) == 3
        assert [name for name, _ in checkpoint.items()] == ["m", "step", "words"]
        assert checkpoint["step"] == 7
        step = checkpoint.get("step")
        assert step is not None
        assert step.ndim == 0


def test_checkpoint_cannot_be_changed(prefix: pathlib.Path) -> None:
    """Neither the mapping nor its arrays can be modified."""
    with tfckpt.open(prefix) as checkpoint:
        assert not isinstance(checkpoint, collections.abc.MutableMapping)
        with pytest.raises(TypeError):
            checkpoint["m"] = np.zeros(2)  # type: ignore[index]  # what is tested
        assert not checkpoint["m"].flags.writeable


def test_missing_name_is_a_key_error_that_offers_close_names(prefix: pathlib.Path) -> None:
    """As with any mapping, `get` returns the default."""
    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint.get("absent") is None
        with pytest.raises(KeyError) as caught:
            checkpoint["word"]

    assert isinstance(caught.value, tfckpt.TensorNotFoundError)
    assert (caught.value.path, caught.value.tensor) == (str(prefix), "word")
    assert caught.value.close_names == ("words",)
    assert "words" in str(caught.value)


@pytest.mark.parametrize("name", ["", "absent", "m\0", "\ud800"], ids=ascii)
def test_unknown_names_are_not_contained(prefix: pathlib.Path, name: str) -> None:
    """The empty name is the key of the header and not a tensor."""
    with tfckpt.open(prefix) as checkpoint:
        assert "m" in checkpoint
        assert name not in checkpoint
        with pytest.raises(tfckpt.TensorNotFoundError):
            checkpoint.info(name)


def test_name_that_is_not_a_string_is_a_type_error(prefix: pathlib.Path) -> None:
    """The operator `in` accepts any object, as with other mappings."""
    with tfckpt.open(prefix) as checkpoint:
        objects: list[object] = [b"m", None, 5]
        assert not any(item in checkpoint for item in objects)
        with pytest.raises(TypeError):
            checkpoint[b"m"]  # type: ignore[index]  # what is tested
        with pytest.raises(TypeError):
            checkpoint.info(5)  # type: ignore[arg-type]  # what is tested


def test_checkpoints_are_equal_only_to_themselves(prefix: pathlib.Path) -> None:
    """Comparing two mappings of arrays would read both completely."""
    with tfckpt.open(prefix) as one, tfckpt.open(prefix) as other:
        assert one == one  # noqa: PLR0124  # what is tested
        assert one != other
        assert len({one, other}) == 2


def test_closed_checkpoint_raises_value_error(prefix: pathlib.Path) -> None:
    """Every operation fails; closing again has no effect, and arrays stay valid."""
    checkpoint = tfckpt.open(prefix)
    array = checkpoint["m"]
    checkpoint.close()
    checkpoint.close()

    assert array.sum() == 10
    assert repr(checkpoint) == f"<closed Checkpoint {str(prefix)!r}>"
    for use in (
        lambda: checkpoint["m"],
        lambda: list(checkpoint),
        lambda: len(checkpoint),
        lambda: "m" in checkpoint,
        lambda: checkpoint.info("m"),
        checkpoint.infos,
        checkpoint.missing_files,
        lambda: checkpoint.files,
        lambda: checkpoint.format,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_checkpoint_describes_itself(prefix: pathlib.Path) -> None:
    """Prefix, format, files and notes are properties."""
    with tfckpt.open(prefix) as checkpoint:
        assert repr(checkpoint) == f"<Checkpoint {str(prefix)!r}>"
        assert checkpoint.prefix == str(prefix)
        assert checkpoint.format == "V2"
        assert checkpoint.files == (f"{prefix}.index", f"{prefix}.data-00000-of-00001")
        assert checkpoint.missing_files() == {}
        assert checkpoint.notes == ()


def test_context_manager_closes_after_an_error_too(prefix: pathlib.Path) -> None:
    """The error propagates."""
    with pytest.raises(ZeroDivisionError), tfckpt.open(prefix) as checkpoint:
        raise ZeroDivisionError

    with pytest.raises(ValueError, match="closed"):
        len(checkpoint)


def test_path_may_be_a_string_or_a_path_object(prefix: pathlib.Path) -> None:
    """Anything that `os.fspath` converts to a str is accepted."""
    for path in (prefix, str(prefix)):
        with tfckpt.open(path) as checkpoint:
            assert len(checkpoint) == 3


@pytest.mark.parametrize("path", [None, 5, b"bytes"], ids=repr)
def test_path_of_another_type_is_a_type_error(path: object) -> None:
    """Misuse is reported immediately."""
    with pytest.raises(TypeError):
        tfckpt.open(path)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("path", ["", "a\0b", "a\0b/c", "\ud800"], ids=ascii)
def test_path_that_no_file_can_have_is_not_found(path: str) -> None:
    """The operating system's own errors for such paths do not escape."""
    with pytest.raises(tfckpt.CheckpointError):
        tfckpt.open(path)


def test_limits_of_the_caller_are_enforced(prefix: pathlib.Path) -> None:
    """A scanner that reads untrusted files sets them low."""
    with tfckpt.open(prefix, limits=tfckpt.Limits(max_entries=4)) as checkpoint:
        assert len(checkpoint) == 3

    with (
        tfckpt.open(prefix, limits=tfckpt.Limits(max_entries=3)) as checkpoint,
        pytest.raises(tfckpt.LimitExceededError) as caught,
    ):
        list(checkpoint)

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_entries", 3, 4)


def test_options_are_keyword_only() -> None:
    """Only the path, which everyone passes, is positional."""
    parameters = inspect.signature(tfckpt.open).parameters

    assert [name for name, item in parameters.items() if item.kind is not item.KEYWORD_ONLY] == ["path"]


def test_damaged_tensor_does_not_affect_the_others(prefix: pathlib.Path) -> None:
    """Only the checksum of the tensor that is read is verified, unless `verify=False`."""
    shard = prefix.with_name("model.data-00000-of-00001")
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)

    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint["step"] == 7
        with pytest.raises(tfckpt.ChecksumError) as caught:
            checkpoint["m"]
        assert checkpoint.read("m", verify=False).shape == (2, 2)

    assert (caught.value.path, caught.value.tensor, caught.value.offset) == (str(shard), "m", 0)
    assert caught.value.computed == builders.crc32c(bytes(data[:16]))
    assert caught.value.stored == builders.crc32c(struct.pack("<4f", 1, 2, 3, 4))


def test_info_is_a_frozen_record(prefix: pathlib.Path) -> None:
    """It contains everything that is known without reading the tensor."""
    with tfckpt.open(prefix) as checkpoint:
        info = checkpoint.info("m")

    assert info == tfckpt.TensorInfo(
        name="m",
        dtype=np.dtype(np.float32),
        tf_dtype="DT_FLOAT",
        shape=(2, 2),
        nbytes=16,
        shard=0,
        offset=0,
        crc32c=builders.crc32c(struct.pack("<4f", 1, 2, 3, 4)),
        slices=(),
    )
    assert info.size == 4
    with pytest.raises(AttributeError):
        info.name = "other"  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, ["m", "step", "words"]),
        ("*s*", ["step", "words"]),
        ("or", ["words"]),
        ("M", []),
        ("[mw]*", ["m", "words"]),
    ],
)
def test_infos_are_those_of_the_names_that_match(prefix: pathlib.Path, pattern: str | None, names: list[str]) -> None:
    """As in `tfckpt ls`: a glob for whole names, or a part of them."""
    with tfckpt.open(prefix) as checkpoint:
        assert [info.name for info in checkpoint.infos(pattern)] == names


def test_ipython_completes_names(prefix: pathlib.Path) -> None:
    """The hook of IPython and Jupyter for keys; a closed checkpoint has none."""
    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint._ipython_key_completions_() == ["m", "step", "words"]
    assert checkpoint._ipython_key_completions_() == []


def test_notebook_shows_a_table_of_the_first_tensors(tmp_path: pathlib.Path) -> None:
    """Names are escaped, and thousands of tensors make no long output."""
    bundle = Bundle().add("<b>", builders.FLOAT, [2], bytes(8))
    for number in range(30):
        bundle.add(f"w{number:02d}", builders.INT64, [], bytes(8))

    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        shown = checkpoint._repr_html_()

    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert shown.count("<tr>") == 21
    assert "and 11 more tensors" in shown
    assert "31 tensors" in shown
    assert "&lt;closed Checkpoint" in checkpoint._repr_html_()


def test_notebook_shows_what_is_wrong_with_a_damaged_index(tmp_path: pathlib.Path) -> None:
    """A display must not raise."""
    bundle = Bundle()
    for number in range(8):
        bundle.add(f"w{number}", builders.FLOAT, [1], bytes(4))
    prefix = bundle.write(tmp_path, index=bundle.index(per_block=2))
    index = prefix.with_name("model.index")
    data = bytearray(index.read_bytes())
    data[data.index(b"w5") + 3] ^= 1
    index.write_bytes(data)

    with tfckpt.open(prefix) as checkpoint, pytest.raises(tfckpt.CorruptionError) as caught:
        list(checkpoint)
    with tfckpt.open(prefix) as checkpoint:
        assert caught.value.message in html.unescape(checkpoint._repr_html_())
