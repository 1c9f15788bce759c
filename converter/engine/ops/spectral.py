"""Complex numbers and Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_ints, to_tensor, to_tensors

from .arithmetic import unary

unary("Angle", torch.angle)
unary("ComplexAbs", torch.abs)
unary("Conj", torch.conj_physical)
unary("Real", lambda x: torch.real(x) if x.is_complex() else x)
unary("Imag", lambda x: torch.imag(x) if x.is_complex() else torch.zeros_like(x))

_TRANSFORMS: dict[str, Callable[..., Tensor]] = {"FFT": torch.fft.fftn, "IFFT": torch.fft.ifftn}


@op("Complex", outputs=("out",))
def make_complex(call: Call, real: Value, imag: Value) -> Value:
    """Return complex numbers of two parts, which are broadcast."""
    return torch.complex(*torch.broadcast_tensors(*to_tensors(call.dtype, real, imag)))  # type: ignore[no-untyped-call]


def _last(count: int) -> list[int]:
    return list(range(-count, 0))


def _register(name: str, count: int) -> None:
    """Register a transform of complex numbers along the last `count` axes."""
    transform = _TRANSFORMS[name]

    def kernel(call: Call, value: Value) -> Value:
        return transform(to_tensor(value, call.dtype), dim=_last(count))

    op(name if count == 1 else f"{name}{count}D")(kernel)


for _name in _TRANSFORMS:
    for _count in (1, 2, 3):
        _register(_name, _count)


@op("RFFT", "RFFT2D", "RFFT3D")
def real_transform(call: Call, value: Value, length: Value) -> Value:
    """Transform real numbers along the last axes, which are cut to the given lengths."""
    sizes = to_ints(length)
    call.check_size(sizes)
    spectrum: Tensor = torch.fft.rfftn(_fit(to_tensor(value, call.dtype), sizes), dim=_last(len(sizes)))
    return spectrum


@op("IRFFT", "IRFFT2D", "IRFFT3D")
def inverse_real_transform(call: Call, value: Value, length: Value) -> Value:
    """Transform back to real numbers of the given lengths."""
    sizes = to_ints(length)
    call.check_size(sizes)
    needed = [*sizes[:-1], sizes[-1] // 2 + 1]
    signal: Tensor = torch.fft.irfftn(_fit(to_tensor(value, call.dtype), needed), sizes, dim=_last(len(sizes)))
    return signal


def _fit(tensor: Tensor, sizes: list[Any]) -> Tensor:
    """Cut the last axes to these sizes; an axis that is shorter is an error, as in TensorFlow."""
    for axis, size in zip(_last(len(sizes)), sizes, strict=True):
        tensor = tensor.narrow(axis, 0, size)
    return tensor
