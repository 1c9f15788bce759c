"""The error classes: their builtin bases, their messages, and pickling."""

from __future__ import annotations

import copy
import inspect
import pathlib
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfckpt
from tfckpt import errors
from tfckpt.errors import (
    CheckpointError,
    abridged,
    error_context,
    find_close_names,
    format_key,
    join_some,
    past_end,
    pluralize,
    printable,
)

EXAMPLES: list[CheckpointError] = [
    errors.CheckpointError("plain"),
    errors.CheckpointNotFoundError("nothing there", path="a/b"),
    errors.TensorNotFoundError("not in it", close_names=["x", "y"], path="p", tensor="z"),
    errors.CorruptionError("broken", path="p", offset=3),
    errors.TruncatedError("short", needed=8, available=5, offset=0),
    errors.ChecksumError("differs", stored=1, computed=2, tensor="w"),
    errors.UnsupportedFeatureError("new"),
    errors.LimitExceededError("large", limit="max_slices", maximum=5, claimed=6),
    errors.MissingDependencyError("fsspec", extra="remote", purpose="reading s3://x"),
    errors.MissingDependencyError("fsspec", extra="remote", purpose="reading s3://x", reason="no such symbol"),
    errors.StorageError("no permission", path="p"),
]
ids = [type(example).__name__ for example in EXAMPLES]


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("CheckpointNotFoundError", FileNotFoundError),
        ("TensorNotFoundError", KeyError),
        ("CorruptionError", ValueError),
        ("TruncatedError", ValueError),
        ("ChecksumError", ValueError),
        ("UnsupportedFeatureError", NotImplementedError),
        ("MissingDependencyError", ImportError),
        ("LimitExceededError", Exception),
    ],
)
def test_error_is_also_the_builtin_that_callers_expect(name: str, builtin: type[Exception]) -> None:
    """Code that does not know this package still catches the right errors."""
    kind = getattr(errors, name)

    assert issubclass(kind, CheckpointError)
    assert issubclass(kind, builtin)


def test_docstring_draws_every_error_of_the_module() -> None:
    """All of them are checkpoint errors, except the base class shared with `converter`."""
    drawn = set(re.findall(r"\b\w+Error\b", (errors.__doc__ or "").split("Low layers")[0]))
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    builtin = {name for name in drawn if hasattr(__builtins__, name) or name in dir(__import__("builtins"))}

    assert drawn - builtin == defined
    assert all(issubclass(getattr(errors, name), CheckpointError) for name in defined - {"ReportedError"})


@pytest.mark.parametrize("error", EXAMPLES, ids=ids)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_error_pickles_with_its_attributes(error: CheckpointError, protocol: int) -> None:
    """Class, message and every attribute arrive in the other process."""
    with pytest.raises(CheckpointError) as caught, error_context(path="a path", tensor="a tensor"):
        raise copy.copy(error)

    again = pickle.loads(pickle.dumps(caught.value, protocol))

    assert type(again) is type(error)
    assert str(again) == str(caught.value)
    assert again.args == caught.value.args
    assert (again.path, again.tensor, again.offset) == (caught.value.path, caught.value.tensor, caught.value.offset)
    assert vars(again) == vars(caught.value)


def test_text_of_an_error_begins_with_its_location() -> None:
    """Path, offset and tensor come before the message, if they are known."""
    full = errors.CorruptionError("broken", path="dir/m.index", offset=12, tensor="w/b")

    assert str(full) == "dir/m.index, byte 12, tensor 'w/b': broken"
    assert str(errors.CorruptionError("broken", offset=0)) == "byte 0: broken"
    assert str(errors.CorruptionError("broken")) == "broken"


def test_text_of_a_missing_tensor_is_not_quoted() -> None:
    """KeyError would show the repr of its argument."""
    assert str(errors.TensorNotFoundError("not in the checkpoint", tensor="w")) == "tensor 'w': not in the checkpoint"


def test_context_fills_in_only_missing_attributes() -> None:
    """The innermost file and tensor are kept."""
    error = errors.CorruptionError("broken", path="inner")

    with pytest.raises(errors.CorruptionError), error_context(path="outer", tensor="t"):
        raise error

    assert (error.path, error.tensor) == ("inner", "t")


def test_context_does_not_change_other_errors() -> None:
    """Only checkpoint errors have these attributes."""
    with pytest.raises(ZeroDivisionError) as caught, error_context(path="p"):
        raise ZeroDivisionError("zero")

    assert not hasattr(caught.value, "path")


def test_limit_error_says_how_to_raise_the_limit() -> None:
    """Users can copy the argument and the option from the message."""
    error = errors.LimitExceededError("too many slices", limit="max_slices", maximum=5, claimed=6)

    assert "limits=tfckpt.Limits(max_slices=...)" in str(error)
    assert "--limit max_slices=..." in str(error)


def test_missing_dependency_names_package_and_extra() -> None:
    """Users can copy the command from the message."""
    error = errors.MissingDependencyError("fsspec", extra="remote", purpose="reading an address")

    assert (error.package, error.extra) == ("fsspec", "remote")
    assert "pip install 'tfckpt[remote]'" in str(error)


def test_message_is_one_line_without_control_characters(tmp_path: pathlib.Path) -> None:
    """Names and paths from files are escaped, also inside the message."""
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "evil\\033[31m\\nname"\n')

    with pytest.raises(CheckpointError) as caught:
        tfckpt.open(tmp_path)

    assert "evil\\x1b[31m\\nname" in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.text())
def test_printable_text_is_printable_and_plain_text_stays(text: str) -> None:
    """Control characters, lone surrogates and direction marks become escapes."""
    shown = printable(text)

    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("größe/日本", "größe/日本"), ("a\x1b[2J", "a\\x1b[2J"), ("\u202ename", "\\u202ename"), ("\udcff", "\\udcff")],
)
def test_printable_escapes_control_characters(text: str, expected: str) -> None:
    """Letters of every script are kept."""
    assert printable(text) == expected


@given(st.text(max_size=1500), st.binary(max_size=1500))
def test_long_names_and_keys_are_shortened(name: str, key: bytes) -> None:
    """A name of thousands of characters does not fill the screen, and short names are not changed."""
    assert len(abridged(name)) < 500
    assert len(format_key(key)) < 1700
    assert abridged(name) == name or len(name) > 400
    assert format_key(key) == repr(key) or len(key) > 400


def test_long_name_in_a_message_says_how_much_was_left_out() -> None:
    """The beginning and the end of a name are the most useful parts."""
    error = errors.CorruptionError("broken", tensor="a" * 300 + "b" * 300)

    assert str(error) == f"tensor '{'a' * 200} [200 characters] {'b' * 200}': broken"
    assert error.tensor == "a" * 300 + "b" * 300


def test_read_that_begins_past_the_end_has_no_bytes_available() -> None:
    """The number of available bytes is never negative."""
    error = past_end("payload", needed=8, available=-3, path="model.data", offset=11)

    assert (error.needed, error.available, error.path, error.offset) == (8, 0, "model.data", 11)


def test_read_past_the_end_of_a_file_says_the_size_of_the_file() -> None:
    """A reader can tell a file that was cut short from a claim that is wrong."""
    error = past_end("payload", needed=8, available=2, file_size=1002)

    assert "1,002 bytes" in error.message


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (["a\n", "b", "c"], "a\\n, b, c"),
    ],
    ids=["none", "one", "as many as are shown", "one too many", "unprintable"],
)
def test_joined_names_end_with_the_number_left_out(names: list[str], expected: str) -> None:
    """At most `most` names are shown, as printable text, followed by the number of the others."""
    assert join_some(names, most=3) == expected


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (0, "tensor", "0 tensors"),
        (1, "tensor", "1 tensor"),
        (2000, "tensor", "2,000 tensors"),
        (2, "class", "2 classes"),
    ],
    ids=["none", "one", "many", "ends in s"],
)
def test_noun_follows_its_number(number: int, noun: str, expected: str) -> None:
    """Only the number 1 takes the singular."""
    assert pluralize(number, noun) == expected


def test_close_names_begin_with_the_best_match() -> None:
    """At most three are returned."""
    names = ["stem/kernel", "stem/kernels", "stem/bias", "head/kernel", "unrelated"]

    assert find_close_names("stem/kerne", names)[0] == "stem/kernel"
    assert len(find_close_names("stem/kernel", names)) <= 3
    assert find_close_names("zzzz", names) == ()


def test_close_names_among_many_share_the_last_part() -> None:
    """Comparing thousands of names would take seconds."""
    names = [f"block_{number}/kernel" for number in range(20_000)] + ["blocks_7/bias"]

    assert find_close_names("block_7/bias", names) == ("blocks_7/bias",)
