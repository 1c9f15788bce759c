"""Files held in memory, and the tree of names that every storage with a fixed set of files is made of."""

from __future__ import annotations

import bisect
import posixpath
from collections.abc import Callable, Mapping

from .._typing import Buffer, ByteSource, ByteView
from ..errors import CheckpointNotFoundError, UnsupportedFeatureError
from .base import Storage
from .local import check_range


class TreeStorage(Storage):
    """Files by names with `/` between folders, below a root that every path begins with.

    The root is empty for files in memory, and `ARCHIVE!` for the members of an archive.
    Paths may hold `.` and `..`; those that leave the root, or begin elsewhere, name nothing.
    """

    def __init__(
        self,
        root: str,
        files: Mapping[str, Callable[[str], ByteSource]],
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """`files` makes a source from the path it is to show; `refused` says of other names why they cannot be read."""
        self._root = root
        self._files = dict(files)
        self._refused = dict(refused or {})
        # Folders are found by search, not kept: a table of them could be far larger than the names that make them.
        self._names = sorted({*self._files, *self._refused})

    @property
    def title(self) -> str | None:
        """What the whole is called in messages."""
        return self._root or None

    @property
    def refused(self) -> Mapping[str, str]:
        """Names that stand there and cannot be read, each with the reason."""
        return self._refused

    @property
    def root(self) -> str:
        """The path of the folder that holds everything."""
        return self._root

    def open(self, path: str) -> ByteSource:
        """The file's bytes."""
        name = self._name(path)
        if name in self._refused:
            raise UnsupportedFeatureError(self._refused[name], path=path)
        if name is None or name not in self._files:
            raise CheckpointNotFoundError("file not found", path=path)
        return self._files[name](self._root + name)

    def is_file(self, path: str) -> bool:
        """Whether a file stands there; what `open` refuses is none."""
        return self._name(path) in self._files

    def is_folder(self, path: str) -> bool:
        """Whether a file's name goes on below it."""
        name = self._name(path)
        if not name:
            return name == ""
        at = bisect.bisect_left(self._names, f"{name}/")
        return at < len(self._names) and self._names[at].startswith(f"{name}/")

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted; empty if there is no such folder."""
        name = self._name(folder)
        if name is None:
            return []
        above = f"{name}/" if name else ""
        found = set()
        at = bisect.bisect_left(self._names, above)
        while at < len(self._names) and self._names[at].startswith(above):
            child, separator, _ = self._names[at][len(above) :].partition("/")
            found.add(child)
            # "0" is the character after "/": past everything in the child.
            at = bisect.bisect_left(self._names, f"{above}{child}0", at) if separator else at + 1
        return sorted(found)

    def names(self) -> tuple[str, ...]:
        """Every file below the root, in order; not paths."""
        return tuple(self._names)

    def join(self, folder: str, *names: str) -> str:
        """A path below a folder; an absolute name replaces what stands before it."""
        path = folder
        for name in names:
            if name.startswith("/") or (self._root and name.startswith(self._root)):
                path = name
            else:
                path += name if path in ("", self._root) or path.endswith("/") else f"/{name}"
        return path

    def split(self, path: str) -> tuple[str, str]:
        """The folder and the last name of a path."""
        root = self._root if path.startswith(self._root) else ""
        folder, last = posixpath.split(path[len(root) :])
        return root + folder, last

    def address(self, path: str) -> str:
        """The path itself."""
        return path

    def _name(self, path: str) -> str | None:
        """The name of a path below the root, empty for the root itself; None for a path that leads elsewhere."""
        if not path.startswith(self._root):
            return None
        name = path[len(self._root) :]
        if name.startswith("/"):
            return None
        name = posixpath.normpath(name) if name else "."
        if name == ".." or name.startswith("../"):
            return None
        return "" if name == "." else name


class MemoryStorage(TreeStorage):
    """Files whose bytes are given; the names are the paths."""

    def __init__(self, files: Mapping[str, Buffer]) -> None:
        """`files` maps names such as `model.index` to bytes, which are not copied."""
        super().__init__("", {posixpath.normpath(name): _opener(data) for name, data in files.items()})


class MemorySource:
    """Bytes in memory."""

    def __init__(self, data: Buffer, name: str) -> None:
        self._name = name
        self._view: ByteView | None = memoryview(data).cast("B").toreadonly()
        self._size = len(self._view)

    @property
    def name(self) -> str:
        """The path."""
        return self._name

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """A view of exactly these bytes."""
        view = self._view
        if view is None:
            raise ValueError(f"{self._name} is closed")
        check_range(self._name, offset, length, self._size)
        return view[offset : offset + length]

    def close(self) -> None:
        """Let go of the bytes."""
        self._view = None


class WindowSource:
    """A run of bytes inside another source, which stays open when the window is closed."""

    def __init__(self, source: ByteSource, offset: int, size: int, name: str) -> None:
        """`offset` and `size` in bytes; the caller has compared them with the source."""
        self._source: ByteSource | None = source
        self._offset = offset
        self._size = size
        self._name = name

    @property
    def name(self) -> str:
        """The path."""
        return self._name

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """Exactly these bytes, a view where the source gives views."""
        source = self._source
        if source is None:
            raise ValueError(f"{self._name} is closed")
        check_range(self._name, offset, length, self._size)
        return source.read(self._offset + offset, length)

    def close(self) -> None:
        """Let go of the source."""
        self._source = None


def _opener(data: Buffer) -> Callable[[str], ByteSource]:
    return lambda name: MemorySource(data, name)
