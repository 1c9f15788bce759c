"""The destinations of `export`, by the ending of the output; their libraries are imported when they are used."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfckpt.errors import MissingDependencyError

from .._typing import PathLike
from ..errors import ExportError
from .quality import Precision

_PACKAGE = __package__


class Destination(NamedTuple):
    """A kind of program file.

    `module` writes it. `packages` are imported to write and to run it, and `extra` installs them.
    `allows_dynamic` says whether axes may have any size. `precisions` are those it can have instead of float32.
    `has_float64` says whether the program is also run in float64.
    `trains` says whether its parameters can be trained.
    `keeps_state` says whether it can change buffers when it runs.
    """

    ending: str
    title: str
    module: str
    packages: tuple[str, ...]
    extra: str | None
    allows_dynamic: bool
    precisions: tuple[Precision, ...] = ()
    has_float64: bool = False
    trains: bool = False
    keeps_state: bool = False

    def require(self) -> None:
        """Raise `MissingDependencyError` if a package is not installed."""
        for package in self.packages:
            try:
                is_missing = importlib.util.find_spec(package) is None
            except (ImportError, ValueError):
                is_missing = True
            if is_missing:
                raise MissingDependencyError(package, extra=self.extra or "torch", purpose=f"a {self.ending} file")

    def load(self) -> Any:
        """Import the module that writes this destination."""
        return importlib.import_module(f".{self.module}", _PACKAGE)


_ONNX = ("onnx", "onnxscript", "onnxruntime")
_ALL = (
    Destination(".pt2", "torch.export", "torch_export", (), None, True, ("float16",), trains=True, keeps_state=True),
    Destination(".py", "Python", "python", ("safetensors",), "convert", True, has_float64=True, trains=True),
    Destination(".onnx", "ONNX", "onnx", _ONNX, "onnx", True, ("float16", "int8")),
    Destination(".xml", "OpenVINO", "openvino", (*_ONNX, "openvino"), "openvino", True, ("float16",)),
    Destination(".pte", "ExecuTorch", "executorch", ("executorch",), "executorch", False, ("int8",)),
    Destination(".tflite", "LiteRT", "litert", ("litert_torch", "ai_edge_litert"), "litert", False),
)
DESTINATIONS: Mapping[str, Destination] = {destination.ending: destination for destination in _ALL}


def find_destination(path: PathLike) -> Destination:
    """Return the destination for the ending of a name; raise `ExportError` for any other ending."""
    path = os.fspath(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in DESTINATIONS:
        *most, last = DESTINATIONS
        raise ExportError(f"the output has to end in {', '.join(most)} or {last}", path=path)
    return DESTINATIONS[ending]
