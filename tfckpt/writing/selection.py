"""Which tensors of a checkpoint are taken, where their values come from, and what they are called afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..checkpoint import Checkpoint
from ..errors import NameConflictError, join_some, printable
from ..graphs.training_state import AVERAGE_SUFFIX
from ..tensors.casting import FLOATS
from ..tensors.dtypes import data_type_named

#: The types that are converted into each other.


def take_averages(checkpoint: Checkpoint, names: Sequence[str], chosen: set[str]) -> dict[str, str]:
    """Name to where its values come from, with the averages in place of their variables."""
    there = set(names)
    averages = {name for name in there if name.endswith(AVERAGE_SUFFIX) and name != AVERAGE_SUFFIX}
    if not averages:
        raise ValueError(f"{printable(checkpoint.prefix)} has no moving averages (names ending in {AVERAGE_SUFFIX})")
    origins: dict[str, str] = {}
    for name in names:
        variable = name.removesuffix(AVERAGE_SUFFIX) if name in averages else name
        average = variable + AVERAGE_SUFFIX
        if name not in chosen:
            continue
        if average not in averages:
            origins[variable] = variable
            continue
        if variable in there:
            raw, mean = checkpoint.info(variable), checkpoint.info(average)
            if (raw.tf_dtype, raw.shape) != (mean.tf_dtype, mean.shape):
                raise ValueError(
                    f"{printable(variable)!r} is {raw.dtype} {list(raw.shape)}, "
                    f"its moving average {mean.dtype} {list(mean.shape)}"
                )
        origins[variable] = average
    return origins


def rename_all(names: Iterable[str], patterns: Sequence[tuple[re.Pattern[str], str]]) -> dict[str, str]:
    """Name to new name; `NameConflictError` where two become one, `ValueError` for a pattern that finds nothing."""
    targets: dict[str, str] = {}
    unused = {pattern.pattern for pattern, _ in patterns}
    for name in names:
        target = name
        for pattern, replacement in patterns:
            try:
                target, count = pattern.subn(replacement, target)
            except (re.error, IndexError) as error:
                raise ValueError(f"bad replacement {replacement!r} for {pattern.pattern!r}: {error}") from None
            if count:
                unused.discard(pattern.pattern)
        targets[name] = target
    if unused:
        raise ValueError(f"nothing to rename: {', '.join(map(repr, sorted(unused)))} is found in no name")
    origins: dict[str, list[str]] = {}
    for name, target in targets.items():
        origins.setdefault(target, []).append(name)
    conflicts = {target: found for target, found in origins.items() if len(found) > 1}
    if conflicts:
        raise NameConflictError(
            f"more than one tensor would be named {join_some(sorted(conflicts))}",
            conflicts=conflicts,
        )
    return targets


def compile_renames(rename: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Regular expressions with their replacements; `ValueError` for one that is none."""
    compiled = []
    for pattern, replacement in rename:
        try:
            compiled.append((re.compile(pattern), replacement))
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return compiled


def float_type(dtype: str | None) -> str | None:
    """The short name of a type that floats can be converted to; `ValueError` for another one."""
    if dtype is None:
        return None
    name = data_type_named(dtype).name
    if name not in FLOATS:
        raise ValueError(f"floats become {', '.join(FLOATS)}, not {name}")
    return name
