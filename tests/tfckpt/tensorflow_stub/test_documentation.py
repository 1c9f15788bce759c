"""docs/stand-in.md names everything that the stand-in offers."""

from __future__ import annotations

import pathlib
import re

from tests.tfckpt.tensorflow_stub.test_answers import ROWS
from tests.tfckpt.train.test_table import ROWS as EXPRESSIONS
from tfckpt.tensorflow_stub.contents import list_contents
from tfckpt.train import OpError
from tfckpt.train.dtypes import DType

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "stand-in.md").read_text(encoding="utf-8")
#: What is between backticks, as names: `tf.io.gfile` and `python.framework.ops` count for each of their parts.
WORDS = {word for code in re.findall(r"`([^`\n]+)`", PAGE) for word in re.split(r"[^\w]+", code)}


def test_every_offered_name_is_documented() -> None:
    """Dtypes, classes and codes of errors, and numbers of types are documented as groups."""
    names = {
        name
        for offered in list_contents().values()
        for name, value in offered.items()
        if not isinstance(value, DType | int) and not (isinstance(value, type) and issubclass(value, OpError))
    }

    assert sorted(names - WORDS) == []
    assert len(names) > 200


def test_every_module_is_documented() -> None:
    """Each part of its name; those below `compat.v1` and `compat.v2` are the same as above."""
    parts = {part for name in list_contents() for part in name.split(".")}

    assert sorted(parts - WORDS - {""}) == []


def test_counts_of_recorded_answers_are_true() -> None:
    """The page says how many answers of TensorFlow are compared."""
    assert f"{len(EXPRESSIONS)} expressions" in PAGE
    assert f"{len(ROWS)} programs" in PAGE
