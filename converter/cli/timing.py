"""Time, memory and number of multiplications of a network's forward pass. Needs torch."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..programs.measuring import find_peak_memory

_WARM_UP = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """The seconds of single forward passes of a batch, in the order they ran."""

    seconds: tuple[float, ...]
    batch: int

    @property
    def median(self) -> float:
        """The median time of a pass, in seconds."""
        return statistics.median(self.seconds)

    @property
    def p90(self) -> float:
        """The time that nine of ten passes do not exceed, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[-(-len(ordered) * 9 // 10) - 1]

    @property
    def images_per_second(self) -> float:
        """The number of images per second in the median pass."""
        return self.batch / self.median


def time_models(models: list[Callable[[Tensor], Tensor]], images: Tensor, *, runs: int) -> list[Timing]:
    """Time the models in turn, after a few warm-up passes, and wait for the device after each pass."""
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


def count_multiply_adds(model: nn.Module, images: Tensor) -> int:
    """Count the multiply-adds of all convolutions and dense layers for one image of the batch."""
    total = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
        else:
            kernel = module.in_features  # type: ignore[assignment]  # an nn.Linear
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


def get_peak_memory(device: torch.device) -> int | None:
    """Return the peak memory so far in bytes: of tensors on a GPU, else of the process; None if it is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return find_peak_memory()


def _wait(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
