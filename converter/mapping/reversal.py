"""Conversion of state dicts back to TensorFlow's names and layouts: the rules, applied backwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfckpt.errors import printable

from .._typing import Array
from ..errors import ConversionError
from .layout import LAYOUTS
from .report import ConversionReport
from .rules import RuleSet, find_origins


def reverse(state_dict: Mapping[str, Any], rules: RuleSet | ConversionReport) -> dict[str, Array]:
    """Return TensorFlow's arrays by name, in the order of the state dict.

    Arrays are in C order, and views of the state dict's memory where that allows it.

    With the rules of a conversion (`ConversionResult.rules`, or from a file) the names are those that rules match; if
    several rules produce a target, the first is used, and the channel multiplier of a depthwise kernel is assumed to
    be 1. With a conversion report, names and shapes are exactly the checkpoint's.
    Values are arrays or PyTorch tensors in memory. Constants have no source and are left out.
    Raises `ConversionError` listing all tensors that no rule produces or whose rank does not match their layout.
    """
    arrays = reverse_to_views(state_dict, rules)
    return {name: array if array.flags.c_contiguous else array.copy(order="C") for name, array in arrays.items()}


def reverse_to_views(state_dict: Mapping[str, Any], rules: RuleSet | ConversionReport) -> dict[str, Array]:
    """Reverse like `reverse`, but leave the arrays with the strides that the layouts gave them: nothing is copied."""
    if isinstance(rules, ConversionReport):
        return _reverse_by_report(state_dict, rules)
    origins = find_origins(state_dict, rules)
    arrays: dict[str, Array] = {}
    problems = []
    for target, candidates in origins.items():
        if candidates is None:
            continue
        if not candidates:
            problems.append(f"{printable(target)}: no rule has this target")
            continue
        name, layout = candidates[0]
        array = np.asarray(state_dict[target])
        try:
            source = LAYOUTS[layout].invert(array, LAYOUTS[layout].source_shape(array.shape))
        except ValueError as error:
            problems.append(f"{printable(target)}: {error}")
            continue
        if name in arrays:
            problems.append(f"{printable(target)}: another target has the source {printable(name)} too")
        arrays[name] = source
    _raise_problems(problems)
    return arrays


def _reverse_by_report(state_dict: Mapping[str, Any], report: ConversionReport) -> dict[str, Array]:
    records = {record.target: record for record in report.tensors}
    constants = {record.target for record in report.constants}
    arrays: dict[str, Array] = {}
    problems = []
    for target, value in state_dict.items():
        record = records.get(target)
        if record is None:
            if target not in constants:
                problems.append(f"{printable(target)}: not a target of the conversion")
            continue
        try:
            arrays[record.source] = LAYOUTS[record.layout].invert(np.asarray(value), record.source_shape)
        except ValueError as error:
            problems.append(f"{printable(target)}: {error}")
    _raise_problems(problems)
    return arrays


def _raise_problems(problems: list[str]) -> None:
    if problems:
        raise ConversionError("\n  ".join(["the rules cannot convert these tensors back:", *problems]))
