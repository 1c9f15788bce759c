"""Paths that match a pattern by TensorFlow's rules (`GetMatchingPaths` in `tsl/platform/file_system_helper.cc`).

The rules differ from Python's `glob`: `*` matches names that begin with a dot, `**` is the same as `*`,
a backslash escapes the next character,
and if the first part of a pattern has a wildcard, the matches begin with `./`.
"""

from __future__ import annotations

import fnmatch
import re

from ..storage.base import Storage

_WILDCARD = re.compile(r"[*?\[\\]")
_ESCAPED = re.compile(r"(?s)\\(.)")


def exists(storage: Storage, path: str) -> bool:
    """Return whether a file or a folder exists at a path."""
    return storage.is_file(path) or storage.is_folder(path)


def find_matches(storage: Storage, pattern: str) -> list[str]:
    """Return the files and folders that match, sorted; a pattern without wildcards is a path."""
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        return [pattern] if pattern and exists(storage, pattern) else []
    start = pattern.rfind("/", 0, wildcard.start()) + 1
    folders = [pattern[:start] or "./"]
    *parts, last = pattern[start:].split("/")
    for part in parts:
        folders = [f"{path}/" for path in _match_part(storage, folders, part) if storage.is_folder(path)]
    return sorted(_match_part(storage, folders, last))


def _match_part(storage: Storage, folders: list[str], part: str) -> list[str]:
    """Return the paths in these folders that match one part of a pattern; the folders end with a slash."""
    if _WILDCARD.search(part) is None:
        return [folder + part for folder in folders if exists(storage, folder + part)]
    expression = re.compile(fnmatch.translate(_ESCAPED.sub(_escape_for_fnmatch, part)))
    return [folder + name for folder in folders for name in storage.list(folder) if expression.match(name)]


def _escape_for_fnmatch(escaped: re.Match[str]) -> str:
    return f"[{escaped[1]}]"
