"""Which library's names a state dict has, and of which network.

What names begin with shows the library; names and shapes show the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from tfckpt.errors import pluralize, printable
from tfckpt.tensors.casting import FLOATS

from .._typing import Array
from ..errors import ConversionError, Shape, UnknownModelError
from ..model.config import CONFIGS, EfficientNetConfig
from ..model.names import native_targets
from .models import TargetName, library_model
from .tables import library_names
from .targets import TABLES

_COUNTER = ".num_batches_tracked"
_NATIVE_BEGINNINGS = frozenset({"stem", "stages", "head", "classifier"})
#: Part of a published network's tensors that a state dict has to have under its names and in its shapes to be meant.
_ENOUGH = 0.5


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
        elif array.dtype.name not in FLOATS:
            problems.append(f"mismatched: {printable(name)} is {array.dtype.name}, expected floating-point numbers")
        else:
            native[ours] = array
    known = set(names.values())
    problems += [f"unexpected: {printable(name)} {list(tensors[name].shape)}" for name in tensors if name not in known]
    require_none(problems, f"the state dict does not fit {printable(config.name)}")
    return native


def _names(target: TargetName, config: EfficientNetConfig) -> dict[str, str]:
    """Give a library's name of every tensor by ours."""
    if target == "native":
        return {name: name for name in native_targets(config)}
    return library_names(TABLES[target], config, target)


def own_names(tensors: Mapping[str, Array]) -> dict[str, str] | None:
    """Return our name of every tensor by its library's name.

    None unless the names are exactly those that a library has for a published network, with its classifier or without.
    """
    try:
        target = library_of(tensors)
    except UnknownModelError:
        return None
    if target == "native":
        return None
    for published in _published(target):
        for config in (published, dataclasses.replace(published, num_classes=0)):
            if len(native_targets(config)) == len(tensors):
                names = {theirs: ours for ours, theirs in _names(target, config).items()}
                if names.keys() == tensors.keys():
                    return names
    return None


def library_of(tensors: Mapping[str, Array]) -> TargetName:
    """Return the library that gave these names, by what they begin with."""
    beginnings: dict[TargetName, frozenset[str]] = {"native": _NATIVE_BEGINNINGS}
    for target, table in TABLES.items():
        beginnings[target] = frozenset(theirs.partition(".")[0] for _, theirs in (*table.norms, *table.layers))
    counts = {target: sum(name.partition(".")[0] in known for name in tensors) for target, known in beginnings.items()}
    best = max(counts, key=lambda target: counts[target])
    if 2 * counts[best] <= len(tensors):
        shown = ", ".join(map(printable, list(tensors)[:3])) or "nothing"
        raise UnknownModelError(
            f"not an EfficientNet's state dict: it has {shown}; known names are those of {', '.join(beginnings)}"
        )
    return best


def config_of(target: TargetName, tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Return the published network that a library's names and shapes agree with most; `UnknownModelError` if none."""
    candidates = [_adapted(target, config, tensors) for config in _published(target)]
    best = max(candidates, key=lambda config: _agreeing(tensors, target, config))
    if _agreeing(tensors, target, best) < _ENOUGH * len(_weights(best)):
        raise UnknownModelError(
            "no published EfficientNet has these names and shapes; a checkpoint to be like (--like) says what it is"
        )
    return best


def _published(target: TargetName) -> Iterator[EfficientNetConfig]:
    """Return the published networks that a library has."""
    return (config for config in CONFIGS.values() if library_model(target, config.name))


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


def require_none(problems: list[str], what: str) -> None:
    """Raise `ConversionError` with all problems, if there are any."""
    if problems:
        raise ConversionError("\n  ".join([f"{what}: {pluralize(len(problems), 'finding')}", *problems]))
