"""How fast a network runs, how much memory that takes, and how much it computes. Needs torch."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

_WARM_UP = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of single forward passes of a batch, in the order they ran."""

    seconds: tuple[float, ...]
    batch: int

    @property
    def median(self) -> float:
        """The middle pass, in seconds."""
        return statistics.median(self.seconds)

    @property
    def p90(self) -> float:
        """The pass that nine of ten are no slower than, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[-(-len(ordered) * 9 // 10) - 1]

    @property
    def images_per_second(self) -> float:
        """Images of the median pass by its time."""
        return self.batch / self.median


def time_models(models: list[Callable[[Tensor], Tensor]], images: Tensor, *, runs: int) -> list[Timing]:
    """Run the models in turn, after some passes that warm up, and wait for the device after each."""
    seconds: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for number in range(-_WARM_UP, runs):
            for model, times in zip(models, seconds, strict=True):
                started = time.perf_counter()
                model(images)
                _wait(images.device)
                if number >= 0:
                    times.append(time.perf_counter() - started)
    return [Timing(tuple(times), len(images)) for times in seconds]


def multiply_adds(model: nn.Module, images: Tensor) -> int:
    """Multiplications of all convolutions and dense layers for one image of the batch, each with its addition."""
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
        else:
            kernel = module.in_features  # type: ignore[assignment]  # of a linear layer
        total += output[0].numel() * int(kernel)

    hooks = [
        module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.inference_mode():
            model(images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return total


def peak_memory(device: torch.device) -> int | None:
    """Bytes at most held so far: by tensors on a GPU, else by the whole process; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _wait(device: torch.device) -> None:
    """Until everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
