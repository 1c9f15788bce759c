"""Files that an operating system adds to folders and archives, which no user means."""

from __future__ import annotations

from collections.abc import Iterable

#: Names that the archiver and the Finder of macOS add to archives.
CLUTTER = frozenset({"__MACOSX", ".DS_Store"})


def drop_clutter(names: Iterable[str]) -> list[str]:
    """Return the names of a folder without those that macOS adds: `__MACOSX`, `.DS_Store`, and `._NAME` next to NAME.

    `._NAME` contains attributes of the file NAME; `._model.index` would look like another checkpoint.
    """
    names = list(names)
    present = set(names)
    return [
        name for name in names if name not in CLUTTER and not (name.startswith("._") and name[len("._") :] in present)
    ]
