"""Selection and renaming of tensors, and moving averages in place of variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..checkpoint import Checkpoint
from ..errors import NameConflictError, join_some, printable
from ..graphs.training_state import AVERAGE_SUFFIX, moving_averages
from ..tensors.casting import FLOATS
from ..tensors.dtypes import data_type_named


def use_averages(checkpoint: Checkpoint, names: Sequence[str], chosen: set[str]) -> dict[str, str]:
    """Map each variable to the tensor that its values come from: its moving average, if it has one.

    Raises `ValueError` if there are no averages, or one differs from its variable in type or shape.
    """
    present = set(names)
    variables = moving_averages(present, checkpoint.object_graph)
    if not variables:
        raise ValueError(
            f"{printable(checkpoint.prefix)} has no moving averages "
            f"(no names ending in {AVERAGE_SUFFIX}, and none in an optimizer)"
        )
    averages = {variable: average for average, variable in variables.items()}
    origins: dict[str, str] = {}
    for name in names:
        variable = variables.get(name, name)
        average = averages.get(variable)
        if name not in chosen:
            continue
        if average is None:
            origins[variable] = variable
            continue
        if variable in present:
            raw, mean = checkpoint.info(variable), checkpoint.info(average)
            if (raw.tf_dtype, raw.shape) != (mean.tf_dtype, mean.shape):
                raise ValueError(
                    f"{printable(variable)!r} is {raw.dtype} {list(raw.shape)}, "
                    f"but its moving average is {mean.dtype} {list(mean.shape)}"
                )
        origins[variable] = average
    return origins


def rename_all(names: Iterable[str], patterns: Sequence[tuple[re.Pattern[str], str]]) -> dict[str, str]:
    """Map each name to its new name.

    Raises `NameConflictError` if two names become the same, and `ValueError` for a pattern that matches no name.
    """
    targets: dict[str, str] = {}
    unused = {pattern.pattern for pattern, _ in patterns}
    for name in names:
        target = name
        for pattern, replacement in patterns:
            try:
                target, count = pattern.subn(replacement, target)
            except (re.error, IndexError) as error:
                raise ValueError(f"invalid replacement {replacement!r} for {pattern.pattern!r}: {error}") from None
            if count:
                unused.discard(pattern.pattern)
        targets[name] = target
    if unused:
        raise ValueError(f"nothing to rename, no name matches {', '.join(map(repr, sorted(unused)))}")
    origins: dict[str, list[str]] = {}
    for name, target in targets.items():
        origins.setdefault(target, []).append(name)
    conflicts = {target: sources for target, sources in origins.items() if len(sources) > 1}
    if conflicts:
        raise NameConflictError(
            f"more than one tensor would be named {join_some(sorted(conflicts))}",
            conflicts=conflicts,
        )
    return targets


def compile_renames(rename: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Compile the patterns; `ValueError` for an invalid regular expression."""
    compiled = []
    for pattern, replacement in rename:
        try:
            compiled.append((re.compile(pattern), replacement))
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a valid regular expression: {error}") from None
    return compiled


def check_float_type(dtype: str | None) -> str | None:
    """Return the short name of a floating-point type; `ValueError` if floats cannot be converted to it."""
    if dtype is None:
        return None
    name = data_type_named(dtype).name
    if name not in FLOATS:
        raise ValueError(f"floats can be converted to {', '.join(FLOATS)}, not to {name}")
    return name
