"""Graphs with bytes changed at random, which must run or raise one of our errors."""

from __future__ import annotations

import contextlib
import json
import random
import warnings

import numpy as np
import pytest

from converter.engine import ReferenceGraph, ReferenceLimits
from converter.errors import ConversionError
from tfckpt import protos
from tfckpt.errors import CheckpointError
from tfckpt.graphs.graph import decode_graph
from tfckpt.limits import Limits

from .recorded import FAMILIES, FOLDER, array_of

SMALL = ReferenceLimits(max_tensor_bytes=1 << 24, max_operations=5000, max_loop_iterations=200)


def damage(content: bytes, generator: random.Random) -> bytes:
    """Replace bytes, flip bits or delete bytes, at one to three positions."""
    damaged = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        position = generator.randrange(len(damaged))
        kind = generator.random()
        if kind < 0.6:
            damaged[position] = generator.randrange(256)
        elif kind < 0.8:
            damaged[position] ^= 1 << generator.randrange(8)
        else:
            del damaged[position]
    return bytes(damaged)


@pytest.mark.parametrize("family", FAMILIES)
def test_damaged_graph_runs_or_raises_one_of_our_errors(family: str) -> None:
    """Whatever a graph contains, parsing, planning and running it raises no other exception."""
    with np.load(FOLDER / f"{family}.npz") as archive:
        records, data = json.loads(archive["index"].tobytes()), archive["data"].tobytes()
    generator = random.Random(family)

    for _ in range(60):
        record = generator.choice(records)
        start, length = record["graph"]
        content = damage(data[start : start + length], generator)
        feeds = {name: array_of(value, data) for name, value in record["feeds"].items()}

        with contextlib.suppress(ConversionError, CheckpointError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy and PyTorch warn about unusual numbers
            graph = decode_graph(protos.parse("GraphDef", content), Limits(max_constant_bytes=1 << 24))
            outputs = ReferenceGraph(graph, path="damaged", limits=SMALL).run(record["fetches"], feeds)
            assert len(outputs) == len(record["fetches"])
