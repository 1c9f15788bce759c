"""From converted tensors back to TensorFlow's arrays by name: the rules, read from right to left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfckpt.errors import printable

from .._typing import Array
from ..errors import ConversionError
from .layout import LAYOUTS
from .report import ConversionReport
from .rules import RuleSet, origins_of


def reverse(state_dict: Mapping[str, Any], rules: RuleSet | ConversionReport) -> dict[str, Array]:
    """Give TensorFlow's arrays by name, in the order of the state dict; arrays are views where that is possible.

    With the rules of a conversion (`ConversionResult.rules`, or a file's) names are those the rules read; where several
    lines would make a target, the first counts, and a depthwise kernel is taken to have the channel multiplier 1.
    With the report of a conversion they are the checkpoint's own, and shapes the exact ones.
    Values are arrays or PyTorch tensors in memory; what constants fill has no source and is left out.
    Raises `ConversionError` that lists all tensors the rules do not make, or that have not their layout's axes.
    """
    if isinstance(rules, ConversionReport):
        return _by_report(state_dict, rules)
    origins = origins_of(state_dict, rules)
    arrays: dict[str, Array] = {}
    problems = []
    for target, found in origins.items():
        if found is None:
            continue
        if not found:
            problems.append(f"{printable(target)}: no rule makes it")
            continue
        name, layout = found[0]
        array = np.asarray(state_dict[target])
        try:
            source = LAYOUTS[layout].invert(array, LAYOUTS[layout].source_shape(array.shape))
        except ValueError as error:
            problems.append(f"{printable(target)}: {error}")
            continue
        if name in arrays:
            problems.append(f"{printable(target)}: another target comes from {printable(name)} as well")
        arrays[name] = source
    _require(problems)
    return arrays


def _by_report(state_dict: Mapping[str, Any], report: ConversionReport) -> dict[str, Array]:
    records = {record.target: record for record in report.tensors}
    constants = {record.target for record in report.constants}
    arrays: dict[str, Array] = {}
    problems = []
    for target, value in state_dict.items():
        record = records.get(target)
        if record is None:
            if target not in constants:
                problems.append(f"{printable(target)}: the conversion did not make it")
            continue
        try:
            arrays[record.source] = LAYOUTS[record.layout].invert(np.asarray(value), record.source_shape)
        except ValueError as error:
            problems.append(f"{printable(target)}: {error}")
    _require(problems)
    return arrays


def _require(problems: list[str]) -> None:
    if problems:
        raise ConversionError("\n  ".join(["these tensors cannot be taken back by the rules:", *problems]))
