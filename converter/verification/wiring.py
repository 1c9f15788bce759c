"""The connections between operations of a graph: which read which, and which depend on variables or on the image.

Names do not matter: a variable is identified by its checkpoint key, an operation by its inputs.
Nor does the form of an activation or a gate: it is all that is computed element by element from one tensor alone.
Which function that is decides the comparison of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tfckpt._threads import cached_property

from ..engine.reference_graph import Operation, ReferenceGraph
from ..engine.variables import HANDLES, Weights

#: Operations that pass a variable's value or a feature map through.
PASSING = frozenset({"Identity", "ReadVariableOp", "Cast", "Snapshot", "StopGradient", "Reshape", "Squeeze", "Enter"})
KERNELS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"})
NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_ARITHMETIC = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv"})
_ADDITIONS = frozenset({"Add", "AddV2", "AddN"})
#: Operations that compute each element from the same element of their inputs.
#: `structure` has a list of its own, because the two rooms are independent opinions on one graph.
_ELEMENTWISE = _ARITHMETIC | frozenset(
    {
        "Abs",
        "Cast",
        "ClipByValue",
        "Div",
        "DivNoNan",
        "Elu",
        "Erf",
        "Erfc",
        "Exp",
        "Expm1",
        "Greater",
        "GreaterEqual",
        "Identity",
        "LeakyRelu",
        "Less",
        "LessEqual",
        "Log",
        "Log1p",
        "LogicalNot",
        "Maximum",
        "Minimum",
        "Neg",
        "Pow",
        "Reciprocal",
        "Relu",
        "Relu6",
        "Rsqrt",
        "Select",
        "SelectV2",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Square",
        "Tanh",
    }
)
#: The longest chain to follow between two operations of a layer.
_MAX_LINKS = 12
#: The most operations of one activation; mish and GELU have about ten.
_MAX_ACTIVATION = 64


class Affine(NamedTuple):
    """The result of bias and batch norm, the batch norm if it is a fused operation, and whether axes changed."""

    result: str
    norm: Operation | None
    transposed: bool


class Wiring:
    """The operations that compute some fetches, as a graph that can be followed in both directions.

    `is_whole` says that they are all operations of a graph: those of training read what layers compute, too.
    """

    def __init__(self, operations: Iterable[Operation], *, is_whole: bool = False) -> None:
        self.operations = tuple(operations)
        self._is_whole = is_whole
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
        return self._kernels.get(key, [])

    @cached_property
    def _kernels(self) -> dict[str | None, list[Operation]]:
        """The convolutions and products by the variable that their second input is."""
        kernels: dict[str | None, list[Operation]] = {}
        for operation in self.operations:
            if operation.op in KERNELS and len(operation.inputs) > 1:
                kernels.setdefault(self.find_variable(operation.inputs[1]), []).append(operation)
        return kernels

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

    def follow_affine(self, tensor: str) -> Affine:
        """Follow bias and batch norm after a tensor, also if the tensor is transposed before them.

        Programs transpose maps with the channels first for operations that cannot run on them.
        """
        norm, transposed = None, False
        for _ in range(_MAX_LINKS):
            following = [step for step in self.find_readers(tensor) if step.op in NORMS and step.inputs[0] == tensor]
            if following:
                norm = following[0]
            else:
                readers = [step for step in self.find_readers(tensor) if self.is_data(step.name)]
                following = [step for step in readers if self._shifts(step, tensor)]
                if len(following) != 1 or (len(readers) != 1 and not self._is_whole):
                    following = []
            if not following:
                break
            transposed = transposed != (following[0].op == "Transpose")
            tensor = following[0].name
        return Affine(tensor, norm, transposed)

    def _shifts(self, step: Operation, tensor: str) -> bool:
        if step.op in ("BiasAdd", "Identity", "Cast", "Transpose"):
            return step.inputs[0] == tensor
        others = [name for name in step.inputs if name != tensor]
        return step.op in _ARITHMETIC and len(others) == 1 and self._is_weight(others[0])

    def follow_activation(self, tensor: str) -> str:
        """Return the result of the activation of a tensor: of all that is computed element by element from it alone."""
        region = self._grow_activation(tensor)
        ends = [
            name
            for name in region
            if any(step.name not in region for step in self.find_readers(name)) or name == region[-1]
        ]
        # The gradients of an activation are computed from its input too, but only activations are read by layers.
        layers = [
            name
            for name in ends
            if any(step.name not in region and step.op not in _ELEMENTWISE for step in self.find_readers(name))
        ]
        return (layers or ends)[-1]

    def _grow_activation(self, tensor: str) -> list[str]:
        """Return a tensor and all that is computed element by element from it alone, inputs before their readers."""
        region = {tensor: None}
        for name in (waiting := [tensor]):  # grows as it goes
            for step in self.find_readers(name):
                data = {one for one in step.inputs if one in region or self.is_data(one) or self._is_weight(one)}
                if step.op in _ELEMENTWISE and step.name not in region and data <= region.keys():
                    region[step.name] = None
                    waiting.append(step.name)
            if len(region) > _MAX_ACTIVATION:
                return [tensor]
        return list(region)

    def follow_gate(self, tensor: str) -> str | None:
        """Return the tensor that is scaled by a gate computed from a tensor, or None."""
        gate = self.follow_activation(tensor)
        for step in self.find_readers(gate):
            if step.op == "Mul" and all(map(self.is_data, step.inputs)):
                return self.follow_activation(step.name)  # a hard sigmoid may divide after the product
        return None

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
    for node in graph.nodes.values():
        inputs = tuple(name.removesuffix(":0") for name in node.inputs if not name.startswith("^"))
        key = graph.source(node.name, node, weights).name if node.op in HANDLES else None
        operations.append(Operation(node.name, node.op, inputs, key))
    return Wiring(operations, is_whole=True)
