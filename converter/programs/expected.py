"""Recorded values of TensorFlow, from an `.npz` with the inputs and outputs of a module by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfckpt.errors import printable

from .._typing import Array, PathLike
from ..errors import FeedError
from ..verification.activations import INPUT, load_golden
from .families import IMAGE
from .probes import Inputs
from .subject import Subject


def read_expected(path: PathLike, subject: Subject) -> tuple[Inputs, Mapping[int, Array]]:
    """Return the recorded inputs and outputs, by position; at least one output has to be there.

    For a network of ours the file may be one of `tf2torch verify --golden`, with an NHWC array named `input`.
    Raises `FeedError` if an input is missing or does not have the shape that the module takes.
    """
    arrays = load_golden(path)
    if subject.kind == "network" and IMAGE not in arrays and INPUT in arrays and arrays[INPUT].ndim == 4:
        arrays[IMAGE] = np.ascontiguousarray(arrays[INPUT].transpose(0, 3, 1, 2))
    inputs: Inputs = {}
    for argument in subject.arguments:
        if argument.name not in arrays:
            raise FeedError(f"{path} has no input {argument.name}; it has {_list_names(arrays)}")
        array = arrays[argument.name]
        kind = np.dtype(str(argument.dtype).removeprefix("torch."))
        fits = array.ndim == len(argument.shape) and all(
            expected in (None, size) for expected, size in zip(argument.shape, array.shape, strict=True)
        )
        if not fits or not np.can_cast(array.dtype, kind, "same_kind"):
            axes = ", ".join("any" if size is None else str(size) for size in argument.shape)
            raise FeedError(f"{argument.name} in {path} is {array.dtype} {list(array.shape)}, expected {kind} [{axes}]")
        inputs[argument.name] = np.ascontiguousarray(array.astype(kind))
    recorded = {position: arrays[name] for position, name in enumerate(subject.outputs) if name in arrays}
    if not recorded:
        names = ", ".join(map(printable, subject.outputs))
        raise FeedError(f"{path} has none of the outputs {names}; it has {_list_names(arrays)}")
    return inputs, recorded


def _list_names(arrays: Mapping[str, Array]) -> str:
    return ", ".join(map(printable, arrays)) or "no arrays"
