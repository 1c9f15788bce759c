"""Files in memory, and the base class of storages with a fixed set of files."""

from __future__ import annotations

import bisect
import posixpath
from collections.abc import Callable, Mapping

from .._typing import Buffer, ByteSource, ByteView
from ..errors import CheckpointNotFoundError, UnsupportedFeatureError
from .base import Storage
from .clutter import drop_clutter
from .local import check_range


class TreeStorage(Storage):
    """Files by name, with `/` between folders, below a root that every path starts with.

    The root is empty for files in memory, and `ARCHIVE!` for the members of an archive.
    Paths may contain `.` and `..`; a path that leaves the root, or does not start with it, names nothing.
    """

    def __init__(
        self,
        root: str,
        files: Mapping[str, Callable[[str], ByteSource]],
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """Create a storage of `files`, which maps each name to a function that opens the file under a path.

        `refused` maps the names that cannot be read to the reason.
        """
        self._root = root
        self._files = dict(files)
        self._refused = dict(refused or {})
        # Folders are searched for, not stored: a table of them could be far larger than the names that imply them.
        self._names = sorted({*self._files, *self._refused})

    @property
    def title(self) -> str | None:
        """The name of the whole tree in messages, or None."""
        return self._root or None

    @property
    def refused(self) -> Mapping[str, str]:
        """The names that cannot be read, each with the reason."""
        return self._refused

    @property
    def root(self) -> str:
        """The path of the top folder."""
        return self._root

    def top_folder(self) -> str:
        """Return the path of the top folder: below the root, as long as a folder contains only one folder."""
        folder = self._root
        while True:
            names = drop_clutter(self.list(folder))
            below = self.join(folder, names[0]) if len(names) == 1 else None
            if below is None or not self.is_folder(below):
                return folder
            folder = below

    def open(self, path: str) -> ByteSource:
        """Open a file; raise `UnsupportedFeatureError` for a refused name."""
        name = self._relative_name(path)
        if name in self._refused:
            raise UnsupportedFeatureError(self._refused[name], path=path)
        if name is None or name not in self._files:
            raise CheckpointNotFoundError("file not found", path=path)
        return self._files[name](self._root + name)

    def is_file(self, path: str) -> bool:
        """Return whether the path is a file; members that `open` refuses are not counted."""
        return self._relative_name(path) in self._files

    def is_folder(self, path: str) -> bool:
        """Return whether any file is below the path."""
        name = self._relative_name(path)
        if not name:
            return name == ""
        at = bisect.bisect_left(self._names, f"{name}/")
        return at < len(self._names) and self._names[at].startswith(f"{name}/")

    def list(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; empty if it does not exist."""
        name = self._relative_name(folder)
        if name is None:
            return []
        start = f"{name}/" if name else ""
        children = set()
        at = bisect.bisect_left(self._names, start)
        while at < len(self._names) and self._names[at].startswith(start):
            child, separator, _ = self._names[at][len(start) :].partition("/")
            children.add(child)
            # "0" is the character after "/", so this skips everything below the child.
            at = bisect.bisect_left(self._names, f"{start}{child}0", at) if separator else at + 1
        return sorted(children)

    def names(self) -> tuple[str, ...]:
        """Return the names of all files below the root, refused ones included, in order; these are not paths."""
        return tuple(self._names)

    def join(self, folder: str, *names: str) -> str:
        """Return a path below a folder; an absolute name replaces the path before it."""
        path = folder
        for name in names:
            if name.startswith("/") or (self._root and name.startswith(self._root)):
                path = name
            else:
                path += name if path in ("", self._root) or path.endswith("/") else f"/{name}"
        return path

    def split(self, path: str) -> tuple[str, str]:
        """Split a path into its folder and its last name."""
        root = self._root if path.startswith(self._root) else ""
        folder, last = posixpath.split(path[len(root) :])
        return root + folder, last

    def address(self, path: str) -> str:
        """Return the path unchanged."""
        return path

    def _relative_name(self, path: str) -> str | None:
        """Return the name of a path below the root, empty for the root itself; None for a path outside it."""
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
    """Files whose bytes the caller passes; paths are names."""

    def __init__(self, files: Mapping[str, Buffer]) -> None:
        """Create a storage of names such as `model.index` with their bytes, which are not copied."""
        super().__init__("", {posixpath.normpath(name): _make_opener(data) for name, data in files.items()})


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
        """The size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """Return a view of exactly these bytes."""
        view = self._view
        if view is None:
            raise ValueError(f"{self._name} is closed")
        check_range(self._name, offset, length, self._size)
        return view[offset : offset + length]

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return the same view: these bytes are stored nowhere else."""
        return self.read(offset, length)

    def close(self) -> None:
        """Release the bytes."""
        self._view = None


class WindowSource:
    """A range of bytes inside another source, which stays open when the window is closed."""

    def __init__(self, source: ByteSource, offset: int, size: int, name: str) -> None:
        """Open `size` bytes from `offset`, which must lie inside the source."""
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
        """The size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> ByteView:
        """Return exactly these bytes; a view if the source returns views."""
        source = self._source
        if source is None:
            raise ValueError(f"{self._name} is closed")
        check_range(self._name, offset, length, self._size)
        return source.read(self._offset + offset, length)

    def read_again(self, offset: int, length: int) -> ByteView:
        """Return these bytes from where the other source stores them."""
        source = self._source
        if source is None:
            raise ValueError(f"{self._name} is closed")
        return source.read_again(self._offset + offset, length)

    def close(self) -> None:
        """Release the source, without closing it."""
        self._source = None


def _make_opener(data: Buffer) -> Callable[[str], ByteSource]:
    return lambda name: MemorySource(data, name)
