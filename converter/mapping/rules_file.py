"""Rule sets as TOML files; the engine treats them like the built-in families.

::

    name = "bert"                 # recorded in outputs; default: the name of the file
    version = "1"
    names = "path"                # the names that patterns match: path, full_name or key (see `rules.Names`)
    scope = "bert/"               # literal start of every source; or a list of them, of which each is tried

    [[rule]]
    source = "encoder/layer_{n}/output/dense/kernel"
    target = "layers.{n}.output.weight"
    layout = "dense"              # or axes, such as "1IO -> OI"; default: identity

    [[rule]]
    source = "cell/kernel"
    layout = "IG -> GI"
    cut = "I"                     # a part for each target; `join` is the opposite, with a list of sources
    order = "G: i j f o -> i f j o"   # equal parts of an axis change places
    target = ["weight_ih_l0", "weight_hh_l0"]
    scope = "rnn/"                # instead of the file's; also in [[ignore]]

    [[ignore]]
    source = "global_step"
    reason = "training step counter"

    [[constant]]
    target = "{layer...}.num_batches_tracked"
    value = 0                     # or a list: a value for each equal part of the first axis
    dtype = "int64"
    reason = "TensorFlow does not count batches"

    [[tied]]                      # fills a target that nothing else fills
    target = "lm_head.weight"
    as = "wte.weight"

    [words.n]                     # a group with words matches only these; the target gets the translation
    "0" = "0"
"""

from __future__ import annotations

import enum
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from tfckpt.errors import MissingDependencyError

from ..errors import RulesError
from .rules import NAMES, Constant, Ignore, Rule, RuleSet, Tied

#: Largest file that is read.
MAX_BYTES = 1 << 20


class _Kind(enum.Enum):
    """The kind of a value, as messages name it."""

    STRING = "a string"
    STRINGS = "a string or a list of strings"
    NUMBERS = "a number or a list of numbers"


_TABLES: dict[str, dict[str, _Kind]] = {
    "rule": {
        "source": _Kind.STRINGS,
        "target": _Kind.STRINGS,
        "layout": _Kind.STRING,
        "cut": _Kind.STRING,
        "join": _Kind.STRING,
        "order": _Kind.STRING,
        "scope": _Kind.STRING,
    },
    "ignore": {"source": _Kind.STRING, "reason": _Kind.STRING, "scope": _Kind.STRING},
    "constant": {"target": _Kind.STRING, "value": _Kind.NUMBERS, "dtype": _Kind.STRING, "reason": _Kind.STRING},
    "tied": {"target": _Kind.STRING, "as": _Kind.STRING},
}
_CLASSES: dict[str, Any] = {"rule": Rule, "ignore": Ignore, "constant": Constant, "tied": Tied}
#: The fields of a rule set.
_FIELDS = {"rule": "rules", "ignore": "ignores", "constant": "constants", "tied": "tied"}
#: Keys that are words of Python's.
_RENAMED = {"as": "to"}
_OPTIONAL = {"layout", "cut", "join", "order", "scope"}
_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_STRINGS = ("name", "version", "names")
_LINE = re.compile(r"at line (\d+)")

_Table: TypeAlias = Mapping[str, Any]


def read_rules(path: str | os.PathLike[str]) -> RuleSet:
    """Read a file of rules; raise `RulesError` with the line, if known, for an invalid file."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RulesError(f"cannot be read ({error.strerror or error})", path=path) from error
    if len(data) > MAX_BYTES:
        raise RulesError(f"larger than {MAX_BYTES} bytes", path=path)
    name = os.path.splitext(os.path.basename(path))[0]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RulesError("not valid UTF-8", path=path, line=line) from error
    return parse_rules(text, name=name, path=path)


def parse_rules(text: str, *, name: str = "rules", path: str | None = None) -> RuleSet:
    """Return the rule set in a TOML text; `name` is used if the text does not name it."""
    record = _load_toml(text, path)
    reader = _Reader(text, path)
    reader.check_keys(record, {*_TABLES, *_STRINGS, "scope", "words"}, "the file")
    for key in _STRINGS:
        if not isinstance(record.get(key, ""), str):
            reader.fail(f"{key} is {record[key]!r}, expected a string")
    names = record.get("names", "path")
    if names not in NAMES:
        reader.fail(f"names is {names!r}, expected one of {', '.join(NAMES)}")
    scope = reader.check_value(record.get("scope", ""), _Kind.STRINGS, "the file: scope")
    tables = {kind: reader.read_tables(record, kind) for kind in _TABLES}
    words = reader.read_words(record)
    entries: dict[str, list[Any]] = {kind: [] for kind in _CLASSES}
    for kind, entry_class in _CLASSES.items():
        for number, table in enumerate(tables[kind]):
            entry: Any = entry_class(**{_RENAMED.get(key, key): value for key, value in table.items()})
            options: dict[str, Any] = {"rules": (), _FIELDS[kind]: (entry,)}
            try:
                RuleSet(name="", version="", **options)
            except ValueError as error:
                reader.fail(str(error), kind, number)
            if kind == "rule" and entry in entries[kind]:
                reader.fail(f"rule {str(entry)!r} occurs twice", kind, number)
            entries[kind].append(entry)
    if not entries["rule"]:
        reader.fail("no [[rule]]")
    return RuleSet(
        name=record.get("name", name),
        version=record.get("version", "1"),
        names=names,
        scope=scope,
        words=words,
        **{_FIELDS[kind]: tuple(found) for kind, found in entries.items()},
    )


def to_toml(rules: RuleSet) -> str:
    """Return a rule set as TOML text that `parse_rules` reads."""
    lines = [
        f"name = {_quote(rules.name)}",
        f"version = {_quote(rules.version)}",
        f"names = {_quote(rules.names)}",
    ]
    lines += [f"scope = {_format(rules.scope)}"] if rules.scope != "" else []
    for rule in rules.rules:
        lines += format_rule(rule)
    for ignore in rules.ignores:
        lines += format_ignore(ignore)
    for constant in rules.constants:
        lines += [
            "",
            "[[constant]]",
            f"target = {_quote(constant.target)}",
            f"value = {_format(constant.value)}",
            f"dtype = {_quote(constant.dtype)}",
            f"reason = {_quote(constant.reason)}",
        ]
    for tie in rules.tied:
        lines += format_tied(tie)
    for group, words in rules.words.items():
        lines += ["", f"[words.{_quote(group)}]"]
        lines += [f"{_quote(word)} = {_quote(translation)}" for word, translation in words.items()]
    return "\n".join(lines) + "\n"


def format_rule(rule: Rule) -> list[str]:
    """Return the TOML lines of a rule, after an empty line."""
    lines = ["", "[[rule]]", f"source = {_format(rule.source)}", f"target = {_format(rule.target)}"]
    options = {"layout": None if rule.layout == "identity" else rule.layout, "cut": rule.cut, "join": rule.join}
    options |= {"order": rule.order, "scope": rule.scope}
    return lines + [f"{key} = {_quote(value)}" for key, value in options.items() if value is not None]


def format_ignore(ignore: Ignore) -> list[str]:
    """Return the TOML lines of an ignore, after an empty line."""
    lines = ["", "[[ignore]]", f"source = {_quote(ignore.source)}", f"reason = {_quote(ignore.reason)}"]
    return lines if ignore.scope is None else [*lines, f"scope = {_quote(ignore.scope)}"]


def format_tied(tie: Tied) -> list[str]:
    """Return the TOML lines of a tie, after an empty line."""
    return ["", "[[tied]]", f"target = {_quote(tie.target)}", f"as = {_quote(tie.to)}"]


def _load_toml(text: str, path: str | None) -> dict[str, Any]:
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
        raise RulesError(f"invalid TOML: {error}", path=path, line=number) from error
    except RecursionError as error:
        raise RulesError("invalid TOML: nested too deeply", path=path) from error
    except ValueError as error:  # an integer with more digits than Python parses
        raise RulesError(f"invalid TOML: {error}", path=path) from error
    return record


class _Reader:
    """A reader that checks one file and knows its lines."""

    def __init__(self, text: str, path: str | None) -> None:
        self._lines = text.splitlines()
        self._path = path

    def fail(self, message: str, kind: str | None = None, number: int = 0) -> NoReturn:
        """Raise `RulesError` with the line of the `number`th table of a kind, or without line."""
        raise RulesError(message, path=self._path, line=None if kind is None else self._find_line(kind, number))

    def check_keys(self, table: object, known: set[str], what: str, kind: str | None = None, number: int = 0) -> _Table:
        """Return `table`; raise unless it is a table without unknown keys."""
        if not isinstance(table, Mapping):
            self.fail(f"{what} is {type(table).__name__}, expected a table", kind, number)
        unknown = sorted(set(table) - known)
        if unknown:
            self.fail(f"{what} has an unknown key {unknown[0]!r}, known are {', '.join(sorted(known))}", kind, number)
        return table

    def read_tables(self, record: _Table, kind: str) -> list[dict[str, Any]]:
        """Return all tables of a kind after checking their keys and values."""
        tables = record.get(kind, [])
        if not isinstance(tables, Sequence) or isinstance(tables, str):
            self.fail(f"{kind} is {type(tables).__name__}, expected tables: [[{kind}]]")
        return [self._check_table(table, kind, number) for number, table in enumerate(tables)]

    def read_words(self, record: _Table) -> dict[str, dict[str, str]]:
        """Return the words of every group."""
        words: dict[str, dict[str, str]] = {}
        for group, table in self.check_keys(record.get("words", {}), set(record.get("words", {})), "words").items():
            if not isinstance(table, Mapping) or not all(isinstance(word, str) for word in table.values()):
                self.fail(f"words.{group} is not a table of strings")
            words[group] = dict(table)
        return words

    def _check_table(self, table: object, kind: str, number: int) -> dict[str, Any]:
        keys = _TABLES[kind]
        what = f"{kind} {number + 1}"
        checked = dict(self.check_keys(table, set(keys), what, kind, number))
        for key, expected in keys.items():
            if key not in checked:
                if key in _OPTIONAL:
                    continue
                self.fail(f"{what} has no {key}", kind, number)
            value = checked[key] = self.check_value(checked[key], expected, f"{what}: {key}", kind, number)
            if key == "dtype" and value not in _DTYPES:
                self.fail(f"{what}: dtype is {value!r}, expected one of {', '.join(_DTYPES)}", kind, number)
            if key in ("source", "reason") and (not value or "" in (value if isinstance(value, tuple) else ())):
                self.fail(f"{what} has an empty {key}", kind, number)
        return checked

    def check_value(self, value: object, expected: _Kind, what: str, kind: str | None = None, number: int = 0) -> Any:
        """Return a value, a list as a tuple; raise unless it is of the expected kind."""
        items = value if isinstance(value, list) and expected in (_Kind.STRINGS, _Kind.NUMBERS) else [value]
        if not items or not all(_is_of_kind(item, expected) for item in items):
            self.fail(f"{what} is {value!r}, expected {expected.value}", kind, number)
        return tuple(items) if isinstance(value, list) else value

    def _find_line(self, kind: str, number: int) -> int | None:
        """Return the line on which the `number`th table of a kind starts, or None."""
        header = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]")
        lines = [index for index, line in enumerate(self._lines, 1) if header.match(line)]
        return lines[number] if number < len(lines) else None


def _is_of_kind(value: object, expected: _Kind) -> bool:
    if expected is _Kind.NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _format(value: str | float | tuple[str, ...] | tuple[float, ...]) -> str:
    """Return a string, a number, or a list of either as TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_format, value))}]"
    return _quote(value) if isinstance(value, str) else repr(value)


def _quote(text: str) -> str:
    """Return a string as a TOML basic string."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'
