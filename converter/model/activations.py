"""Activation and gate functions, as modules without parameters.

The definitions are TensorFlow's: `leaky_relu` has the slope 0.2 of `tf.nn.leaky_relu`, and `hard_swish` is
x · relu6(x + 3) / 6 as in the released code (google/automl, efficientnetv2/utils.py).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .config import Activation, Gate

#: 0.2 as TensorFlow stores it, in float32.
_LEAKY_SLOPE = 0.20000000298023224
_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "silu": lambda: nn.SiLU(inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hard_swish": lambda: nn.Hardswish(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(_LEAKY_SLOPE, inplace=True),
    "selu": lambda: nn.SELU(inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
}


class Keras2HardSigmoid(nn.Module):
    """The hard sigmoid of Keras 2: clip(0.2 x + 0.5, 0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to every element."""
        return (0.2 * x + 0.5).clamp(0, 1)


_GATES: dict[Gate, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_sigmoid_keras2": Keras2HardSigmoid,
}


def make_activation(name: Activation) -> nn.Module:
    """Return the activation of a name; it may change its input in place."""
    return _ACTIVATIONS[name]()


def make_gate(name: Gate) -> nn.Module:
    """Return the function that turns the output of squeeze-excite into factors."""
    return _GATES[name]()
