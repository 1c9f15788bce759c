"""The names of layers and variables in a file that stores only the path of each array.

A `.weights.h5` file and the weights in a `.keras` file number the variables of a layer, and the layers of a class::

    layers/conv2d_1/vars/0      the first variable of the second Conv2D of the model

Keras 3 writes the name of the layer into an attribute of `vars`.
tf_keras does not, but the configuration in a `.keras` file has the layers in the order in which they are counted.
Keras 2.12 to 2.14 call `layers` differently, and count each layer that has variables twice::

    _layer_checkpoint_dependencies/conv2d_2/vars/0

The class of a layer and the number of its variables determine their names; the table is from the `build` methods of the
layers in Keras 3 and tf_keras, which create them in this order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ..limits import Limits, check_limit

_KERNEL = {1: ("kernel",), 2: ("kernel", "bias")}
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel")
_NORM = {4: ("gamma", "beta", "moving_mean", "moving_variance")}
#: Class of a layer in snake case -> number of variables -> their names.
_VARIABLES: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    "conv1d": _KERNEL,
    "conv2d": _KERNEL,
    "conv2d_transpose": _KERNEL,
    "conv3d": _KERNEL,
    "dense": _KERNEL,
    "depthwise_conv1d": _KERNEL,
    "depthwise_conv2d": _KERNEL,
    "separable_conv2d": {2: _SEPARABLE, 3: (*_SEPARABLE, "bias")},
    "batch_normalization": _NORM,
    "sync_batch_normalization": _NORM,
    "layer_normalization": {2: ("gamma", "beta")},
    "normalization": {3: ("mean", "variance", "count")},
    "embedding": {1: ("embeddings",)},
}
#: Where a model keeps its layers, and where a layer keeps its variables.
LAYERS, VARIABLES = "layers", "vars"
_OLDER_LAYERS = "_layer_checkpoint_dependencies"
_MODELS = frozenset({LAYERS, _OLDER_LAYERS})
_COUNTER = re.compile(r"_[0-9]+\Z")


def find_full_names(paths: Collection[str], layer_names: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """Map the path of each variable to the name that it has in the program, such as `stem_conv/kernel`.

    `layer_names` has the name of each layer and nested model by the path of its group.
    Variables of layers without a name, or of an unknown class, are left out.
    Raises `LimitExceededError` if the names are too long in total: each contains those of the models around its layer.
    """
    counts: dict[str, int] = {}
    for path in paths:
        owner, _, _ = path.rpartition("/")
        counts[owner] = counts.get(owner, 0) + 1
    prefixes = {owner: _name_owner(owner, count, layer_names) for owner, count in counts.items()}
    full_names = {}
    total = 0
    for path in paths:
        owner, _, number = path.rpartition("/")
        named = prefixes[owner]
        if named is not None and number.isdecimal() and number.isascii() and int(number) < len(named[1]):
            full_names[path] = f"{named[0]}/{named[1][int(number)]}"
            total += len(full_names[path])
            check_limit(limits, "max_key_bytes", total, "the full names of the variables are too long in total")
    return full_names


def _name_owner(owner: str, count: int, layer_names: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the name of the layer whose variables are in a group, and theirs; None if they are unknown."""
    parts = owner.split("/")
    if len(parts) < 3 or parts[-1] != VARIABLES or len(parts) % 2 == 0 or not _MODELS.issuperset(parts[:-1:2]):
        return None
    names = [layer_names.get("/".join(parts[:end])) for end in range(2, len(parts), 2)]
    variables = _VARIABLES.get(_COUNTER.sub("", parts[-2]), _VARIABLES.get(parts[-2], {})).get(count)
    if variables is None or None in names:
        return None
    return "/".join(name for name in names if name), variables


def names_in_groups(groups: Mapping[str, Mapping[str, tuple[str, ...]]]) -> dict[str, str]:
    """Return the name of each layer that Keras 3 noted, by the path of its group."""
    suffix = f"/{VARIABLES}"
    return {
        path.removesuffix(suffix): attributes["name"][0]
        for path, attributes in groups.items()
        if path.endswith(suffix) and len(attributes.get("name", ())) == 1
    }


def names_in_config(config: Any, groups: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """Return the name of each layer by the path of its group, from the configuration of a model.

    `paths` are those of the variables. The groups are named as Keras names them. A model that has other groups is left
    out, with those inside it.
    """
    inside: dict[str, set[str]] = {}
    for path in groups:
        model, _, layer = path.rpartition("/")
        if model.rpartition("/")[2] in _MODELS:
            inside.setdefault(model, set()).add(layer)
    names: dict[str, str] = {}
    twice = _find_owners(paths) if any(_OLDER_LAYERS in model for model in inside) else set()
    # Only models whose groups are in the file are visited, so that the paths are not longer than those of the file.
    work: list[tuple[str, Any]] = [(container, config) for container in sorted(_MODELS)]
    while work:
        path, model = work.pop()
        groups_here = inside.get(path, set())
        is_older = path.rpartition("/")[2] == _OLDER_LAYERS
        own = {group for group in groups_here if f"{path}/{group}" in twice} if is_older else set()
        counted = {group: (name, inner) for group, name, inner in _count_layers(model, own)}
        if not groups_here <= counted.keys():
            continue
        for group in groups_here:
            names[f"{path}/{group}"], inner = counted[group]
            work.append((f"{path}/{group}/{path.rpartition('/')[2]}", inner))
    return names


def _find_owners(paths: Iterable[str]) -> set[str]:
    """Return every group with a variable in it or below."""
    owners: set[str] = set()
    for path in paths:
        owner = path.rpartition("/")[0]
        while owner and owner not in owners:
            owners.add(owner)
            owner = owner.rpartition("/")[0]
    return owners


def list_layers(model: Any) -> list[Mapping[str, Any]]:
    """Return the configurations of the layers of a model, in its order; none for anything else."""
    config = model.get("config") if isinstance(model, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else None
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def name_of_layer(layer: Mapping[str, Any]) -> str | None:
    """Return the name in the configuration of a layer."""
    config = layer.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else None


def _count_layers(model: Any, twice: Collection[str]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the group, the name and the configuration of each layer of a model; groups in `twice` count twice."""
    counters: dict[str, int] = {}
    is_sequential = isinstance(model, dict) and model.get("class_name") == "Sequential"
    for layer in list_layers(model):
        kind, name = layer.get("class_name"), name_of_layer(layer)
        if not isinstance(kind, str) or name is None or (is_sequential and kind == "InputLayer"):
            continue
        group = _to_snake_case(kind)
        number = counters.get(group, 0)
        path = f"{group}_{number}" if number else group
        counters[group] = number + (2 if path in twice else 1)
        yield path, name, layer


def _to_snake_case(name: str) -> str:
    """Return the name of a class as Keras writes it into paths."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
