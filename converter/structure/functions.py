"""What is computed between two layers: a batch norm or a bias, and an activation.

A function is not read by its form, since programs write the same one in many ways: it is evaluated in float64 with
random inputs and parameters, and compared with every function that a layer may have.
The batch's own mean and variance, by which a batch norm is computed in training, are evaluated as the moving ones.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .arithmetic import ELEMENTWISE, OPERATIONS, Array, NotElementwiseError, elu, selu, sigmoid, softplus
from .terms import Term

BATCH_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
#: TensorFlow reads a missing epsilon of a batch norm as this.
_DEFAULT_EPSILON = 1e-4
#: Largest difference of two functions that are the same: constants of graphs are rounded to float32, 6e-8.
_TOLERANCE = 1e-6
#: Channels that are evaluated when the graph does not say how many there are.
_CHANNELS = 4
#: At how many points a function is evaluated, over all channels.
_POINTS = 1024
_ROLES = ("gamma", "beta", "moving_mean", "moving_variance")

#: By the names that a configuration has for them.
ACTIVATIONS = {
    "silu": lambda x: x * sigmoid(x),
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_sigmoid_keras2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "elu": elu,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "selu": selu,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "tanh": np.tanh,
    "softplus": softplus,
    "gelu": lambda x: x * OPERATIONS["Erfc"]([-x / np.sqrt(2)], {}) / 2,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm: its epsilon, and the nodes of its variables.

    `is_trained` is True if the graph normalizes by the statistics of the batch, as training does; then the moving
    statistics are not read, and `mean` and `variance` are None.
    """

    epsilon: float
    gamma: str | None
    beta: str | None
    mean: str | None
    variance: str | None
    is_trained: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """What is applied to a layer's output, in order: a batch norm or a bias, then an activation."""

    norm: Norm | None
    bias: str | None
    activation: str


class Region:
    """All that is computed element by element between a layer and a term."""

    def __init__(self, top: Term, base: Term, *, channels: int | None, channels_first: bool) -> None:
        """`channels` is the number of the layer's output channels, None if the graph does not show it."""
        self._top = top
        self._base = base
        self.terms = _between(top, base)
        self._variables = [term for term in self.terms if term.op == "Variable"]
        self._channels = channels or _CHANNELS
        self._first = channels_first

    def function(self) -> Function | None:
        """Return the function that the region is, None if it is none that a layer may have."""
        with np.errstate(all="ignore"):  # parameters in wrong roles, such as a negative variance
            return self._find_function()

    def _find_function(self) -> Function | None:
        variables = self._variables
        if not variables and not self._normalizes():
            return self._plain()
        if len(variables) == 1 and not self._normalizes():
            return self._biased()
        return self._normalized() if len(variables) <= len(_ROLES) else None

    def value(
        self, x: Array, variables: Mapping[str, Array] | None = None, norm: _Values | None = None
    ) -> Array | None:
        """Evaluate the region, None if an operation in it is not element-wise."""
        evaluation = _Evaluation(self._base, variables or {}, norm, channels_first=self._first)
        try:
            with np.errstate(all="ignore"):
                return np.asarray(evaluation.value(self._top, x))
        except (NotElementwiseError, ValueError, TypeError, IndexError, RecursionError):
            return None

    def _normalizes(self) -> bool:
        return any(term.op in BATCH_NORMS or _is_batch_statistic(term) for term in self.terms)

    def _plain(self) -> Function | None:
        x = self._inputs()
        name = _same(self.value(x), x, ACTIVATIONS)
        return None if name is None else Function(None, None, name)

    def _biased(self) -> Function | None:
        values = _Values.random(self._channels, first=self._first)
        x = self._inputs()
        shaped = self._shaped(self._variables[0], values.beta)
        name = _same(self.value(x, {self._variables[0].node: shaped}), x + values.beta, ACTIVATIONS)
        return None if name is None else Function(None, self._variables[0].node, name)

    def _normalized(self) -> Function | None:
        values = _Values.random(self._channels, first=self._first)
        x = self._inputs()
        epsilons = list(dict.fromkeys(self._epsilons()))
        for roles in self._assignments():
            given = {node: self._shaped_by_node(node, getattr(values, role)) for node, role in roles.items()}
            result = self.value(x, given, values)
            if result is None:
                return None
            for epsilon in epsilons:
                name = _same(result, values.normalized(x, epsilon, roles.values()), ACTIVATIONS)
                if name is not None:
                    return Function(self._norm(epsilon, roles), None, name)
        return None

    def _norm(self, epsilon: float, roles: Mapping[str, str]) -> Norm:
        by_role = {role: node for node, role in roles.items()}
        gamma, beta, mean, variance = (by_role.get(role) for role in _ROLES)
        # The shortest number that is the stored float32 is the one that was meant.
        return Norm(float(str(np.float32(epsilon))), gamma, beta, mean, variance, is_trained=variance is None)

    def _epsilons(self) -> Iterator[float]:
        for term in self.terms:
            if term.op in BATCH_NORMS:
                epsilon = term.attributes.get("epsilon", _DEFAULT_EPSILON)
                yield epsilon if isinstance(epsilon, float) else _DEFAULT_EPSILON
            elif term.value is not None and term.value.size == 1 and term.value.dtype.kind == "f":
                yield float(term.value)

    def _assignments(self) -> Iterator[dict[str, str]]:
        """Return every way in which the variables can be a norm's parameters, the one that their names say first."""
        nodes = [term.node for term in self._variables]
        named = {node: role for node in nodes for role in _ROLES if node.endswith(role)}
        if len(set(named.values())) == len(nodes):
            yield named
        for roles in itertools.permutations(_ROLES, len(nodes)):
            yield dict(zip(nodes, roles, strict=True))

    def _inputs(self) -> Array:
        random = np.random.default_rng(0)
        rows = max(16, _POINTS // self._channels)
        shape = (rows, self._channels, 1, 1) if self._first else (rows, 1, 1, self._channels)
        return 4 * random.standard_normal(shape)

    def _shaped(self, variable: Term, values: Array) -> Array:
        """Give a parameter's values the shape that its variable has in the graph."""
        shape = variable.attributes.get("shape")
        if isinstance(shape, tuple) and all(isinstance(size, int) and size > 0 for size in shape):
            return values.reshape(shape) if np.prod(shape) == values.size else values.ravel()[: int(np.prod(shape))]
        return values.ravel()

    def _shaped_by_node(self, node: str, values: Array) -> Array:
        return self._shaped(next(term for term in self._variables if term.node == node), values)


@dataclasses.dataclass(frozen=True)
class _Values:
    """Random parameters of a batch norm, one a channel, shaped to be applied to a map."""

    gamma: Array
    beta: Array
    moving_mean: Array
    moving_variance: Array

    @classmethod
    def random(cls, channels: int, *, first: bool) -> _Values:
        random = np.random.default_rng(1)
        shape = (1, channels, 1, 1) if first else (1, 1, 1, channels)
        gamma = random.uniform(0.5, 1.5, shape) * random.choice([-1, 1], shape)
        beta, mean = random.uniform(-1, 1, shape), random.uniform(-1, 1, shape)
        return cls(gamma, beta, mean, random.uniform(0.01, 2, shape))

    def normalized(self, x: Array, epsilon: float, roles: Iterable[str]) -> Array:
        """Normalize, with the parameters that the norm has; the statistics it always has."""
        roles = set(roles)
        result = (x - self.moving_mean) / np.sqrt(self.moving_variance + epsilon)
        if "gamma" in roles:
            result = result * self.gamma
        return result + self.beta if "beta" in roles else result


class _Evaluation:
    """One evaluation of a region; the terms above an input are evaluated once for it."""

    def __init__(
        self, base: Term, variables: Mapping[str, Array], norm: _Values | None, *, channels_first: bool
    ) -> None:
        self._base = base
        self._variables = variables
        self._norm = norm
        self._first = channels_first
        self._statistics: dict[Term, Array] = {}

    def value(self, top: Term, x: Array) -> Array:
        return self._value(top, x, {})

    def _value(self, term: Term, x: Array, done: dict[Term, Array]) -> Array:
        if term is self._base:
            return x
        if term not in done:
            done[term] = np.asarray(self._computed(term, x, done))
        return done[term]

    def _computed(self, term: Term, x: Array, done: dict[Term, Array]) -> Array:
        if term.value is not None:
            return term.value.astype(np.float64) if term.value.dtype.kind not in "iub" else term.value
        if term.op == "Variable":
            return self._variables[term.node] if term.node in self._variables else _refuse()
        if _is_batch_statistic(term):
            return self._statistic(term)
        if term.op == "CrossReplicaSum":
            return self._value(term.args[0], x, done) * _replicas(term)
        args = [self._value(arg, x, done) for arg in term.args]
        if term.op in BATCH_NORMS and term.output == 0:
            return self._batch_norm(term, args)
        if term.op not in OPERATIONS:
            _refuse()
        return np.asarray(OPERATIONS[term.op](args, term.attributes))

    def _batch_norm(self, term: Term, args: list[Array]) -> Array:
        x, *parameters = args
        if (term.attributes.get("data_format") == b"NCHW") != self._first:
            _refuse()
        if term.attributes.get("is_training", True):
            values = self._values()
            parameters = [*parameters[:2], values.moving_mean, values.moving_variance]
        shape = (-1, 1, 1) if self._first else (-1,)
        gamma, beta, mean, variance = (value.reshape(shape) for value in parameters[:4])
        epsilon = term.attributes.get("epsilon", _DEFAULT_EPSILON)
        return np.asarray((x - mean) / np.sqrt(variance + epsilon) * gamma + beta)

    def _values(self) -> _Values:
        if self._norm is None:
            raise NotElementwiseError
        return self._norm

    def _statistic(self, term: Term) -> Array:
        """Evaluate a mean over the batch: two inputs as likely as each other have any mean and variance."""
        if term not in self._statistics:
            values = self._values()
            deviation = np.sqrt(values.moving_variance)
            both = [self.value(term.args[0], values.moving_mean + sign * deviation) for sign in (-1, 1)]
            mean = (both[0] + both[1]) / 2
            self._statistics[term] = mean if term.attributes.get("keep_dims") else mean.ravel()
        return self._statistics[term]


def axes_of(term: Term) -> tuple[int, ...] | None:
    """Return the axes of a reduction over a tensor of 4 axes, sorted and counted from the front."""
    axes = term.args[1].value if len(term.args) == 2 else None
    if axes is None or axes.dtype.kind != "i":
        return None
    return tuple(sorted(int(axis) % 4 for axis in axes.ravel()))


def passes_elements(term: Term) -> bool:
    """Return True if a term computes each element from the same element of its inputs, for given statistics."""
    return (
        (term.op in ELEMENTWISE or term.op == "CrossReplicaSum" or _is_statistic(term))
        or (term.op in BATCH_NORMS and term.output == 0)
    )  # fmt: skip


def _is_statistic(term: Term) -> bool:
    """Return True for a mean over the batch, however its one value for each channel is arranged."""
    while term.op in {"Squeeze", "Reshape", "ExpandDims"}:
        term = term.args[0]
    return _is_batch_statistic(term)


def _is_batch_statistic(term: Term) -> bool:
    return term.op == "Mean" and term.has_data and axes_of(term) in {(0, 1, 2), (0, 2, 3)}


def _between(top: Term, base: Term) -> list[Term]:
    """Return the terms of a region, the top one first."""
    terms = {top: None}
    waiting = [top]
    while waiting:
        term = waiting.pop()
        if term is base or term.op == "Variable":
            continue
        for arg in term.args:
            if arg not in terms:
                terms[arg] = None
                waiting.append(arg)
    terms.pop(base, None)
    return list(terms)


def _same(value: Array | None, x: Array, functions: Mapping[str, object]) -> str | None:
    """Name the function that gives a value for an input."""
    if value is None:
        return None
    for name, function in functions.items():
        expected = function(x)  # type: ignore[operator]  # each is a function of one array
        if value.shape == expected.shape and bool(
            np.all(np.abs(value - expected) <= _TOLERANCE * np.maximum(1, np.abs(expected)))
        ):
            return name
    return None


def _replicas(term: Term) -> int:
    """Return how many replicas a sum across replicas is over; each is taken to have the same statistics."""
    groups = term.args[1].value if len(term.args) > 1 else None
    return int(groups.shape[1]) if groups is not None and groups.ndim == 2 else 1


def _refuse() -> Array:
    raise NotElementwiseError
