"""`tf.flags` and `tf.app`, by the package absl-py, which TensorFlow uses for them too."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedFeatureError
from .errors import NotOfferedError
from .modules import StandInModule, find_caller


class MissingAbslError(UnsupportedFeatureError, ImportError):
    """The package absl-py is not installed."""

    def __init__(self) -> None:
        super().__init__("tf.flags and tf.app need the package absl-py; install it with: pip install absl-py")


class FlagsModule(StandInModule):
    """The module `tf.flags`, whose contents are those of `absl.flags`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        flags = _absl("flags")
        if name == "FLAGS":
            return _ParsedFlags(flags.FLAGS)
        if not hasattr(flags, name):
            file, line = find_caller()
            raise NotOfferedError(f"{self.__name__}.{name}", file=file, line=line)
        return getattr(flags, name)


class _ParsedFlags:
    """The values of all flags; the command line is parsed when the first of them is read, as in TensorFlow."""

    def __init__(self, flags: Any) -> None:
        self.__dict__["_flags"] = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not self._flags.is_parsed():
            self._flags(sys.argv)
        return getattr(self._flags, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._flags, name, value)

    def __getitem__(self, name: str) -> Any:
        return self._flags[name]

    def __dir__(self) -> list[str]:
        return dir(self._flags)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._flags(*args, **kwargs)


def run(main: Callable[[list[str]], Any] | None = None, argv: list[str] | None = None) -> None:
    """Parse the command line, call the program's `main` with what is left of it, and exit.

    Flags that are not defined are left to `main`.
    """
    app, flags = _absl("app"), _absl("flags")
    if main is None:
        main = sys.modules["__main__"].main
    app.run(main=main, argv=argv, flags_parser=lambda args: flags.FLAGS(args, known_only=True))


def _absl(module: str) -> Any:
    try:
        if module == "flags":
            from absl import flags

            return flags
        from absl import app
    except ModuleNotFoundError as missing:
        if missing.name != "absl":
            raise
        raise MissingAbslError from missing
    return app
