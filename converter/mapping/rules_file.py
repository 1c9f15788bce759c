"""Rule sets as TOML files, which people write and read; the same engine runs them as the built-in families.

::

    name = "bert"                 # what outputs say they were made with; the file's name where it is left out
    version = "1"
    names = "path"                # which names patterns are about: path, full_name or key (see `rules.Names`)
    scope = "bert/"               # what every source begins with

    [[rule]]
    source = "encoder/layer_{n}/output/dense/kernel"
    target = "layers.{n}.output.weight"
    layout = "dense"              # identity where it is left out

    [[ignore]]
    source = "global_step"
    reason = "step counter of the training"

    [[constant]]
    target = "{layer...}.num_batches_tracked"
    value = 0
    dtype = "int64"
    reason = "TensorFlow does not count batches"

    [words.n]                     # a group with words stands for these only, and the target gets their translation
    "0" = "0"
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from tfckpt.errors import MissingDependencyError

from ..errors import RulesError
from .rules import NAMES, Constant, Ignore, Rule, RuleSet

#: A larger file is no table of rules.
MAX_BYTES = 1 << 20

_TABLES: dict[str, dict[str, type]] = {
    "rule": {"source": str, "target": str, "layout": str},
    "ignore": {"source": str, "reason": str},
    "constant": {"target": str, "value": float, "dtype": str, "reason": str},
}
_PARTS: dict[str, Any] = {"rule": Rule, "ignore": Ignore, "constant": Constant}
_OPTIONAL = {"layout"}
_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_TEXTS = ("name", "version", "names", "scope")
_LINE = re.compile(r"at line (\d+)")

_Table: TypeAlias = Mapping[str, Any]


def read_rules(path: str | os.PathLike[str]) -> RuleSet:
    """Read a file of rules; `RulesError` says what is wrong with it and on which line, as far as that is known."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RulesError(f"cannot be read ({error.strerror or error})", path=path) from error
    if len(data) > MAX_BYTES:
        raise RulesError(f"larger than {MAX_BYTES} bytes, which no table of rules is", path=path)
    name = os.path.splitext(os.path.basename(path))[0]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RulesError("not UTF-8, as TOML has to be", path=path, line=line) from error
    return parse_rules(text, name=name, path=path)


def parse_rules(text: str, *, name: str = "rules", path: str | None = None) -> RuleSet:
    """Read rules from TOML text; `name` is that of the rule set where the text has none."""
    record = _loaded(text, path)
    reader = _Reader(text, path)
    reader.check_keys(record, {*_TABLES, *_TEXTS, "words"}, "the file")
    for key in _TEXTS:
        if not isinstance(record.get(key, ""), str):
            reader.fail(f"{key} is {record[key]!r}, expected a text")
    names = record.get("names", "path")
    if names not in NAMES:
        reader.fail(f"names is {names!r}, expected one of {', '.join(NAMES)}")
    tables = {kind: reader.tables(record, kind) for kind in _TABLES}
    words = reader.words(record)
    parts: dict[str, list[Any]] = {kind: [] for kind in _PARTS}
    for kind, make in _PARTS.items():
        for number, table in enumerate(tables[kind]):
            part: Any = make(**table)
            options: dict[str, Any] = {"rules": (), f"{kind}s": (part,)}
            try:
                RuleSet(name="", version="", **options)
            except ValueError as error:
                reader.fail(str(error), kind, number)
            if kind == "rule" and part in parts[kind]:
                reader.fail(f"rule {part.source!r} stands there twice", kind, number)
            parts[kind].append(part)
    if not parts["rule"]:
        reader.fail("there is no [[rule]]")
    return RuleSet(
        name=record.get("name", name),
        version=record.get("version", "1"),
        names=names,
        scope=record.get("scope", ""),
        rules=tuple(parts["rule"]),
        ignores=tuple(parts["ignore"]),
        constants=tuple(parts["constant"]),
        words=words,
    )


def to_toml(rules: RuleSet) -> str:
    """Write a rule set as TOML text, which `parse_rules` takes."""
    lines = [
        f"name = {_quoted(rules.name)}",
        f"version = {_quoted(rules.version)}",
        f"names = {_quoted(rules.names)}",
    ]
    lines += [f"scope = {_quoted(rules.scope)}"] if rules.scope else []
    for rule in rules.rules:
        lines += rule_lines(rule)
    for ignore in rules.ignores:
        lines += ignore_lines(ignore)
    for constant in rules.constants:
        lines += [
            "",
            "[[constant]]",
            f"target = {_quoted(constant.target)}",
            f"value = {constant.value!r}",
            f"dtype = {_quoted(constant.dtype)}",
            f"reason = {_quoted(constant.reason)}",
        ]
    for group, words in rules.words.items():
        lines += ["", f"[words.{_quoted(group)}]"]
        lines += [f"{_quoted(word)} = {_quoted(translation)}" for word, translation in words.items()]
    return "\n".join(lines) + "\n"


def rule_lines(rule: Rule) -> list[str]:
    """Write one rule, with an empty line before it."""
    lines = ["", "[[rule]]", f"source = {_quoted(rule.source)}", f"target = {_quoted(rule.target)}"]
    return lines if rule.layout == "identity" else [*lines, f"layout = {_quoted(rule.layout)}"]


def ignore_lines(ignore: Ignore) -> list[str]:
    """Write what is ignored, with an empty line before it."""
    return ["", "[[ignore]]", f"source = {_quoted(ignore.source)}", f"reason = {_quoted(ignore.reason)}"]


def _loaded(text: str, path: str | None) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise MissingDependencyError("tomli", extra="convert", purpose="reading rules on Python 3.10") from error
    try:
        record: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = _LINE.search(str(error))
        number = int(line[1]) if line else len(text.splitlines())
        raise RulesError(f"no TOML: {error}", path=path, line=number) from error
    except RecursionError as error:
        raise RulesError("no TOML of rules: nested too deeply", path=path) from error
    except ValueError as error:  # a number of more digits than Python reads
        raise RulesError(f"no TOML of rules: {error}", path=path) from error
    return record


class _Reader:
    """Checks of one file, which know its lines."""

    def __init__(self, text: str, path: str | None) -> None:
        self._lines = text.splitlines()
        self._path = path

    def fail(self, message: str, kind: str | None = None, number: int = 0) -> NoReturn:
        """Raise for the `number`th table of a kind, or for the file."""
        raise RulesError(message, path=self._path, line=None if kind is None else self._line(kind, number))

    def check_keys(self, table: object, known: set[str], what: str, kind: str | None = None, number: int = 0) -> _Table:
        """Require a table of known keys."""
        if not isinstance(table, Mapping):
            self.fail(f"{what} is {type(table).__name__}, expected a table", kind, number)
        unknown = sorted(set(table) - known)
        if unknown:
            self.fail(f"{what} has an unknown key {unknown[0]!r}, known are {', '.join(sorted(known))}", kind, number)
        return table

    def tables(self, record: _Table, kind: str) -> list[dict[str, Any]]:
        """Give all tables of a kind, each with its keys checked."""
        found = record.get(kind, [])
        if not isinstance(found, Sequence) or isinstance(found, str):
            self.fail(f"{kind} is {type(found).__name__}, expected tables: [[{kind}]]")
        return [self._table(table, kind, number) for number, table in enumerate(found)]

    def words(self, record: _Table) -> dict[str, dict[str, str]]:
        """Give the words of every group."""
        words: dict[str, dict[str, str]] = {}
        for group, table in self.check_keys(record.get("words", {}), set(record.get("words", {})), "words").items():
            if not isinstance(table, Mapping) or not all(isinstance(word, str) for word in table.values()):
                self.fail(f"words.{group} is no table of texts")
            words[group] = dict(table)
        return words

    def _table(self, table: object, kind: str, number: int) -> dict[str, Any]:
        keys = _TABLES[kind]
        what = f"{kind} {number + 1}"
        checked = dict(self.check_keys(table, set(keys), what, kind, number))
        for key, expected in keys.items():
            if key not in checked:
                if key in _OPTIONAL:
                    continue
                self.fail(f"{what} has no {key}", kind, number)
            value = checked[key]
            numeric = expected is float and isinstance(value, (int, float)) and not isinstance(value, bool)
            if not numeric and not isinstance(value, expected):
                self.fail(f"{what}: {key} is {value!r}, expected {_KINDS[expected]}", kind, number)
            if key == "dtype" and value not in _DTYPES:
                self.fail(f"{what}: dtype is {value!r}, expected one of {', '.join(_DTYPES)}", kind, number)
            if key in ("source", "reason") and not value:
                self.fail(f"{what} has an empty {key}", kind, number)
        return checked

    def _line(self, kind: str, number: int) -> int | None:
        """Find the line on which the `number`th table of a kind begins."""
        header = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]")
        lines = [index for index, line in enumerate(self._lines, 1) if header.match(line)]
        return lines[number] if number < len(lines) else None


_KINDS = {str: "a text", float: "a number"}


def _quoted(text: str) -> str:
    """Write a text as a TOML basic string."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'
