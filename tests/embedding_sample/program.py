"""Functions for callers that do not know checkpoints: weights, damage and names."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

import converter
import tfckpt
from tfckpt.train import errors

CAREFUL = tfckpt.Limits(max_entries=10_000, max_shards=100)


def read_weights(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the float32 tensors."""
    with tfckpt.open(path) as checkpoint:
        return {info.name: checkpoint[info.name] for info in checkpoint.infos() if info.dtype == np.float32}


def find_damage(files: Mapping[str, bytes]) -> list[str]:
    """Return the errors of files in memory."""
    try:
        with tfckpt.open(files, mmap=False, limits=CAREFUL) as checkpoint:
            return [str(error) for error in tfckpt.verify(checkpoint).errors]
    except tfckpt.LimitExceededError as error:
        return [f"{error.limit} {error.claimed} > {error.maximum}"]
    except tfckpt.CheckpointError as error:
        return [error.message]


def list_shapes(checkpoint: tfckpt.Checkpoint) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return names with shapes."""
    return ((info.name, info.shape) for info in checkpoint.infos())


def export_averages(path: str, out: pathlib.Path) -> tfckpt.ExportReport:
    """Write the averaged weights in another format."""
    with tfckpt.open(path) as checkpoint:
        return tfckpt.export(checkpoint, out, weights="ema", no_optimizer=True)


def list_state_dict_names(path: str) -> list[str]:
    """Return the names in PyTorch."""
    with tfckpt.open(path) as checkpoint:
        result: converter.ConversionResult = converter.convert(checkpoint)
    return sorted(result.state_dict)


def describe(error: errors.NotFoundError | errors.DataLossError) -> str:
    """Return the class and the code of an error in TensorFlow's form."""
    return f"{type(error).__name__} {error.error_code}"
