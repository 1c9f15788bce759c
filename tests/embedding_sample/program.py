"""Weights, findings and tensors for callers that know nothing of checkpoints."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

import converter
import tfckpt

CAREFUL = tfckpt.Limits(max_entries=10_000, max_shards=100)


def weights(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[np.float32]]:
    """The float32 tensors."""
    with tfckpt.open(path) as checkpoint:
        return {info.name: checkpoint[info.name] for info in checkpoint.infos() if info.dtype == np.float32}


def findings(files: Mapping[str, bytes]) -> list[str]:
    """What is wrong with files in memory."""
    try:
        with tfckpt.open(files, mmap=False, limits=CAREFUL) as checkpoint:
            return [str(error) for error in tfckpt.verify(checkpoint).errors]
    except tfckpt.LimitExceededError as error:
        return [f"{error.limit} {error.claimed} > {error.maximum}"]
    except tfckpt.CheckpointError as error:
        return [error.message]


def shapes(checkpoint: tfckpt.Checkpoint) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names with shapes."""
    return ((info.name, info.shape) for info in checkpoint.infos())


def copied(path: str, out: pathlib.Path) -> tfckpt.ExportReport:
    """The averaged weights alone, in another format."""
    with tfckpt.open(path) as checkpoint:
        return tfckpt.export(checkpoint, out, weights="ema", no_optimizer=True)


def state_dict_names(path: str) -> list[str]:
    """Names in PyTorch."""
    with tfckpt.open(path) as checkpoint:
        result: converter.ConversionResult = converter.convert(checkpoint)
    return sorted(result.state_dict)
