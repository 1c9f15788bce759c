"""Random numbers, from PyTorch's own generator.

TensorFlow's bits cannot be repeated: the distributions are the same, the numbers are not, also where TensorFlow's
depend on a seed. `torch.manual_seed` makes modules repeatable; `ReferenceGraph.run` starts from the same state always.
"""

from __future__ import annotations

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_dtype, to_int, to_ints, to_tensor
from converter.errors import GraphError

#: Numbers of a truncated normal distribution are within this many standard deviations.
_TRUNCATED = 2.0


def _check_shape(call: Call, shape: Value) -> list[int]:
    sizes = to_ints(shape)
    call.check_size(sizes)
    return sizes


@op("RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2")
def uniform(call: Call, shape: Value, *seed: Value) -> Value:
    """Return uniform numbers from 0 to 1, exclusive."""
    del seed
    return torch.rand(_check_shape(call, shape), dtype=call.dtype)


@op("RandomStandardNormal", "StatelessRandomNormal", "StatelessRandomNormalV2")
def normal(call: Call, shape: Value, *seed: Value) -> Value:
    """Return numbers of the standard normal distribution."""
    del seed
    return torch.randn(_check_shape(call, shape), dtype=call.dtype)


@op("TruncatedNormal", "StatelessTruncatedNormal", "StatelessTruncatedNormalV2")
def truncated_normal(call: Call, shape: Value, *seed: Value) -> Value:
    """Return numbers of the standard normal distribution within two standard deviations."""
    del seed
    numbers = torch.rand(_check_shape(call, shape), dtype=call.dtype)
    low = 0.5 * (1 + torch.erf(torch.tensor(-_TRUNCATED / 2**0.5, dtype=call.dtype)))
    drawn: Tensor = torch.special.ndtri(low + numbers * (1 - 2 * low))
    return drawn.clamp(-_TRUNCATED, _TRUNCATED)


@op("RandomUniformInt")
def uniform_integers(call: Call, shape: Value, low: Value, high: Value) -> Value:
    """Return uniform integers from `low` to `high`, exclusive."""
    return _integers(call, shape, low, high, "Tout")


@op("StatelessRandomUniformInt")
def stateless_integers(call: Call, shape: Value, seed: Value, low: Value, high: Value) -> Value:
    """Return the same as `uniform_integers`."""
    del seed
    return _integers(call, shape, low, high, "dtype")


@op("StatelessRandomUniformIntV2")
def stateless_integers_v2(call: Call, *inputs: Value) -> Value:
    """Return the same as `uniform_integers`; key, counter and algorithm come before the range."""
    return _integers(call, inputs[0], inputs[4], inputs[5], "dtype")


def _integers(call: Call, shape: Value, low: Value, high: Value, attribute: str) -> Tensor:
    first, last = to_int(low), to_int(high)
    if type(first) is int and type(last) is int and first >= last:
        raise GraphError(f"random integers need a range, not {first} to {last}")
    kind = call.torch_dtype(attribute, call.get("T") or "int32")
    return to_dtype(torch.randint(first, last, _check_shape(call, shape)), kind)


@op("RandomShuffle")
def shuffle(call: Call, value: Value) -> Value:
    """Return the rows of a tensor in random order."""
    tensor = to_tensor(value, call.dtype)
    return tensor[torch.randperm(tensor.shape[0])]


@op("Multinomial", "StatelessMultinomial")
def multinomial(call: Call, logits: Value, number: Value, *seed: Value) -> Value:
    """Return classes drawn with the probabilities of the logits, `number` for each row."""
    del seed
    rows = to_tensor(logits, call.dtype)
    drawn = torch.multinomial(torch.softmax(rows, -1), to_int(number), replacement=True)
    return to_dtype(drawn, call.torch_dtype("output_dtype", "int64"))


@op("StatelessRandomGetKeyCounter", outputs=("key", "counter"))
def key_and_counter(call: Call, seed: Value) -> tuple[Value, Value]:
    """Return the state of a generator, which nothing uses here."""
    del call, seed
    return np.zeros(1, np.uint64), np.zeros(2, np.uint64)


@op("StatelessRandomGetAlg", outputs=("alg",))
def algorithm(call: Call) -> Value:
    """Return the number of an algorithm, which nothing uses here."""
    del call
    return np.array(1, np.int32)
