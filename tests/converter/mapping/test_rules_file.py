"""Rule sets are read from TOML and written to it."""

from __future__ import annotations

import pathlib

import pytest

from converter.errors import RulesError
from converter.families.search import FAMILIES
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet, Tied
from converter.mapping.rules_file import MAX_BYTES, parse_rules, read_rules, to_toml
from converter.model.architectures import CONFIGS

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

[[rule]]
source = "cell/kernel"
target = ["ih", "hh"]
layout = "IG -> GI"
cut = "I"
order = "G: i j -> j i"
scope = ""

[[tied]]
target = "head"
as = "wte"

[words.part]
beta = "bias"
"""


def test_file_is_read_as_a_rule_set() -> None:
    """The rule set contains every table of the file."""
    assert parse_rules(TEXT) == RuleSet(
        name="net",
        version="2",
        names="full_name",
        scope="net/",
        rules=(
            Rule("layer_{n}/kernel", "layers.{n}.weight", "dense"),
            Rule("layer_{n}/{part}", "layers.{n}.{part}"),
            Rule("cell/kernel", ("ih", "hh"), "IG -> GI", cut="I", order="G: i j -> j i", scope=""),
        ),
        ignores=(Ignore("{variable...}/Momentum", "slot"),),
        constants=(Constant("count", 0, "int64", "counts nothing"),),
        tied=(Tied("head", "wte"),),
        words={"part": {"beta": "bias"}},
    )


def test_rule_set_without_name_is_named_after_its_file(tmp_path: pathlib.Path) -> None:
    """Only rules are required; rules match paths by default."""
    path = tmp_path / "mine.toml"
    path.write_text('[[rule]]\nsource = "a"\ntarget = "b"\n', encoding="utf-8")

    rules = read_rules(path)

    assert (rules.name, rules.version, rules.names, rules.scope) == ("mine", "1", "path", "")


@pytest.mark.parametrize(
    ("change", "line", "token"),
    [
        (('= "net/"', "= net/"), 4, "TOML"),
        (('layout = "dense"', 'layout = "desne"'), 6, "desne"),
        (('"layers.{n}.weight"', '"layers.{m}.weight"'), 6, "'m'"),
        (('"layer_{n}/kernel"', '"layer_{n}/{n}"'), 6, "{n}/{n}"),
        (('target = "layers.{n}.{part}"', ""), 11, "target"),
        (('source = "layer_{n}/{part}"', "source = 7"), 11, "source"),
        (('source = "layer_{n}/{part}"', 'source = ""'), 11, "source"),
        (
            ('target = "layers.{n}.{part}"', 'target = "b"\ntransform = "x"'),
            11,
            "transform",
        ),
        (('reason = "slot"', ""), 15, "reason"),
        (('reason = "slot"', 'reason = ""'), 15, "reason"),
        (("value = 0", "value = true"), 19, "True"),
        (('dtype = "int64"', 'dtype = "object"'), 19, "'object'"),
        (("value = 0", "value = 0.5"), 19, "0.5"),
        (("value = 0", "value = nan"), 19, "nan"),
        (("value = 0", "value = inf"), 19, "inf"),
        (("value = 0", "value = -9223372036854775809"), 19, "-9223372036854775809"),
        (("value = 0", f"value = 1{'0' * 400}"), 19, "int64"),
        (("value = 0", f"value = 1{'0' * 5000}"), None, "TOML"),
        (('source = "{variable...}/', 'source = "{v}/{v}/'), 15, "{v}/{v}"),
        (("value = 0", "value = []"), 19, "[]"),
        (("value = 0", "value = [0, 0.5]"), 19, "0.5"),
        (('target = ["ih", "hh"]', 'target = ["ih", 3]'), 25, "3"),
        (('target = ["ih", "hh"]', "target = []"), 25, "[]"),
        (('target = ["ih", "hh"]', 'target = ["ih", "ih"]'), 25, "twice"),
        (('source = "cell/kernel"', 'source = ["cell/kernel", ""]'), 25, "empty source"),
        (('cut = "I"', 'cut = ["I"]'), 25, "cut"),
        (('as = "wte"', 'as = "{wte}"'), 33, "wte"),
        (('scope = "net/"', "scope = 3"), None, "scope"),
        (('names = "full_name"', 'names = "name"'), None, "'name'"),
        (('version = "2"', "version = 2"), None, "version"),
        (('version = "2"', 'version = "2"\ncolour = "red"'), None, "colour"),
        (('beta = "bias"', "beta = 3"), None, "words.part"),
    ],
)
def test_invalid_file_is_rejected_with_its_line(
    tmp_path: pathlib.Path, change: tuple[str, str], line: int | None, token: str
) -> None:
    """The error has path and line, and the message contains the wrong key or value."""
    path = tmp_path / "rules.toml"
    assert change[0] in TEXT
    path.write_text(TEXT.replace(*change), encoding="utf-8")

    with pytest.raises(RulesError) as caught:
        read_rules(path)

    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert token in str(caught.value)


def test_repeated_rule_is_rejected() -> None:
    """Every tensor that the rule matches would be ambiguous; the error has the line of the second one."""
    again = '[[rule]]\nsource = "layer_{n}/{part}"\ntarget = "layers.{n}.{part}"\n\n[[ignore]]'

    with pytest.raises(RulesError) as caught:
        parse_rules(TEXT.replace("[[ignore]]", again))

    assert caught.value.line == 15


def test_file_without_rules_is_rejected() -> None:
    """A rule set that converts nothing is a mistake."""
    with pytest.raises(RulesError):
        parse_rules('name = "x"\n')


@pytest.mark.parametrize(
    ("data", "line"),
    [(b'name = "\xff"', 1), (b"#" * (MAX_BYTES + 1), None), (b"a = " + b"[" * 20_000, None)],
    ids=["encoding", "size", "nesting"],
)
def test_file_that_is_not_toml_is_rejected(tmp_path: pathlib.Path, data: bytes, line: int | None) -> None:
    """Invalid UTF-8, a huge file and deep nesting raise `RulesError`."""
    path = tmp_path / "rules.toml"
    path.write_bytes(data)

    with pytest.raises(RulesError) as caught:
        read_rules(path)

    assert (caught.value.path, caught.value.line) == (str(path), line)


def test_missing_file_is_rejected(tmp_path: pathlib.Path) -> None:
    """The error has the path of the file."""
    with pytest.raises(RulesError) as caught:
        read_rules(tmp_path / "nothing.toml")

    assert caught.value.path == str(tmp_path / "nothing.toml")


def test_written_rules_are_read_back_unchanged() -> None:
    """Quotes, control characters and braces are preserved."""
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
def test_built_in_tables_can_be_written_as_toml(family: object) -> None:
    """Reading the TOML of a family's rule set returns an equal rule set."""
    rules = family.build_rules(CONFIGS["efficientnetv2-s"], "net/")  # type: ignore[attr-defined]  # a Family

    assert parse_rules(to_toml(rules)) == rules
