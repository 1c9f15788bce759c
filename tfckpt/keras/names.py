"""The names of the tensors in Keras's files.

::

    legacy .h5       attribute layer_names, and for each layer weight_names:   conv2d/kernel:0
    whole .h5        the same in the group model_weights; the state of the optimizer in optimizer_weights
    .weights.h5      paths:                                                    layers/conv2d/vars/0

A tensor of a legacy file has its weight name, without `:0`, and a tensor of any other file has its path.
State of the optimizer in a legacy file has `optimizer_weights/` before its name.
A long list of names continues in attributes with a number: layer_names0, layer_names1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import CorruptionError, abridged
from .hdf5 import Attributes, Contents

LAYER_NAMES, WEIGHT_NAMES = "layer_names", "weight_names"
MODEL_WEIGHTS, OPTIMIZER_WEIGHTS, TOP_LEVEL = "model_weights", "optimizer_weights", "top_level_model_weights"


def name_datasets(contents: Contents) -> Iterator[tuple[str, str]]:
    """Yield the name and the path of every dataset; a name may occur twice, for a variable of two layers."""
    root = MODEL_WEIGHTS if MODEL_WEIGHTS in contents.groups else ""
    layers = _read_list(contents.groups.get(root, {}), LAYER_NAMES)
    named: dict[str, None] = {}
    if layers is not None:
        for layer in dict.fromkeys((*layers, TOP_LEVEL)):
            path = f"{root}/{layer}" if root else layer
            if layer == TOP_LEVEL and path not in contents.groups:
                continue
            for name, dataset in _name_weights(contents, path):
                named[dataset] = None
                yield name, dataset
        for name, dataset in _name_weights(contents, OPTIMIZER_WEIGHTS):
            named[dataset] = None
            yield f"{OPTIMIZER_WEIGHTS}/{name}", dataset
    for path in contents.datasets:
        if path not in named:
            yield path, path


def is_legacy(contents: Contents) -> bool:
    """Return whether a file has the names of weights."""
    root = contents.groups.get(MODEL_WEIGHTS, contents.groups.get("", {}))
    return _read_list(root, LAYER_NAMES) is not None


def _name_weights(contents: Contents, path: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the path of each weight that a group lists."""
    if path not in contents.groups:
        if path == OPTIMIZER_WEIGHTS:
            return
        raise CorruptionError(f"{LAYER_NAMES} has {abridged(path)!r}, but there is no such group")
    for weight in dict.fromkeys(_read_list(contents.groups[path], WEIGHT_NAMES) or ()):
        dataset = f"{path}/{weight}"
        if dataset not in contents.datasets:
            raise CorruptionError(
                f"{WEIGHT_NAMES} of {abridged(path)!r} has {abridged(weight)!r}, but there is no such dataset"
            )
        yield weight.removesuffix(":0"), dataset


def _read_list(attributes: Attributes, name: str) -> tuple[str, ...] | None:
    """Return a list of names, which may continue in several attributes; None if there is none."""
    if name in attributes:
        return attributes[name]
    parts: list[str] = []
    number = 0
    while f"{name}{number}" in attributes:
        parts += attributes[f"{name}{number}"]
        number += 1
    return tuple(parts) if number else None


def model_config(groups: Mapping[str, Attributes]) -> str | None:
    """Return the configuration of the model in a whole-model file, as JSON; None without one."""
    texts = groups.get("", {}).get("model_config", ())
    return texts[0] if len(texts) == 1 else None
