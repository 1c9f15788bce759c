"""Named maxima that stop a hostile graph before it costs much memory or time.

They are far above what real inference graphs need.
A caller who trusts a larger graph can raise the limit that the error names:
`load_graph(path, limits=ReferenceLimits(...))`.
Claims of the file, such as the size of a constant, are limited by `tfckpt.Limits`.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLimits:
    """The maxima for running one graph."""

    #: Bytes of one tensor whose shape is a value in the graph: Fill, Range, Tile, BroadcastTo, Pad and others.
    max_tensor_bytes: int = 8 << 30
    #: Operations and calls of one evaluation after expanding functions: a chain of functions that each call the next
    #: one twice doubles the number with every link.
    max_operations: int = 1_000_000
    #: Nested function calls; a function that calls itself would nest forever.
    max_call_depth: int = 256
    #: Nested If, Case and While operations; each is evaluated inside the outer one, on Python's stack.
    max_branch_depth: int = 64
    #: Iterations of a single While loop.
    max_loop_iterations: int = 100_000


DEFAULT_LIMITS = ReferenceLimits()
