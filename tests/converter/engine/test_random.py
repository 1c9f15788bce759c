"""Random numbers of graphs are repeatable, and belong to the caller's generator only in modules."""

from __future__ import annotations

import numpy as np
import torch

from converter.engine import graph_module

from .graphs import graph, integers, node

PARTS = (integers("shape", 5), node("u", "RandomUniform", "shape"), node("y", "Neg", "u"))


def test_every_run_of_a_graph_has_the_same_numbers() -> None:
    """The caller's generator is neither used nor changed."""
    loaded = graph(*PARTS)
    torch.manual_seed(7)
    state = torch.get_rng_state()

    first, second = loaded.run("y"), loaded.run("y")

    np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_of_a_module_depend_on_the_seed_of_pytorch() -> None:
    """As those of any other module, exported ones included."""
    module = graph_module(graph(*PARTS), outputs="y")
    program = torch.export.export(module, ()).module()
    results = []

    for run in (module, module, program):
        torch.manual_seed(3)
        results.append(run())

    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(module(), module())
