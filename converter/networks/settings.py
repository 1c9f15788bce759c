"""Settings of a network, each with its origin: a tensor's shape, a file saved with the checkpoint, or a convention.

Files of settings are JSON, such as `bert_config.json`, or the gin files of T5.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from tfckpt.errors import CorruptionError
from tfckpt.files.json_text import read_json

from ..errors import Contradiction

#: Largest file of settings that is read.
MAX_BYTES = 1 << 20
_GIN = re.compile(r"([\w./@-]+)\s*=\s*(\S.*)")
_MAX_LITERAL = 1_000

Value: TypeAlias = bool | int | float | str


class Setting(NamedTuple):
    """A setting with its origin in words."""

    name: str
    value: Any
    origin: str


@dataclasses.dataclass(frozen=True, slots=True)
class SettingsFile:
    """A file of settings: its name, and its values by name."""

    name: str
    values: Mapping[str, Any]


class Settings:
    """The settings of a network as they are found out, and the contradictions between shapes and the file."""

    def __init__(self, file: SettingsFile | None) -> None:
        self._file = file
        self._found: dict[str, Setting] = {}
        self.contradictions: list[Contradiction] = []

    def __getitem__(self, name: str) -> Any:
        return self._found[name].value

    def measure(self, name: str, value: Value, tensor: str, *, key: str | None = None) -> Any:
        """Set a value that the shape of a tensor shows; the file, which calls it `key`, must agree."""
        key = key or name
        if self._file is not None and key in self._file.values and self._file.values[key] != value:
            found = self._file.values[key]
            self.contradictions.append(Contradiction(f"{self._file.name}: {key}", str(found), str(value), tensor))
        return self._set(name, value, f"shape of {tensor}")

    def read(self, name: str, default: Value, reason: str, *, key: str | None = None) -> Any:
        """Set a value from the file if it has one of the default's type, else the default, for a reason."""
        key = key or name
        if self._file is None or key not in self._file.values:
            return self._set(name, default, reason)
        value = self._file.values[key]
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        expected: Any = (int, float) if is_number else type(default)
        if not isinstance(value, expected) or (is_number and isinstance(value, bool)):
            self.contradictions.append(
                Contradiction(f"{self._file.name}: {key}", repr(value), repr(default), "its type")
            )
            return self._set(name, default, reason)
        return self._set(name, value, self._file.name)

    def leave_out(self, *names: str) -> None:
        """Leave settings out that the file says of another model."""
        if self._file is not None:
            others = {name: value for name, value in self._file.values.items() if name not in names}
            self._file = SettingsFile(self._file.name, others)

    def decide(self, name: str, value: Any, reason: str) -> Any:
        """Set a value for a reason."""
        return self._set(name, value, reason)

    def is_from_file(self, name: str) -> bool:
        """Return whether the file says a setting."""
        return self._file is not None and self._found[name].origin == self._file.name

    def contradict(self, name: str, found: str, expected: str, reason: str) -> None:
        """Add a contradiction."""
        self.contradictions.append(Contradiction(name, found, expected, reason))

    def to_tuple(self) -> tuple[Setting, ...]:
        """Return all settings, in the order in which they were set."""
        return tuple(self._found.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return {setting.name: setting.value for setting in self._found.values()}

    def _set(self, name: str, value: Any, origin: str) -> Any:
        self._found[name] = Setting(name, value, origin)
        return value


def parse_settings(name: str, data: bytes) -> SettingsFile:
    """Return the settings in a file; raise `CorruptionError` if it is not valid."""
    if name.endswith(".gin"):
        return SettingsFile(name, _parse_gin(data.decode("utf-8", "replace")))
    try:
        values = read_json(data)
    except ValueError as error:
        raise CorruptionError(f"not valid JSON: {error}", path=name) from error
    if not isinstance(values, dict):
        raise CorruptionError(f"holds a {type(values).__name__}, expected an object", path=name)
    return SettingsFile(name, values)


def _parse_gin(text: str) -> dict[str, Any]:
    """Return the literals of a gin file by the last part of their names, such as `num_heads`.

    A name without a scope, which other settings refer to, counts more than one with, and the last one otherwise; None
    is the value of settings that are not used.
    """
    values: dict[str, Any] = {}
    general: dict[str, Any] = {}
    for line in text.splitlines():
        match = _GIN.fullmatch(line.partition("#")[0].strip())
        if match is None or len(match[2]) > _MAX_LITERAL:
            continue
        try:
            value = ast.literal_eval(match[2])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue  # a reference to another setting
        last = match[1].rpartition(".")[2].rpartition("/")[2]
        if value is not None:
            (general if last == match[1] else values)[last] = value
    return {**values, **general}
