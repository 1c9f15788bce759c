"""Checkpoints for the benchmarks, written once by our own writer into a git-ignored folder."""

from __future__ import annotations

import pathlib

import numpy as np

import tfckpt
from converter.model.architectures import CONFIGS
from tests.converter.networks import AVERAGE, variables

FOLDER = pathlib.Path(__file__).parent / ".data"


def entries(count: int) -> pathlib.Path:
    """Return the prefix of a checkpoint of `count` small tensors with names of typical length."""
    prefix = FOLDER / f"entries-{count}" / "model.ckpt-1"
    if not _exists(prefix):
        with tfckpt.Writer(prefix) as writer:
            for number in range(count):
                writer.add(f"network/layer_{number // 8:05d}/weights/part_{number:06d}/kernel", np.float32([number, 1]))
    return prefix


def large(megabytes: int, tensors: int) -> pathlib.Path:
    """Return the prefix of a checkpoint of equally large, random float32 tensors."""
    prefix = FOLDER / f"large-{megabytes}" / "model.ckpt-1"
    if not _exists(prefix):
        random = np.random.default_rng(0)
        elements = megabytes * (1 << 20) // tensors // 4
        with tfckpt.Writer(prefix) as writer:
            for number in range(tensors):
                writer.add(f"network/layer_{number:04d}/kernel", random.standard_normal(elements, np.float32))
    return prefix


#: The conversion rules for `kernels`.
KERNEL_RULES = """\
name = "kernels"

[[rule]]
source = "network/layer_{number}/kernel"
target = "layers.{number}.weight"
layout = "conv2d"
"""


def kernels(megabytes: int) -> pathlib.Path:
    """Return the prefix of a checkpoint of so many MB of kernels, 3 x 3 x 128 -> 256 each."""
    prefix = FOLDER / f"kernels-{megabytes}" / "model.ckpt-1"
    if not _exists(prefix):
        random = np.random.default_rng(0)
        value = random.standard_normal((3, 3, 128, 256), np.float32)
        with tfckpt.Writer(prefix) as writer:
            for number in range(max(megabytes * 1_000_000 // value.nbytes, 1)):
                writer.add(f"network/layer_{number}/kernel", value)
    return prefix


def network(name: str) -> pathlib.Path:
    """Return the prefix of a random training checkpoint of this network: raw values and averages."""
    prefix = FOLDER / name / "model.ckpt-1"
    if not _exists(prefix):
        random = np.random.default_rng(0)
        with tfckpt.Writer(prefix) as writer:
            writer.add("global_step", np.array(1, np.int64))
            for variable in variables(CONFIGS[name]):
                scale = 1.0 if len(variable.shape) < 2 else np.sqrt(2.0 / np.prod(variable.shape[:-1]))
                value = random.standard_normal(variable.shape, np.float32) * np.float32(scale)
                if variable.name.endswith(("moving_variance", "gamma")):  # must be positive
                    value = np.float32(0.5) + np.abs(value)
                for suffix in ("", AVERAGE):
                    writer.add(f"{name}/{variable.name}{suffix}", value)
    return prefix


def bert_base() -> pathlib.Path:
    """Return the prefix of a random checkpoint with the variables of BERT-base, without a graph."""
    prefix = FOLDER / "uncased_bert_base" / "model.ckpt-1"
    if not _exists(prefix):
        random = np.random.default_rng(0)
        width, inner = 768, 3072
        tables = {"word": 30_522, "position": 512, "token_type": 2}
        shapes = {f"embeddings/{name}_embeddings": (rows, width) for name, rows in tables.items()}
        dense = {"pooler/dense": (width, width)}
        norms = ["embeddings"]
        for number in range(12):
            layer = f"encoder/layer_{number}"
            dense |= {f"{layer}/attention/self/{part}": (width, width) for part in ("query", "key", "value")}
            dense |= {f"{layer}/attention/output/dense": (width, width), f"{layer}/output/dense": (inner, width)}
            dense[f"{layer}/intermediate/dense"] = (width, inner)
            norms += [f"{layer}/attention/output", f"{layer}/output"]
        for name, shape in dense.items():
            shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
        for name in norms:
            shapes |= {f"{name}/LayerNorm/{part}": (width,) for part in ("gamma", "beta")}
        with tfckpt.Writer(prefix) as writer:
            for name, shape in shapes.items():
                writer.add(f"bert/{name}", random.standard_normal(shape, np.float32))
    return prefix


def _exists(prefix: pathlib.Path) -> bool:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    return prefix.with_name(prefix.name + ".index").is_file()
