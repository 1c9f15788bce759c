"""Putting the stand-in where `import tensorflow` finds it, and taking it away again.

Python looks for a module in `sys.modules` first, so that is where the stand-in's modules are put.
A finder on `sys.meta_path` answers for what programs ask beside that:
other modules of TensorFlow, which are not offered, and the version of the package that is installed.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .errors import ModuleNotOfferedError, TensorFlowImportedError
from .modules import NAME, VERSION, StandInModule, asker, build

if TYPE_CHECKING:
    import importlib.metadata
    import os
    import pathlib


@contextlib.contextmanager
def stand_in() -> Iterator[types.ModuleType]:
    """While the context lasts, `import tensorflow` gives a module that offers only what reads checkpoints.

    Gives that module.
    Anything else it is asked for is a `NotOfferedError` (an `AttributeError`) that names the attribute and the line.
    Afterwards `sys.modules` has none of its modules; modules that imported it meanwhile still hold it.
    Within itself it is the same stand-in once more.
    The whole process sees it, so it is for one thread at a time.

    Raises `TensorFlowImportedError` when the real TensorFlow is imported already.
    """
    present = sys.modules.get(NAME)
    if isinstance(present, StandInModule):
        yield present
        return
    _refuse_beside_tensorflow()
    modules = build()
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
    """Answers questions about modules and the package of TensorFlow while the stand-in is in place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None for modules that are not TensorFlow's; of TensorFlow's only those ask here that are not offered.

        An import of one is an error; `importlib.util.find_spec`, which only asks whether it is there, gets None.
        """
        if fullname.partition(".")[0] != NAME:
            return None
        if _is_question():
            return None
        file, line = asker()
        raise ModuleNotOfferedError(fullname, file=file, line=line)

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        """The package `tensorflow`, when it or every package is asked for."""
        name = None if context is None else context.name
        return [_distribution()] if name is None or name.lower().replace("_", "-") == NAME else []


def _distribution() -> importlib.metadata.Distribution:
    """Return the installed package `tensorflow`, as `importlib.metadata` describes packages."""
    import importlib.metadata  # slow to import, and few programs ask for the package
    import pathlib

    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
        "Summary: stand-in of tfckpt that offers only what reads checkpoints\n",
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


def _refuse_beside_tensorflow() -> None:
    imported = sorted(name for name in sys.modules if name == NAME or name.startswith(f"{NAME}."))
    if imported:
        raise TensorFlowImportedError(
            f"the real TensorFlow is imported already ({imported[0]}), so nothing can stand in for it; "
            "use it as it is, or begin in a process that has not imported it"
        )


def _is_question() -> bool:
    """Whether `importlib.util.find_spec` asks, and no import."""
    frame: types.FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "importlib.util" and frame.f_code.co_name == "find_spec":
            return True
        frame = frame.f_back
    return False


#: Frames between a finder and who asked it: the import system's own.
_DEPTH = 6
