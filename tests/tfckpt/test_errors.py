"""The error family: what is caught as what, what a message says, and how errors travel."""

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
    """Code that knows nothing of this package still catches the right thing."""
    kind = getattr(errors, name)

    assert issubclass(kind, CheckpointError)
    assert issubclass(kind, builtin)


def test_every_error_of_the_module_is_one_of_the_family() -> None:
    """The tree that the module's docstring draws is the tree that is there."""
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
def test_error_pickles_whole(error: CheckpointError, protocol: int) -> None:
    """Class, text and every attribute arrive in the other process."""
    with pytest.raises(CheckpointError) as caught, error_context(path="a path", tensor="a tensor"):
        raise copy.copy(error)

    again = pickle.loads(pickle.dumps(caught.value, protocol))

    assert type(again) is type(error)
    assert str(again) == str(caught.value)
    assert again.args == caught.value.args
    assert (again.path, again.tensor, again.offset) == (caught.value.path, caught.value.tensor, caught.value.offset)
    assert vars(again) == vars(caught.value)


def test_message_says_where_and_what() -> None:
    """File, offset and tensor, as far as they are known, before the text."""
    full = errors.CorruptionError("broken", path="dir/m.index", offset=12, tensor="w/b")

    assert str(full) == "dir/m.index, byte 12, tensor 'w/b': broken"
    assert str(errors.CorruptionError("broken", offset=0)) == "byte 0: broken"
    assert str(errors.CorruptionError("broken")) == "broken"


def test_key_error_message_is_not_quoted() -> None:
    """KeyError shows the repr of its argument; ours is a sentence."""
    assert str(errors.TensorNotFoundError("not in the checkpoint", tensor="w")) == "tensor 'w': not in the checkpoint"


def test_context_fills_in_only_what_is_not_known() -> None:
    """The innermost file and tensor stay."""
    error = errors.CorruptionError("broken", path="inner")

    with pytest.raises(errors.CorruptionError), error_context(path="outer", tensor="t"):
        raise error

    assert (error.path, error.tensor) == ("inner", "t")


def test_context_leaves_foreign_errors_alone() -> None:
    """Only the family has a place for them."""
    with pytest.raises(ZeroDivisionError) as caught, error_context(path="p"):
        raise ZeroDivisionError("zero")

    assert not hasattr(caught.value, "path")


def test_limit_error_says_how_to_raise_the_limit() -> None:
    """The name of the limit is one of `Limits`."""
    error = errors.LimitExceededError("too many slices", limit="max_slices", maximum=5, claimed=6)

    assert str(error) == (
        "too many slices: 6 is over the limit max_slices=5; "
        "if the file is trusted, raise it with limits=tfckpt.Limits(max_slices=...), "
        "on the command line with --limit max_slices=..."
    )


def test_missing_dependency_names_package_and_extra() -> None:
    """The command can be copied from the message."""
    error = errors.MissingDependencyError("fsspec", extra="remote", purpose="reading an address")

    assert str(error) == "reading an address needs the package fsspec; install it with: pip install 'tfckpt[remote]'"


def test_message_is_one_line_without_control_characters(tmp_path: pathlib.Path) -> None:
    """Names and paths from files are escaped, in the text of the message too."""
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "evil\\033[31m\\nname"\n')

    with pytest.raises(CheckpointError) as caught:
        tfckpt.open(tmp_path)

    assert "evil\\x1b[31m\\nname" in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.text())
def test_printable_text_is_printable_and_plain_text_stays(text: str) -> None:
    """Control characters, lone surrogates and marks that turn the direction become escapes."""
    shown = printable(text)

    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("größe/日本", "größe/日本"), ("a\x1b[2J", "a\\x1b[2J"), ("\u202ename", "\\u202ename"), ("\udcff", "\\udcff")],
)
def test_printable_escapes_what_terminals_obey(text: str, expected: str) -> None:
    """Letters of every script stay as they are."""
    assert printable(text) == expected


@given(st.text(max_size=1500), st.binary(max_size=1500))
def test_long_names_and_keys_are_shown_in_part(name: str, key: bytes) -> None:
    """A name of thousands of characters does not fill the screen, and a short one is not touched."""
    assert len(abridged(name)) < 500
    assert len(format_key(key)) < 1700
    assert abridged(name) == name or len(name) > 400
    assert format_key(key) == repr(key) or len(key) > 400


def test_long_name_in_a_message_says_how_much_was_left_out() -> None:
    """Beginning and end tell most."""
    error = errors.CorruptionError("broken", tensor="a" * 300 + "b" * 300)

    assert str(error) == f"tensor '{'a' * 200} [200 characters] {'b' * 200}': broken"
    assert error.tensor == "a" * 300 + "b" * 300


def test_read_that_begins_past_the_end_has_no_bytes_available() -> None:
    """What is left is never a negative number."""
    error = past_end("payload", needed=8, available=-3, path="model.data", offset=11)

    assert (error.needed, error.available, error.path, error.offset) == (8, 0, "model.data", 11)
    assert str(error) == "model.data, byte 11: payload reaches past the end: 8 bytes needed, 0 available"


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
    """At most so many names are shown, as printable text; the number of the others follows."""
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
    """One thing is singular, any other number of them plural."""
    assert pluralize(number, noun) == expected


def test_close_names_are_the_likeliest_first() -> None:
    """At most three of them."""
    names = ["stem/kernel", "stem/kernels", "stem/bias", "head/kernel", "unrelated"]

    assert find_close_names("stem/kerne", names)[0] == "stem/kernel"
    assert len(find_close_names("stem/kernel", names)) <= 3
    assert find_close_names("zzzz", names) == ()


def test_close_names_among_many_share_the_last_part() -> None:
    """Comparing thousands of names would take seconds."""
    names = [f"block_{number}/kernel" for number in range(20_000)] + ["blocks_7/bias"]

    assert find_close_names("block_7/bias", names) == ("blocks_7/bias",)
