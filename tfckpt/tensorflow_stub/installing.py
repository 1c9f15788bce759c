"""Installing the stand-in, so that `import tensorflow` finds it, and removing it.

Python looks for a module in `sys.modules` first, so the modules of the stand-in are added there.
A finder on `sys.meta_path` handles imports of all other modules of TensorFlow.
Whether TensorFlow is installed is a question that a program asks with other functions; `presence` answers them.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence

from . import presence, state
from .contents import build_modules
from .errors import ModuleNotOfferedError, TensorFlowImportedError
from .modules import NAME, StandInModule, find_caller

#: The package of TensorFlow with the modules of its messages, some of which programs bring along.
_MESSAGES = f"{NAME}.core"


@contextlib.contextmanager
def stand_in(*, seem_installed: bool = False) -> Iterator[types.ModuleType]:
    """Make `import tensorflow` return a module that only reads checkpoints, until the end of the block.

    Yields that module.
    Accessing anything else in it raises `NotOfferedError`, an `AttributeError` with the attribute and the line.
    At the end its modules are removed from `sys.modules`; modules that imported it meanwhile keep their references.
    A nested call yields the same module.
    It affects the whole process, so only one thread may use it at a time.

    Libraries that ask whether TensorFlow is installed (`importlib.util.find_spec`, `importlib.metadata`) are told that
    it is not, so that they do not use it for computing. With `seem_installed` they are told that it is.

    If a program has imported a package `tensorflow` that only contains messages (`tensorflow/core/..._pb2.py`), its
    modules stay available in the block.
    Raises `TensorFlowImportedError` if the real TensorFlow is already imported.
    """
    present = sys.modules.get(NAME)
    if isinstance(present, StandInModule):
        yield present
        return
    replaced = _take_out_messages()
    modules = build_modules()
    folders = _find_message_folders(replaced)
    _open_to_messages(modules, folders, replaced)
    finder = StandInFinder(modules, seems_installed=seem_installed)
    sys.modules.update(modules)
    sys.meta_path.insert(0, finder)
    try:
        with state.fresh(), contextlib.nullcontext() if seem_installed else presence.answer_absent():
            yield modules[NAME]
    finally:
        sys.meta_path.remove(finder)
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        sys.modules.update(replaced)


class StandInFinder:
    """The finder for modules and the package of TensorFlow while the stand-in is installed."""

    def __init__(self, modules: Mapping[str, StandInModule], *, seems_installed: bool) -> None:
        self._modules = modules
        self._seems_installed = seems_installed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raise an error that names the module if a program imports one of TensorFlow that is not offered.

        Returns None for other modules, and the module of a program's own package of messages if it has one.
        Modules that are offered are in `sys.modules`, unless the program removes them.
        """
        if fullname.partition(".")[0] != NAME:
            return None
        if fullname in self._modules:
            return importlib.machinery.ModuleSpec(fullname, _Loader(self._modules[fullname]), is_package=True)
        if path and fullname.startswith(f"{_MESSAGES}."):
            specification = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if specification is not None:
                return specification
        if presence.is_asked():
            return None
        file, line = find_caller()
        raise ModuleNotOfferedError(fullname, file=file, line=line)

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        """Return the package `tensorflow` if it is to seem installed and it or all packages are requested."""
        name = None if context is None else context.name
        is_requested = name is None or name.lower().replace("_", "-") == NAME
        return [presence.StandInDistribution()] if self._seems_installed and is_requested else []


class _Loader(importlib.abc.Loader):
    """Loads a module of the stand-in again that a program removed from `sys.modules`."""

    def __init__(self, module: StandInModule) -> None:
        self._module = module

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the same module as before."""
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing, because the module is complete."""


def _take_out_messages() -> dict[str, types.ModuleType]:
    """Return the imported packages `tensorflow...` if they only contain messages, and remove them from `sys.modules`.

    Raises `TensorFlowImportedError` for any other module with such a name.
    """
    imported = {name: module for name, module in sys.modules.items() if name == NAME or name.startswith(f"{NAME}.")}
    others = [
        name
        for name, module in imported.items()
        if name.startswith(f"{NAME}.python") or not (_is_message(name) or _is_plain_package(module))
    ]
    if others:
        raise TensorFlowImportedError(
            f"the real TensorFlow is already imported ({min(others)}), so the stand-in cannot replace it; "
            "use the real one, or start in a process that has not imported it"
        )
    packages = {name: module for name, module in imported.items() if not _is_message(name)}
    for name in packages:
        del sys.modules[name]
    return packages


def _is_message(name: str) -> bool:
    """Return whether a module is generated from a .proto file, by its name."""
    return name.startswith(f"{_MESSAGES}.") and name.endswith(("_pb2", "_pb2_grpc"))


def _is_plain_package(module: types.ModuleType) -> bool:
    """Return whether a module is a package with an `__init__.py` that defines nothing, or without one."""
    own = (name for name, value in vars(module).items() if not isinstance(value, types.ModuleType))
    return hasattr(module, "__path__") and all(name.startswith("__") and name != "__version__" for name in own)


def _find_message_folders(replaced: dict[str, types.ModuleType]) -> list[str]:
    """Return the folders of a package of messages: of the imported one, else of one on the path.

    The real TensorFlow is not such a package.
    """
    if NAME in replaced:
        return list(replaced[NAME].__path__)
    try:
        specification = importlib.machinery.PathFinder.find_spec(NAME)
    except (ImportError, ValueError, OSError):  # another program's finder
        return []
    folders = [] if specification is None else list(specification.submodule_search_locations or ())
    is_real = any(importlib.machinery.PathFinder.find_spec(f"{NAME}.python", [folder]) for folder in folders)
    return [] if is_real else folders


def _open_to_messages(
    modules: dict[str, StandInModule], folders: list[str], replaced: dict[str, types.ModuleType]
) -> None:
    """Let the program's own modules of messages be imported below `tensorflow.core`, in place of ours."""
    if not folders:
        return
    for name in [name for name in modules if name.startswith(f"{_MESSAGES}.")]:
        del modules[name]
    core = modules[_MESSAGES] = StandInModule(_MESSAGES, {})
    modules[NAME].core = core  # type: ignore[attr-defined]  # a submodule
    core.__path__ = [f"{folder}/core" for folder in folders]
    for name, module in replaced.items():
        if name.startswith(f"{_MESSAGES}."):
            sys.modules[name] = module
    for name in [name for name in sys.modules if name.startswith(f"{_MESSAGES}.")]:
        parent, _, last = name.rpartition(".")
        if parent == _MESSAGES:
            setattr(core, last, sys.modules[name])
