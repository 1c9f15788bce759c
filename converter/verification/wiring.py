"""The connections between operations of a graph: which read which, and which depend on variables or on the image.

Names do not matter: a variable is identified by its checkpoint key, an operation by its inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tfckpt._threads import cached_property

from ..engine.reference_graph import Operation, ReferenceGraph
from ..engine.variables import HANDLES, Weights

#: Operations that pass a variable's value or a feature map through.
PASSING = frozenset({"Identity", "ReadVariableOp", "Cast", "Snapshot", "StopGradient", "Reshape", "Squeeze", "Enter"})
KERNELS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"})
NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_ARITHMETIC = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv"})
_ADDITIONS = frozenset({"Add", "AddV2", "AddN"})
_UNARY_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Tanh", "Softplus", "HardSwish"})
#: The longest chain to follow between two operations of a layer.
_MAX_LINKS = 12


class Wiring:
    """The operations that compute some fetches, as a graph that can be followed in both directions."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = tuple(operations)
        self._by_name = {operation.name: operation for operation in self.operations}
        self._readers: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for tensor in dict.fromkeys(operation.inputs):
                self._readers.setdefault(tensor, []).append(operation)

    def find_producer(self, tensor: str) -> Operation | None:
        """Return the operation that computes a tensor, or None for an input."""
        return self._by_name.get(tensor.partition(":")[0])

    def find_readers(self, tensor: str) -> list[Operation]:
        """Return the operations that read a tensor."""
        return self._readers.get(tensor, [])

    def find_variable(self, tensor: str) -> str | None:
        """Return the checkpoint key of the variable whose value a tensor is, or None if it is computed."""
        for _ in range(_MAX_LINKS):
            operation = self.find_producer(tensor)
            if operation is None:
                return None
            if operation.variable is not None:
                return operation.variable
            if operation.op not in PASSING or not operation.inputs:
                return None
            tensor = operation.inputs[0]
        return None

    def find_kernels(self, key: str) -> list[Operation]:
        """Return the convolutions and products whose second input is a variable; gradients read it elsewhere."""
        return [
            operation
            for operation in self.operations
            if operation.op in KERNELS and len(operation.inputs) > 1 and self.find_variable(operation.inputs[1]) == key
        ]

    @cached_property
    def _roots(self) -> dict[str, tuple[bool, bool]]:
        """For each operation, whether it depends on a variable, and whether on an input."""
        roots: dict[str, tuple[bool, bool]] = {}
        for operation in self.operations:  # inputs come before their readers
            if operation.variable is not None:
                roots[operation.name] = (True, False)
            elif not operation.inputs:
                roots[operation.name] = (False, operation.op != "Const")
            else:
                parts = [roots.get(name.partition(":")[0], (False, True)) for name in operation.inputs]
                roots[operation.name] = (any(part[0] for part in parts), any(part[1] for part in parts))
        return roots

    def is_data(self, tensor: str) -> bool:
        """Return whether a tensor depends on an input."""
        return self._roots.get(tensor.partition(":")[0], (False, True))[1]

    def _is_weight(self, tensor: str) -> bool:
        depends_on_variable, depends_on_data = self._roots.get(tensor.partition(":")[0], (False, True))
        return depends_on_variable and not depends_on_data

    def follow_affine(self, tensor: str) -> tuple[str, Operation | None]:
        """Return the result of bias and batch norm after a tensor, and the batch norm if it is a fused operation."""
        norm = None
        for _ in range(_MAX_LINKS):
            following = [step for step in self.find_readers(tensor) if step.op in NORMS and step.inputs[0] == tensor]
            if following:
                norm = following[0]
            else:
                readers = [step for step in self.find_readers(tensor) if self.is_data(step.name)]
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

    def follow_activation(self, tensor: str) -> str:
        """Return the result of the activation of a tensor, an operation or a gate as in Swish, or else the tensor."""
        for step in self.find_readers(tensor):
            if step.op in _UNARY_ACTIVATIONS:
                return step.name
            if step.op == "Mul" and len(step.inputs) == 2:
                other = step.inputs[1] if step.inputs[0] == tensor else step.inputs[0]
                if other != tensor and self._is_gate_of(other, tensor):
                    return step.name
        return tensor

    def follow_gate(self, tensor: str) -> str | None:
        """Return the tensor that is scaled by a gate computed from a tensor, or None."""
        for gate in self.find_readers(tensor):
            if gate.op == "Sigmoid":
                products = [step for step in self.find_readers(gate.name) if step.op == "Mul"]
                if products:
                    return products[0].name
        return None

    def _is_gate_of(self, gate: str, tensor: str) -> bool:
        has_sigmoid = False
        for _ in range(4):
            if gate == tensor:
                return has_sigmoid
            operation = self.find_producer(gate)
            if operation is None or operation.op not in ("Sigmoid", "Mul", "Identity", "Cast"):
                return False
            has_sigmoid |= operation.op == "Sigmoid"
            data = [name for name in operation.inputs if self.is_data(name)]
            if len(data) != 1:
                return False
            gate = data[0]
        return False

    def follow_residual(self, tensor: str) -> str | None:
        """Return the sum of a tensor and another one that depends on the image, or None."""
        for step in self._iterate_readers(tensor):
            if step.op in _ADDITIONS and sum(self.is_data(name) for name in step.inputs) == 2:
                return step.name
        return None

    def _iterate_readers(self, tensor: str) -> Iterator[Operation]:
        """Yield the readers of a tensor, and those of operations that only pass it through."""
        open_names = [tensor]
        for _ in range(_MAX_LINKS):
            if not open_names:
                return
            for step in self.find_readers(open_names.pop()):
                yield step
                if step.op in ("Identity", "Cast"):
                    open_names.append(step.name)

    def skip_paddings(self, tensor: str) -> str:
        """Return the tensor before paddings and identities."""
        for _ in range(_MAX_LINKS):
            operation = self.find_producer(tensor)
            if operation is None or operation.op not in ("Pad", "PadV2", "Identity") or not operation.inputs:
                return tensor
            tensor = operation.inputs[0]
        return tensor

    def iterate_ancestors(self, tensor: str) -> Iterator[str]:
        """Yield a tensor and its ancestors, as long as each is computed from a single tensor."""
        for _ in range(10 * _MAX_LINKS):
            yield tensor
            operation = self.find_producer(tensor)
            data = [] if operation is None else [name for name in operation.inputs if self.is_data(name)]
            if len(data) != 1:
                return
            tensor = data[0]

    def skip_passing(self, tensor: str) -> str:
        """Return the tensor before operations that only pass it through."""
        for _ in range(_MAX_LINKS):
            operation = self.find_producer(tensor)
            if operation is None or operation.op not in PASSING or not operation.inputs:
                return tensor
            tensor = operation.inputs[0]
        return tensor


def build_main_wiring(graph: ReferenceGraph, weights: Weights) -> Wiring:
    """Return the wiring of all nodes of the main graph, whether or not they can run."""
    operations = []
    for node in graph.graph:
        inputs = tuple(name.removesuffix(":0") for name in node.inputs if not name.startswith("^"))
        key = graph.source(node.name, node, weights).name if node.op in HANDLES else None
        operations.append(Operation(node.name, node.op, inputs, key))
    return Wiring(operations)
