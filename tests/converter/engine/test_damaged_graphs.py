"""Graphs with bytes changed at random: a value or one of our errors, and nothing else."""

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


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes replaced, bits turned, bytes left out: one to three of them."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(changed))
        kind = chance.random()
        if kind < 0.6:
            changed[place] = chance.randrange(256)
        elif kind < 0.8:
            changed[place] ^= 1 << chance.randrange(8)
        else:
            del changed[place]
    return bytes(changed)


@pytest.mark.parametrize("family", FAMILIES)
def test_damaged_graph_gives_a_value_or_an_error_of_ours(family: str) -> None:
    """Whatever stands in a graph, no other exception comes out of parsing, planning and running it."""
    with np.load(FOLDER / f"{family}.npz") as archive:
        records, data = json.loads(archive["index"].tobytes()), archive["data"].tobytes()
    chance = random.Random(family)

    for _ in range(60):
        record = chance.choice(records)
        start, length = record["graph"]
        content = damaged(data[start : start + length], chance)
        feeds = {name: array_of(value, data) for name, value in record["feeds"].items()}

        with contextlib.suppress(ConversionError, CheckpointError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy and PyTorch warn of strange numbers
            graph = decode_graph(protos.parse("GraphDef", content), Limits(max_constant_bytes=1 << 24))
            found = ReferenceGraph(graph, path="damaged", limits=SMALL).run(record["fetches"], feeds)
            assert len(found) == len(record["fetches"])
