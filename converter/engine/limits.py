"""Named maxima that a hostile graph runs into before it can cost memory or time.

They are far above what real inference graphs need.
A caller who trusts a larger graph raises the one that the error names:
`load_graph(path, limits=ReferenceLimits(...))`.
What a file may claim, such as the size of a constant, is limited by `tfckpt.Limits`.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLimits:
    """What a graph may ask for at most."""

    #: Bytes of one tensor whose shape the graph itself asks for: Fill, Range, Tile, BroadcastTo, Pad and others.
    max_tensor_bytes: int = 8 << 30
    #: Operations and calls of one evaluation, functions expanded: two calls in each of them double it every time.
    max_operations: int = 1_000_000
    #: Functions inside functions; a function that calls itself has no end.
    max_call_depth: int = 256
    #: If and While inside If and While, each of which is evaluated inside its outer one.
    max_branch_depth: int = 64
    #: Iterations of one While loop.
    max_loop_iterations: int = 100_000


DEFAULT_LIMITS = ReferenceLimits()
