"""The engine: runs a TensorFlow graph in PyTorch, on TensorFlow's own layouts.

It has two uses: as the oracle of verification, and as the way to a PyTorch module for a network without PyTorch code.
As the oracle it is a second opinion, so it shares no code with the models and mappings it judges.

>>> from converter.engine import load_graph
>>> graph = load_graph("examples/efficientnetv2-digits")  # doctest: +SKIP
>>> graph.run("logits", {"images": images}, dtype="float64")  # doctest: +SKIP
"""

from tfckpt.errors import MissingDependencyError

try:
    from .inspection import Cut, GraphInspection, PartInspection, UnsupportedOperation, inspect_graph
    from .limits import ReferenceLimits
    from .loading import load_graph
    from .module import GraphModule, graph_module
    from .ports import Port
    from .reference_graph import Evaluator, Operation, ReferenceGraph
    from .registry import supported_ops
except ModuleNotFoundError as missing:
    if missing.name != "torch":
        raise
    raise MissingDependencyError("torch", extra="torch", purpose="running a graph") from missing

__all__ = [
    "Cut",
    "Evaluator",
    "GraphInspection",
    "GraphModule",
    "Operation",
    "PartInspection",
    "Port",
    "ReferenceGraph",
    "ReferenceLimits",
    "UnsupportedOperation",
    "graph_module",
    "inspect_graph",
    "load_graph",
    "supported_ops",
]
