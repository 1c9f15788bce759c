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

_PACKAGE = __package__


class Destination(NamedTuple):
    """A kind of program file.

    `module` writes it and `runner` runs it. `packages` are imported for that, and `extra` installs them.
    `allows_dynamic` says whether axes may have any size.
    """

    ending: str
    title: str
    module: str
    runner: str
    packages: tuple[str, ...]
    extra: str | None
    allows_dynamic: bool

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


DESTINATIONS: Mapping[str, Destination] = {
    destination.ending: destination
    for destination in (
        Destination(".pt2", "torch.export", "torch_export", "run_torch_export", (), None, True),
        Destination(".onnx", "ONNX", "onnx", "run_onnx", ("onnx", "onnxscript", "onnxruntime"), "onnx", True),
        Destination(
            ".xml",
            "OpenVINO",
            "openvino",
            "run_openvino",
            ("onnx", "onnxscript", "onnxruntime", "openvino"),
            "openvino",
            True,
        ),
        Destination(".pte", "ExecuTorch", "executorch", "run_executorch", ("executorch",), "executorch", False),
        Destination(".tflite", "LiteRT", "litert", "run_litert", ("litert_torch", "ai_edge_litert"), "litert", False),
    )
}


def find_destination(path: PathLike) -> Destination:
    """Return the destination for the ending of a name; raise `ExportError` for any other ending."""
    path = os.fspath(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in DESTINATIONS:
        *most, last = DESTINATIONS
        raise ExportError(f"the output has to end in {', '.join(most)} or {last}", path=path)
    return DESTINATIONS[ending]
