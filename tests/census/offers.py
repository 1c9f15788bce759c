"""Which names of TensorFlow the stand-in offers."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import tfckpt


def missing_names(names: Iterable[str]) -> list[str]:
    """Return the names that are not offered, sorted; what follows an object that is not a module is its own matter."""
    with tfckpt.stand_in() as tensorflow:
        return sorted(name for name in names if not _is_offered(name, tensorflow))


def _is_offered(name: str, tensorflow: ModuleType) -> bool:
    first, *rest = name.split(".")
    if first != tensorflow.__name__:
        return False
    value: object = tensorflow
    for part in rest:
        if not isinstance(value, ModuleType | type):
            return True
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
