"""Convert TensorFlow checkpoints of EfficientNet and EfficientNetV2 to PyTorch, and prove that the result is right.

Examples:
    >>> import converter
    >>> result = converter.convert("efficientnetv2-digits")  # doctest: +SKIP
    >>> model = converter.load_model("efficientnetv2-digits")  # doctest: +SKIP

Names are imported on first use: `import converter` does not load torch, and `convert` never does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    ConversionError,
    ExportError,
    FeedError,
    GraphError,
    GraphLimitError,
    MappingError,
    OtherNetworkError,
    ProgramError,
    RulesError,
    TensorNameError,
    UnknownModelError,
    UnsupportedOpError,
    VerificationError,
)

if TYPE_CHECKING:
    from .conversion import ConversionResult, convert
    from .engine import GraphModule, ReferenceGraph, graph_module, load_graph
    from .exporting import export
    from .images.recipes import Preprocessing
    from .loading import load_model, load_network
    from .mapping.report import ConversionReport
    from .mapping.reversal import reverse
    from .mapping.rules import RuleSet
    from .mapping.rules_file import read_rules
    from .model import CONFIGS, EfficientNet, EfficientNetConfig, StageConfig
    from .model.same_padding import same_padding_
    from .preprocessing import ImageTransform, preprocess, preprocessing_of
    from .programs.exporting import export_program
    from .programs.python import graph_source
    from .programs.report import ProgramReport
    from .releases.downloads import fetch
    from .reverting import RevertReport, revert, to_tensorflow_names
    from .saving import save_model

__all__ = [
    "CONFIGS",
    "ConversionError",
    "ConversionReport",
    "ConversionResult",
    "EfficientNet",
    "EfficientNetConfig",
    "ExportError",
    "FeedError",
    "GraphError",
    "GraphLimitError",
    "GraphModule",
    "ImageTransform",
    "MappingError",
    "OtherNetworkError",
    "Preprocessing",
    "ProgramError",
    "ProgramReport",
    "ReferenceGraph",
    "RevertReport",
    "RuleSet",
    "RulesError",
    "StageConfig",
    "TensorNameError",
    "UnknownModelError",
    "UnsupportedOpError",
    "VerificationError",
    "convert",
    "export",
    "export_program",
    "fetch",
    "graph_module",
    "graph_source",
    "load_graph",
    "load_model",
    "load_network",
    "preprocess",
    "preprocessing_of",
    "read_rules",
    "reverse",
    "revert",
    "same_padding_",
    "save_model",
    "to_tensorflow_names",
]

_MODULES = {
    "CONFIGS": ".model",
    "ConversionReport": ".mapping.report",
    "ConversionResult": ".conversion",
    "EfficientNet": ".model",
    "EfficientNetConfig": ".model",
    "GraphModule": ".engine",
    "ImageTransform": ".preprocessing",
    "Preprocessing": ".images.recipes",
    "ProgramReport": ".programs.report",
    "ReferenceGraph": ".engine",
    "RevertReport": ".reverting",
    "RuleSet": ".mapping.rules",
    "StageConfig": ".model",
    "convert": ".conversion",
    "export": ".exporting",
    "export_program": ".programs.exporting",
    "fetch": ".releases.downloads",
    "graph_module": ".engine",
    "graph_source": ".programs.python",
    "load_graph": ".engine",
    "load_model": ".loading",
    "load_network": ".loading",
    "preprocess": ".preprocessing",
    "preprocessing_of": ".preprocessing",
    "read_rules": ".mapping.rules_file",
    "reverse": ".mapping.reversal",
    "revert": ".reverting",
    "same_padding_": ".model.same_padding",
    "save_model": ".saving",
    "to_tensorflow_names": ".reverting",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use; if it needs torch and torch is not installed, the error names the extra."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_MODULES[name], __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from tfckpt.errors import MissingDependencyError

        raise MissingDependencyError("torch", extra="torch", purpose=f"{__name__}.{name}") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, whether or not they have been imported."""
    return sorted({*globals(), *__all__})
