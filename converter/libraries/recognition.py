"""Recognition of the library that a state dict comes from, and of its network.

The first parts of names determine the library; names and shapes determine the network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

from tfckpt.errors import pluralize, printable
from tfckpt.tensors.casting import FLOATS

from .._typing import Array
from ..errors import ConversionError, Shape, UnknownModelError
from ..model.architectures import CONFIGS
from ..model.config import EfficientNetConfig
from ..model.names import native_targets
from .models import TARGETS, TargetName, find_library_model
from .tables import map_to_library
from .targets import TABLES

_COUNTER = ".num_batches_tracked"
_NATIVE_FIRST_PARTS = frozenset({"stem", "stages", "head", "classifier"})
#: Lowest fraction of a published network's tensors that a state dict must have, with these names and shapes.
_ENOUGH = 0.5


def to_native(tensors: Mapping[str, Array], target: TargetName, config: EfficientNetConfig) -> dict[str, Array]:
    """Return the tensors by our own names; raise `ConversionError` listing all that do not match the network."""
    if config.folded_bn or (target == "native" and "stem.conv.bias" in tensors):
        raise ConversionError(
            "batch norms are folded into convolutions, but TensorFlow's network needs them; "
            "revert weights that were written without --fuse-bn"
        )
    names = _list_names(target, config)
    problems = []
    native = {}
    for ours, shape in _list_weights(config).items():
        name = names[ours]
        array = tensors.get(name)
        if array is None:
            problems.append(f"missing: {printable(name)} {list(shape)}")
        elif array.shape != shape:
            problems.append(f"mismatched: {printable(name)} is {list(array.shape)}, expected {list(shape)}")
        elif array.dtype.name not in FLOATS:
            problems.append(f"mismatched: {printable(name)} is {array.dtype.name}, expected a floating-point dtype")
        else:
            native[ours] = array
    known = set(names.values())
    problems += [f"unexpected: {printable(name)} {list(tensors[name].shape)}" for name in tensors if name not in known]
    raise_problems(problems, f"the state dict does not match the network ({printable(config.name)})")
    return native


def _list_names(target: TargetName, config: EfficientNetConfig) -> Mapping[str, str]:
    """Return our name -> the library's name for every tensor."""
    if target == "native":
        return {name: name for name in native_targets(config)}
    # The numbers of classes and input channels change shapes, but no names.
    return _map_names(target, dataclasses.replace(config, num_classes=min(config.num_classes, 1), in_channels=3))


@functools.lru_cache(maxsize=128)  # all published networks in several libraries
def _map_names(target: TargetName, config: EfficientNetConfig) -> Mapping[str, str]:
    return map_to_library(TABLES[target], config, target)


def find_own_names(tensors: Mapping[str, Array]) -> dict[str, str] | None:
    """Return the library's name -> our name for every tensor.

    Return None unless the names are exactly those of a published network in a library, with or without classifier.
    """
    try:
        target = identify_library(tensors)
    except UnknownModelError:
        return None
    if target == "native":
        return None
    for published in _iterate_published(target):
        for config in (published, dataclasses.replace(published, num_classes=0)):
            if len(native_targets(config)) == len(tensors):
                names = {theirs: ours for ours, theirs in _list_names(target, config).items()}
                if names.keys() == tensors.keys():
                    return names
    return None


def find_prefixes(names: Iterable[str]) -> list[str]:
    """Return what stands before the names of each network, by its first convolution; empty, or ending in a dot."""
    stems = _list_stems()
    prefixes = dict.fromkeys(
        name.removesuffix(stem) for name in names for stem in stems if name == stem or name.endswith(f".{stem}")
    )
    return list(prefixes)


@functools.cache
def _list_stems() -> tuple[str, ...]:
    """Return the name of the first convolution in each library."""
    return tuple(_list_names(target, CONFIGS["efficientnet-b0"])["stem.conv.weight"] for target in TARGETS)


def identify_library(tensors: Mapping[str, Array]) -> TargetName:
    """Return the library whose names start with the same parts."""
    first_parts: dict[TargetName, frozenset[str]] = {"native": _NATIVE_FIRST_PARTS}
    for target, table in TABLES.items():
        first_parts[target] = frozenset(theirs.partition(".")[0] for _, theirs in (*table.norms, *table.layers))
    counts = {target: sum(name.partition(".")[0] in known for name in tensors) for target, known in first_parts.items()}
    best = max(counts, key=lambda target: counts[target])
    if 2 * counts[best] <= len(tensors):
        shown = ", ".join(map(printable, list(tensors)[:3])) or "nothing"
        raise UnknownModelError(
            f"not an EfficientNet state dict: it contains {shown}; known libraries: {', '.join(first_parts)}"
        )
    return best


def identify_config(target: TargetName, tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Return the published network with the most matching tensors; raise `UnknownModelError` if too few match."""
    candidates = [_adapt(target, config, tensors) for config in _iterate_published(target)]
    # A network without squeeze-and-excitation matches one with it as well; the one with fewer other tensors is meant.
    best = max(
        candidates, key=lambda config: (_count_matches(tensors, target, config), -len(_list_names(target, config)))
    )
    if _count_matches(tensors, target, best) < _ENOUGH * len(_list_weights(best)):
        raise UnknownModelError(
            "no published EfficientNet has these names and shapes; pass a checkpoint of the network with --like"
        )
    return best


def _iterate_published(target: TargetName) -> Iterator[EfficientNetConfig]:
    """Yield the published networks that a library has."""
    return (config for config in CONFIGS.values() if find_library_model(target, config.name))


def _adapt(target: TargetName, config: EfficientNetConfig, tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Return a published config with the classes and input channels of a state dict."""
    names = _list_names(target, config)
    classifier, stem = (tensors.get(names[name]) for name in ("classifier.weight", "stem.conv.weight"))
    return dataclasses.replace(
        config,
        num_classes=classifier.shape[0] if classifier is not None and classifier.ndim == 2 else 0,
        in_channels=stem.shape[1] or config.in_channels if stem is not None and stem.ndim == 4 else config.in_channels,
    )


def _count_matches(tensors: Mapping[str, Array], target: TargetName, config: EfficientNetConfig) -> int:
    """Return the number of tensors with names and shapes of a network."""
    names = _list_names(target, config)
    return sum(
        names[ours] in tensors and tensors[names[ours]].shape == shape for ours, shape in _list_weights(config).items()
    )


def _list_weights(config: EfficientNetConfig) -> dict[str, Shape]:
    """Return name -> shape of the tensors that TensorFlow has too, all except the batch counters."""
    return {name: shape for name, shape in native_targets(config).items() if not name.endswith(_COUNTER)}


def raise_problems(problems: list[str], what: str) -> None:
    """Raise `ConversionError` with all problems, if there are any."""
    if problems:
        raise ConversionError("\n  ".join([f"{what}: {pluralize(len(problems), 'finding')}", *problems]))
