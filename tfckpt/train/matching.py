"""Paths that match a pattern by TensorFlow's rules (`GetMatchingPaths` in `tsl/platform/file_system_helper.cc`).

They differ from Python's `glob`: `*` matches names that begin with a dot, `**` is the same as `*`,
a backslash takes the meaning from the character after it,
and a pattern whose first part has a wildcard gives paths that begin with `./`.
"""

from __future__ import annotations

import fnmatch
import re

from ..storage.base import Storage

_WILDCARD = re.compile(r"[*?\[\\]")
_ESCAPED = re.compile(r"(?s)\\(.)")


def exists(storage: Storage, path: str) -> bool:
    """Whether a file or a folder stands at a path."""
    return storage.is_file(path) or storage.is_folder(path)


def matching(storage: Storage, pattern: str) -> list[str]:
    """The files and folders that match, sorted; a pattern without wildcards matches what stands at that path."""
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        return [pattern] if pattern and exists(storage, pattern) else []
    start = pattern.rfind("/", 0, wildcard.start()) + 1
    found = [pattern[:start] or "./"]
    *folders, last = pattern[start:].split("/")
    for part in folders:
        found = [f"{path}/" for path in _step(storage, found, part) if storage.is_folder(path)]
    return sorted(_step(storage, found, last))


def _step(storage: Storage, folders: list[str], part: str) -> list[str]:
    """What matches one part of a pattern in folders, whose paths end with a slash."""
    if _WILDCARD.search(part) is None:
        return [folder + part for folder in folders if exists(storage, folder + part)]
    expression = re.compile(fnmatch.translate(_ESCAPED.sub(_quoted, part)))
    return [folder + name for folder in folders for name in storage.list(folder) if expression.match(name)]


def _quoted(escaped: re.Match[str]) -> str:
    return f"[{escaped[1]}]"
