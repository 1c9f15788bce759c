"""Installing the stand-in, so that `import tensorflow` finds it, and removing it.

Python looks for a module in `sys.modules` first, so the modules of the stand-in are added there.
A finder on `sys.meta_path` handles other requests:
imports of other modules of TensorFlow, and queries for the installed package and its version.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .errors import ModuleNotOfferedError, TensorFlowImportedError
from .modules import NAME, VERSION, StandInModule, build_modules, find_caller

if TYPE_CHECKING:
    import importlib.metadata
    import os
    import pathlib


@contextlib.contextmanager
def stand_in() -> Iterator[types.ModuleType]:
    """Make `import tensorflow` return a module that only reads checkpoints, until the end of the block.

    Yields that module.
    Accessing anything else in it raises `NotOfferedError`, an `AttributeError` with the attribute and the line.
    At the end its modules are removed from `sys.modules`; modules that imported it meanwhile keep their references.
    A nested call yields the same module.
    It affects the whole process, so only one thread may use it at a time.

    Raises `TensorFlowImportedError` if the real TensorFlow is already imported.
    """
    present = sys.modules.get(NAME)
    if isinstance(present, StandInModule):
        yield present
        return
    _check_not_imported()
    modules = build_modules()
    finder = StandInFinder()
    sys.modules.update(modules)
    sys.meta_path.insert(0, finder)
    try:
        yield modules[NAME]
    finally:
        sys.meta_path.remove(finder)
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class StandInFinder:
    """The finder for modules and the package of TensorFlow while the stand-in is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raise an error that names the module if a program imports one of TensorFlow that is not offered.

        Returns None for other modules, and to `importlib.util.find_spec`, which only checks whether a module exists.
        Modules that are offered are in `sys.modules`, so they do not get here.
        """
        if fullname.partition(".")[0] != NAME:
            return None
        if _is_called_by_find_spec():
            return None
        file, line = find_caller()
        raise ModuleNotOfferedError(fullname, file=file, line=line)

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        """Return the package `tensorflow` if it or all packages are requested."""
        name = None if context is None else context.name
        return [_make_distribution()] if name is None or name.lower().replace("_", "-") == NAME else []


def _make_distribution() -> importlib.metadata.Distribution:
    """Return the metadata of the package `tensorflow`."""
    import importlib.metadata  # slow to import, and few programs need it
    import pathlib

    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
        "Summary: stand-in of tfckpt that only reads checkpoints\n",
        "top_level.txt": f"{NAME}\n",
        "RECORD": "",
    }

    class StandInDistribution(importlib.metadata.Distribution):
        """Metadata without files."""

        def read_text(self, filename: str) -> str | None:
            return files.get(filename)

        def locate_file(self, path: str | os.PathLike[str]) -> pathlib.Path:
            return pathlib.Path(path)

    return StandInDistribution()


def _check_not_imported() -> None:
    """Raise `TensorFlowImportedError` if a module of the real TensorFlow is imported."""
    imported = sorted(name for name in sys.modules if name == NAME or name.startswith(f"{NAME}."))
    if imported:
        raise TensorFlowImportedError(
            f"the real TensorFlow is already imported ({imported[0]}), so the stand-in cannot replace it; "
            "use the real one, or start in a process that has not imported it"
        )


def _is_called_by_find_spec() -> bool:
    """Return whether the request comes from `importlib.util.find_spec` and not from an import."""
    frame: types.FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "importlib.util" and frame.f_code.co_name == "find_spec":
            return True
        frame = frame.f_back
    return False


#: Most frames between a finder and `find_spec`; they belong to the import system.
_DEPTH = 6
