"""How the operations of a graph hang together: who reads whom, and what comes from variables or from the image.

Nothing here looks at names: a variable is known by its checkpoint key, everything else by what it reads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from ..engine.reference_graph import Operation, ReferenceGraph
from ..engine.variables import HANDLES, Weights

#: Operations that hand a variable's value, or a feature map, on as it is.
PASSING = frozenset({"Identity", "ReadVariableOp", "Cast", "Snapshot", "StopGradient", "Reshape", "Squeeze", "Enter"})
KERNELS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"})
NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_ARITHMETIC = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv"})
_ADDITIONS = frozenset({"Add", "AddV2", "AddN"})
_UNARY_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Tanh", "Softplus", "HardSwish"})
#: The longest chain that is followed between two operations that belong together.
_MAX_LINKS = 12


class Wiring:
    """The operations on the way to some fetches, as a net that can be walked both ways."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = tuple(operations)
        self._by_name = {operation.name: operation for operation in self.operations}
        self._readers: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for tensor in dict.fromkeys(operation.inputs):
                self._readers.setdefault(tensor, []).append(operation)

    def maker(self, tensor: str) -> Operation | None:
        """The operation that makes a tensor; None for what is given from outside."""
        return self._by_name.get(tensor.partition(":")[0])

    def readers(self, tensor: str) -> list[Operation]:
        """The operations that take a tensor."""
        return self._readers.get(tensor, [])

    def variable(self, tensor: str) -> str | None:
        """The checkpoint key of the variable whose value a tensor is; None if it is computed."""
        for _ in range(_MAX_LINKS):
            operation = self.maker(tensor)
            if operation is None:
                return None
            if operation.variable is not None:
                return operation.variable
            if operation.op not in PASSING or not operation.inputs:
                return None
            tensor = operation.inputs[0]
        return None

    def kernels(self, key: str) -> list[Operation]:
        """The convolutions and products whose kernel is a variable, forwards only: gradients have it elsewhere."""
        return [
            operation
            for operation in self.operations
            if operation.op in KERNELS and len(operation.inputs) > 1 and self.variable(operation.inputs[1]) == key
        ]

    @functools.cached_property
    def _roots(self) -> dict[str, tuple[bool, bool]]:
        """For each operation whether it depends on a variable, and whether on anything else but constants."""
        found: dict[str, tuple[bool, bool]] = {}
        for operation in self.operations:  # in order: inputs come first
            if operation.variable is not None:
                found[operation.name] = (True, False)
            elif not operation.inputs:
                found[operation.name] = (False, operation.op != "Const")
            else:
                parts = [found.get(name.partition(":")[0], (False, True)) for name in operation.inputs]
                found[operation.name] = (any(part[0] for part in parts), any(part[1] for part in parts))
        return found

    def is_data(self, tensor: str) -> bool:
        """Whether a tensor depends on what is fed."""
        return self._roots.get(tensor.partition(":")[0], (False, True))[1]

    def _is_weight(self, tensor: str) -> bool:
        depends_on_variable, depends_on_data = self._roots.get(tensor.partition(":")[0], (False, True))
        return depends_on_variable and not depends_on_data

    def affine(self, tensor: str) -> tuple[str, Operation | None]:
        """Follow bias and batch norm, fused or spelt out, to the result; with the batch norm if it is fused."""
        norm = None
        for _ in range(_MAX_LINKS):
            following = [step for step in self.readers(tensor) if step.op in NORMS and step.inputs[0] == tensor]
            if following:
                norm = following[0]
            else:
                readers = [step for step in self.readers(tensor) if self.is_data(step.name)]
                following = readers if len(readers) == 1 and self._shifts(readers[0], tensor) else []
            if not following:
                return tensor, norm
            tensor = following[0].name
        return tensor, norm

    def _shifts(self, step: Operation, tensor: str) -> bool:
        if step.op == "BiasAdd" or step.op in ("Identity", "Cast"):
            return step.inputs[0] == tensor
        others = [name for name in step.inputs if name != tensor]
        return step.op in _ARITHMETIC and len(others) == 1 and self._is_weight(others[0])

    def activation(self, tensor: str) -> str:
        """Follow an activation to its result: a gate on the tensor itself, as in Swish, or one operation."""
        for step in self.readers(tensor):
            if step.op in _UNARY_ACTIVATIONS:
                return step.name
            if step.op == "Mul" and len(step.inputs) == 2:
                other = step.inputs[1] if step.inputs[0] == tensor else step.inputs[0]
                if other != tensor and self._is_gate_of(other, tensor):
                    return step.name
        return tensor

    def gated(self, tensor: str) -> str | None:
        """Follow a gate that is computed from a tensor to what it scales."""
        for gate in self.readers(tensor):
            if gate.op == "Sigmoid":
                products = [step for step in self.readers(gate.name) if step.op == "Mul"]
                if products:
                    return products[0].name
        return None

    def _is_gate_of(self, gate: str, tensor: str) -> bool:
        has_sigmoid = False
        for _ in range(4):
            if gate == tensor:
                return has_sigmoid
            operation = self.maker(gate)
            if operation is None or operation.op not in ("Sigmoid", "Mul", "Identity", "Cast"):
                return False
            has_sigmoid |= operation.op == "Sigmoid"
            data = [name for name in operation.inputs if self.is_data(name)]
            if len(data) != 1:
                return False
            gate = data[0]
        return False

    def sum_with(self, tensor: str) -> str | None:
        """Follow a residual connection: the sum of a tensor and another that depends on the image too."""
        for step in self._ahead(tensor):
            if step.op in _ADDITIONS and sum(self.is_data(name) for name in step.inputs) == 2:
                return step.name
        return None

    def _ahead(self, tensor: str) -> Iterator[Operation]:
        """The readers of a tensor, also of those that only hand it on."""
        open_names = [tensor]
        for _ in range(_MAX_LINKS):
            if not open_names:
                return
            for step in self.readers(open_names.pop()):
                yield step
                if step.op in ("Identity", "Cast"):
                    open_names.append(step.name)

    def unpadded(self, tensor: str) -> str:
        """Go back over paddings and what hands a tensor on, to what a convolution was given."""
        for _ in range(_MAX_LINKS):
            operation = self.maker(tensor)
            if operation is None or operation.op not in ("Pad", "PadV2", "Identity") or not operation.inputs:
                return tensor
            tensor = operation.inputs[0]
        return tensor

    def history(self, tensor: str) -> Iterator[str]:
        """Go back along what an image is computed from, as long as it is computed from one tensor."""
        for _ in range(10 * _MAX_LINKS):
            yield tensor
            operation = self.maker(tensor)
            data = [] if operation is None else [name for name in operation.inputs if self.is_data(name)]
            if len(data) != 1:
                return
            tensor = data[0]

    def unshaped(self, tensor: str) -> str:
        """Go back over what only hands a tensor on."""
        for _ in range(_MAX_LINKS):
            operation = self.maker(tensor)
            if operation is None or operation.op not in PASSING or not operation.inputs:
                return tensor
            tensor = operation.inputs[0]
        return tensor


def main_wiring(graph: ReferenceGraph, weights: Weights) -> Wiring:
    """The nodes of the main graph itself, whatever they are for and whether or not they can be run."""
    operations = []
    for node in graph.graph:
        inputs = tuple(name.removesuffix(":0") for name in node.inputs if not name.startswith("^"))
        key = graph.source(node.name, node, weights).name if node.op in HANDLES else None
        operations.append(Operation(node.name, node.op, inputs, key))
    return Wiring(operations)
