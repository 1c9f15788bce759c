"""The network in what training programs save: a state dict inside other dicts, with a prefix before each name.

::

    saved by                              path of the state dict        prefix
    torch.save(model.state_dict())        (the whole file)              none
    DataParallel, DistributedDataParallel any                           module.
    torch.compile                         any                           _orig_mod.
    Lightning                             state_dict                    the attribute of the module, such as model.
    timm's train.py                       state_dict, state_dict_ema    none
    torch.optim.swa_utils                 any                           module., beside n_averaged

Nothing is taken by its name alone: a state dict is a dict in which every value is a tensor, and a prefix is what stands
before the name of a known network's first convolution. If that leaves several networks, the caller has to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tfckpt.errors import abridged, pluralize, printable

from ..errors import ConversionError
from ..libraries.recognition import find_prefixes

#: How many dicts deep a state dict is looked for; Lightning's callbacks hold them in the third.
_DEPTH = 3
#: Most keys or names that a message lists.
_SHOWN = 8


class ChosenState(NamedTuple):
    """The tensors of a network by their names without prefix, and sentences on what was chosen and left out."""

    tensors: dict[str, Any]
    notes: tuple[str, ...]


def find_state_dicts(value: object, is_tensor: Callable[[object], bool]) -> dict[str, Mapping[str, Any]]:
    """Return the path of every state dict, keys joined by dots, and the state dict; the path of the whole is empty."""
    found: dict[str, Mapping[str, Any]] = {}

    def visit(value: object, path: tuple[str, ...]) -> None:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            return
        if all(map(is_tensor, value.values())):
            if value or not path:
                found[".".join(path)] = value
        elif len(path) < _DEPTH:
            for key, inner in value.items():
                visit(inner, (*path, key))

    visit(value, ())
    return found


def choose_state(state_dicts: Mapping[str, Mapping[str, Any]], key: str | None = None) -> ChosenState:
    """Return the only network among state dicts, or the one that `key` names: its path and prefix, joined by a dot.

    Without a known network the only state dict is returned. Raises `ConversionError` listing the keys otherwise.
    """
    places = [(path, prefix) for path, tensors in state_dicts.items() for prefix in find_prefixes(tensors)]
    labelled = {_label(*place): place for place in places or [(path, "") for path in state_dicts]}
    matching = dict(labelled)
    if key is not None:
        matching = {label: place for label, place in labelled.items() if label == key} or {
            label: place for label, place in labelled.items() if label.startswith(f"{key}.")
        }
        if not matching:
            raise ConversionError(f"no weights under the key {printable(abridged(key))}; keys: {_list(labelled)}")
    if len(matching) != 1:
        raise ConversionError(
            f"the weights of {pluralize(len(matching), 'network')}: {_list(matching)}; choose with --key (key=)"
        )
    ((path, prefix),) = matching.values()
    tensors = state_dicts[path]
    notes = []
    if path or prefix:
        parts = ([f"the key {printable(path)}"] if path else []) + (
            [f"the prefix {printable(prefix)}"] if prefix else []
        )
        others = [label for label in labelled if label != _label(path, prefix)]
        notes.append(f"weights under {' and '.join(parts)}" + (f", not {_list(others)}" if others else ""))
    outside = [name for name in tensors if not name.startswith(prefix)]
    if outside:
        notes.append(f"left out: {pluralize(len(outside), 'tensor')} outside {printable(prefix)}: {_list(outside)}")
    chosen = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return ChosenState(chosen, tuple(notes))


def _label(path: str, prefix: str) -> str:
    return ".".join(part for part in (path, prefix.removesuffix(".")) if part)


def _list(names: Iterable[str]) -> str:
    shown = [printable(abridged(name)) if name else '"" (no key)' for name in names]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
