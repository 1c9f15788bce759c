"""State dicts as people have them: of PyTorch tensors or arrays, under our names or another library's.

Whose names they are is told by what they begin with, and which network it is by names and shapes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfckpt.errors import join_some, pluralize, printable

from ._typing import Array
from .errors import ConversionError, Shape, UnknownModelError
from .exporters.pth import to_array
from .exporters.tables import library_names
from .exporters.targets import TABLES
from .loading import config_from_state_dict
from .mapping.native import native_targets
from .model.config import CONFIGS, EfficientNetConfig
from .model.libraries import TargetName, library_model

_COUNTER = ".num_batches_tracked"
_NATIVE_BEGINNINGS = frozenset({"stem", "stages", "head", "classifier"})
_STAGE = re.compile(r"stages\.([0-9]{1,4})\.")
#: Part of a published network's tensors that a state dict has to have under its names and in its shapes to be meant.
_ENOUGH = 0.5


def arrays(state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """View every tensor as an array; what needs a gradient is taken as its value."""
    arrays: dict[str, Array] = {}
    problems = []
    for name, value in state_dict.items():
        if hasattr(value, "detach"):
            try:
                arrays[name] = to_array(value)
            except TypeError as error:
                problems.append(f"{printable(str(name))} is {error}")
        elif isinstance(value, np.ndarray | np.generic):
            arrays[name] = np.asarray(value)
        else:
            problems.append(f"{printable(str(name))} is a {type(value).__name__}, expected a tensor")
    _require(problems, "the state dict holds other things than tensors")
    return arrays


def to_native(tensors: Mapping[str, Array], target: TargetName, config: EfficientNetConfig) -> dict[str, Array]:
    """Give the network's tensors under our own names; `ConversionError` lists everything that does not fit."""
    if config.folded_bn or (target == "native" and "stem.conv.bias" in tensors):
        raise ConversionError(
            "batch norms are folded into their convolutions, and TensorFlow's network has them apart: "
            "revert weights that were written without that"
        )
    names = _names(target, config)
    problems = []
    native = {}
    for ours, shape in _weights(config).items():
        name = names[ours]
        array = tensors.get(name)
        if array is None:
            problems.append(f"missing: {printable(name)} {list(shape)}")
        elif array.shape != shape:
            problems.append(f"mismatched: {printable(name)} is {list(array.shape)}, expected {list(shape)}")
        elif not is_floating(array.dtype):
            problems.append(f"mismatched: {printable(name)} is {array.dtype.name}, expected floating-point numbers")
        else:
            native[ours] = array
    known = set(names.values())
    problems += [f"unexpected: {printable(name)} {list(tensors[name].shape)}" for name in tensors if name not in known]
    _require(problems, f"the state dict does not fit {printable(config.name)}")
    return native


def _names(target: TargetName, config: EfficientNetConfig) -> dict[str, str]:
    """Give a library's name of every tensor by ours."""
    if target == "native":
        return {name: name for name in native_targets(config)}
    return library_names(TABLES[target], config, target)


def library_of(tensors: Mapping[str, Array]) -> TargetName:
    """Tell whose names these are, by what they begin with."""
    beginnings: dict[TargetName, frozenset[str]] = {"native": _NATIVE_BEGINNINGS}
    for target, table in TABLES.items():
        beginnings[target] = frozenset(theirs.partition(".")[0] for _, theirs in (*table.norms, *table.layers))
    counts = {target: sum(name.partition(".")[0] in known for name in tensors) for target, known in beginnings.items()}
    best = max(counts, key=lambda target: counts[target])
    if 2 * counts[best] <= len(tensors):
        shown = join_some(tensors, most=3) or "nothing"
        raise UnknownModelError(
            f"no EfficientNet's state dict: it has {shown}; names that are known are those of {', '.join(beginnings)}"
        )
    return best


def config_of(target: TargetName, tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Find the network by names and shapes: one of ours whatever it is, a library's among the published ones."""
    if target == "native":
        with contextlib.suppress(UnknownModelError):
            return config_from_state_dict(tensors)
        count = 1 + max((int(found[1]) for found in map(_STAGE.match, tensors) if found), default=0)
        with contextlib.suppress(UnknownModelError):
            config = config_from_state_dict(tensors, strides=(1,) * count)  # no name depends on them
            if _agreeing(tensors, target, config) == len(_weights(config)):
                return config
    published = (config for config in CONFIGS.values() if library_model(target, config.name))
    candidates = [_adapted(target, config, tensors) for config in published]
    best = max(candidates, key=lambda config: _agreeing(tensors, target, config))
    if _agreeing(tensors, target, best) < _ENOUGH * len(_weights(best)):
        raise UnknownModelError(
            "no published EfficientNet has these names and shapes; a checkpoint to be like (--like) says what it is"
        )
    return best


def _adapted(target: TargetName, config: EfficientNetConfig, tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Give a published network the classes and the input channels of a state dict."""
    names = _names(target, config)
    classifier, stem = (tensors.get(names[name]) for name in ("classifier.weight", "stem.conv.weight"))
    return dataclasses.replace(
        config,
        num_classes=classifier.shape[0] if classifier is not None and classifier.ndim == 2 else 0,
        in_channels=stem.shape[1] or config.in_channels if stem is not None and stem.ndim == 4 else config.in_channels,
    )


def _agreeing(tensors: Mapping[str, Array], target: TargetName, config: EfficientNetConfig) -> int:
    """Count the tensors that have a network's names and shapes."""
    names = _names(target, config)
    return sum(
        names[ours] in tensors and tensors[names[ours]].shape == shape for ours, shape in _weights(config).items()
    )


def _weights(config: EfficientNetConfig) -> dict[str, Shape]:
    """List what TensorFlow has of a network: everything but the counts of batches."""
    return {name: shape for name, shape in native_targets(config).items() if not name.endswith(_COUNTER)}


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Tell the dtypes of weights that TensorFlow stores."""
    return dtype.name in ("float16", "bfloat16", "float32", "float64")


def _require(problems: list[str], what: str) -> None:
    if problems:
        raise ConversionError("\n  ".join([f"{what}: {pluralize(len(problems), 'finding')}", *problems]))
