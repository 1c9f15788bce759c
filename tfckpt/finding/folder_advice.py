"""What is wrong with a folder without a complete checkpoint, as its names show, and what to do.

A browser adds ` (1)` to the name of a second download, and a file manager ` - Copy`; services for large files compress
them or split them into parts; people copy some of the files that belong together, or specify a folder of folders.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from ..bundle import naming
from ..errors import abridged, join_some, printable
from ..graphs import saved_model
from ..storage.base import Storage
from .state_file import STATE_NAME

_COPY = re.compile(r" ?\(\d+\)| - Copy| copy(?: \d+)?(?=\.|$)")
_COMPRESSED = re.compile(r"\.(?:gz|bz2|xz|zst|zip|Z)$")
_PART = re.compile(r"\.(?:[a-z]{2,3}|\d{2,3}|part_?\w{1,3})$")
#: Names that show a checkpoint in a folder, besides index files.
_SIGNS = frozenset({STATE_NAME, saved_model.FILE_NAME, saved_model.TEXT_FILE_NAME})
#: Subfolders to look into; each is listed, which takes time on a network disk.
_MOST_SUBFOLDERS = 1000


def describe_renamed(names: Iterable[str]) -> dict[str, str]:
    """Map each missing file of which the names of a folder show another form to a sentence with what to do."""
    names = list(names)
    present = set(names)
    advice: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    for name in names:
        original = _COPY.sub("", name)
        if original not in present:
            advice[original] = f"{_show(name)} is probably a copy of this file; rename it to {_show(original)}"
        original = _COMPRESSED.sub("", name)
        if original not in present:
            advice[original] = f"{_show(name)} is this file, compressed; decompress it first"
        original = _PART.sub("", name)
        if original not in present:
            parts.setdefault(original, []).append(name)
    for original, some in parts.items():
        if len(some) > 1:
            advice[original] = (
                f"it was split into {len(some):,} parts, {join_some(some, most=3)}; "
                f"join them in this order to {_show(original)}, for example with cat"
            )
    return advice


def describe_missing_index(names: Iterable[str], prefix: str = "") -> str:
    """Return why a folder has no index file, or nothing if its names do not show it.

    With a prefix, which is a name in the folder, only files that begin with it count.
    """
    names = [name for name in names if name.startswith(prefix)]
    renamed = describe_renamed(names)
    for original, advice in renamed.items():
        if original.endswith(naming.INDEX_SUFFIX):
            return f"the index file {_show(original)} is missing: {advice}"
    graphs = [name for name in names if name.endswith(naming.META_SUFFIX)]
    for name in (*names, *renamed):
        owner = naming.prefix_of_member(name)
        if owner is not None and name not in graphs and not name.endswith(naming.INDEX_SUFFIX):
            return (
                f"{_show(name)} is a data shard without its index file; copy {_show(naming.index_name(owner))} from "
                "where the shard comes from, since only the index says which tensors a shard contains"
            )
    if graphs:
        owner = graphs[0].removesuffix(naming.META_SUFFIX)
        return (
            f"{_show(graphs[0])} is only a graph, without the values of variables; copy {_show(owner)}.index and "
            f"{_show(owner)}.data-* from where it comes from"
        )
    return ""


def describe_subfolders(storage: Storage, folder: str, names: Sequence[str]) -> str:
    """Return which subfolders have checkpoints; nothing if none has, or listing them would take many requests."""
    if storage.is_remote:
        return ""
    found = []
    for name in itertools.islice(names, _MOST_SUBFOLDERS):
        inside = storage.list(storage.join(folder, name))
        if any(other in _SIGNS or other.endswith(naming.INDEX_SUFFIX) for other in inside):
            found.append(storage.join(folder, name))
    return f"specify one of the subfolders with checkpoints: {join_some(found)}" if found else ""


def _show(name: str) -> str:
    return printable(abridged(name))
