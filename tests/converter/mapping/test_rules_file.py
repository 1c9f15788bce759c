"""Rules as TOML: what a file says, what is wrong with one and where, and that built-in tables are written the same."""

from __future__ import annotations

import pathlib

import pytest

from converter.errors import RulesError
from converter.families.search import FAMILIES
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet
from converter.mapping.rules_file import MAX_BYTES, parse_rules, read_rules, to_toml
from converter.model.config import CONFIGS

TEXT = """\
name = "net"
version = "2"
names = "full_name"
scope = "net/"

[[rule]]
source = "layer_{n}/kernel"
target = "layers.{n}.weight"
layout = "dense"

[[rule]]
source = "layer_{n}/{part}"
target = "layers.{n}.{part}"

[[ignore]]
source = "{variable...}/Momentum"
reason = "slot"

[[constant]]
target = "count"
value = 0
dtype = "int64"
reason = "counts nothing"

[words.part]
beta = "bias"
"""


def test_file_gives_a_rule_set() -> None:
    """Every table and every word of it is there."""
    assert parse_rules(TEXT) == RuleSet(
        name="net",
        version="2",
        names="full_name",
        scope="net/",
        rules=(Rule("layer_{n}/kernel", "layers.{n}.weight", "dense"), Rule("layer_{n}/{part}", "layers.{n}.{part}")),
        ignores=(Ignore("{variable...}/Momentum", "slot"),),
        constants=(Constant("count", 0, "int64", "counts nothing"),),
        words={"part": {"beta": "bias"}},
    )


def test_file_without_name_is_called_like_itself(tmp_path: pathlib.Path) -> None:
    """Only rules are needed; names are paths unless it says otherwise."""
    path = tmp_path / "mine.toml"
    path.write_text('[[rule]]\nsource = "a"\ntarget = "b"\n', encoding="utf-8")

    rules = read_rules(path)

    assert (rules.name, rules.version, rules.names, rules.scope) == ("mine", "1", "path", "")


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (('= "net/"', "= net/"), 4, "no TOML"),
        (('layout = "dense"', 'layout = "desne"'), 6, "unknown layout 'desne', known are identity, conv2d"),
        (('"layers.{n}.weight"', '"layers.{m}.weight"'), 6, "has unknown group 'm'"),
        (('"layer_{n}/kernel"', '"layer_{n}/{n}"'), 6, "has a group twice"),
        (('target = "layers.{n}.{part}"', ""), 11, "rule 2 has no target"),
        (('source = "layer_{n}/{part}"', "source = 7"), 11, "rule 2: source is 7, expected a text"),
        (('source = "layer_{n}/{part}"', 'source = ""'), 11, "rule 2 has an empty source"),
        (
            ('target = "layers.{n}.{part}"', 'target = "b"\ntransform = "x"'),
            11,
            "rule 2 has an unknown key 'transform'",
        ),
        (('reason = "slot"', ""), 15, "ignore 1 has no reason"),
        (('reason = "slot"', 'reason = ""'), 15, "ignore 1 has an empty reason"),
        (("value = 0", "value = true"), 19, "constant 1: value is True, expected a number"),
        (('dtype = "int64"', 'dtype = "object"'), 19, "constant 1: dtype is 'object', expected one of bool"),
        (("value = 0", "value = 0.5"), 19, "constant 'count': int64 has no 0.5"),
        (("value = 0", "value = nan"), 19, "int64 has no nan"),
        (("value = 0", "value = inf"), 19, "int64 has no inf"),
        (("value = 0", "value = -9223372036854775809"), 19, "int64 has no -9223372036854775809"),
        (("value = 0", f"value = 1{'0' * 400}"), 19, "int64 has no 1"),
        (("value = 0", f"value = 1{'0' * 5000}"), None, "no TOML of rules"),
        (('source = "{variable...}/', 'source = "{v}/{v}/'), 15, "has a group twice"),
        (('names = "full_name"', 'names = "name"'), None, "names is 'name', expected one of path, full_name, key"),
        (('version = "2"', "version = 2"), None, "version is 2, expected a text"),
        (('version = "2"', 'version = "2"\ncolour = "red"'), None, "the file has an unknown key 'colour'"),
        (('beta = "bias"', "beta = 3"), None, "words.part is no table of texts"),
    ],
)
def test_file_that_cannot_be_meant_is_refused_with_its_line(
    tmp_path: pathlib.Path, change: tuple[str, str], line: int | None, message: str
) -> None:
    """One thing is wrong at a time; the file without it is the test above."""
    path = tmp_path / "rules.toml"
    assert change[0] in TEXT
    path.write_text(TEXT.replace(*change), encoding="utf-8")

    with pytest.raises(RulesError) as caught:
        read_rules(path)

    assert message in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}, line {line}: " if line else f"{path}: ")


def test_same_rule_twice_is_refused() -> None:
    """A repeated line is a slip; every one of its tensors would be ambiguous."""
    again = '[[rule]]\nsource = "layer_{n}/{part}"\ntarget = "layers.{n}.{part}"\n\n[[ignore]]'

    with pytest.raises(RulesError, match="stands there twice"):
        parse_rules(TEXT.replace("[[ignore]]", again))


def test_file_without_rules_is_refused() -> None:
    """A table that converts nothing is not meant."""
    with pytest.raises(RulesError, match=r"there is no \[\[rule\]\]"):
        parse_rules('name = "x"\n')


@pytest.mark.parametrize(
    ("data", "message"),
    [(b'name = "\xff"', "not UTF-8"), (b"#" * (MAX_BYTES + 1), "larger than"), (b"a = " + b"[" * 20_000, "no TOML")],
    ids=["encoding", "size", "nesting"],
)
def test_file_that_is_no_text_of_rules_is_refused(tmp_path: pathlib.Path, data: bytes, message: str) -> None:
    """Other bytes, a huge file and a deep one end in the error of rules."""
    path = tmp_path / "rules.toml"
    path.write_bytes(data)

    with pytest.raises(RulesError, match=message):
        read_rules(path)


def test_file_that_is_not_there_is_refused(tmp_path: pathlib.Path) -> None:
    """The path is named."""
    with pytest.raises(RulesError, match=r"nothing\.toml: cannot be read"):
        read_rules(tmp_path / "nothing.toml")


def test_written_rules_read_back_the_same() -> None:
    """Quotes, control characters and braces of names survive."""
    hostile = RuleSet(
        name='a"b\\c',
        version="1",
        scope='x\x1b[2J"\n/',
        rules=(Rule("ü/{a}", "{a}.\u2028", "dense"),),
        words={"a": {'k.1"': "v\\"}},
    )

    assert parse_rules(to_toml(hostile)) == hostile
    assert parse_rules(to_toml(parse_rules(TEXT))) == parse_rules(TEXT)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_built_in_tables_are_rules_like_any_other(family: object) -> None:
    """A family's table for a network, written as TOML, is the same table when it is read."""
    rules = family.rule_set(CONFIGS["efficientnetv2-s"], "net/")  # type: ignore[attr-defined]  # a Family

    assert parse_rules(to_toml(rules)) == rules
