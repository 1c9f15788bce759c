"""Names and strings of strangers as text of a program: identifiers of plain letters, and quoted strings."""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections.abc import Iterable

from torch import nn

#: Identifiers longer than this are cut.
MAX_LENGTH = 64
#: Functions that the text calls by these names.
_CALLED = {"super", "max", "min", "int", "float"}
_BUILTINS = {*dir(builtins), *keyword.softkwlist} - {*keyword.kwlist, *_CALLED}
_RESERVED = {*keyword.kwlist, *_BUILTINS, *_CALLED, "self", "torch", "nn", "F", "Model", "load", "dtype"}
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]+")


def quote(text: str) -> str:
    """Return a string as a literal in double quotes that has only ASCII characters."""
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f")


class Names:
    """The identifiers of one scope; each is given once."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = {*_RESERVED, *reserved}
        self._next: dict[str, int] = {}

    def take(self, name: str, default: str = "x") -> str:
        """Return an identifier in snake case for any name, numbered if it is reserved or taken."""
        base = make_identifier(name, default)
        if base not in self._taken:
            self._taken.add(base)
            return base
        number = self._next.get(base, 1)
        while f"{base}_{number}" in self._taken:
            number += 1
        self._next[base] = number + 1
        self._taken.add(f"{base}_{number}")
        return f"{base}_{number}"

    def keep(self, name: str) -> str:
        """Return a name as it is if it is a plain identifier that the text does not use itself; else take another."""
        is_plain = name.isascii() and name.isidentifier() and len(name) <= MAX_LENGTH and not name.startswith("_")
        if is_plain and name not in self._taken - _BUILTINS:
            self._taken.add(name)
            return name
        return self.take(name, default="input")


def make_free(name: str) -> str:
    """Return an attribute's name, with a `_1` if `nn.Module` or Python uses it."""
    return f"{name}_1" if name in _RESERVED or hasattr(nn.Module, name) or name == "training" else name


def make_identifier(name: str, default: str = "x") -> str:
    """Return a name in snake case, with plain letters only; `default` comes first if nothing or a digit would."""
    plain = _NOT_PLAIN.sub("_", name[: 8 * MAX_LENGTH]).strip("_")
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", plain).lower()[:MAX_LENGTH].strip("_")
    if not plain:
        return default
    return f"{default}_{plain}" if plain[0].isdigit() else plain
