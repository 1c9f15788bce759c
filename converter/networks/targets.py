"""Names and shapes of a PyTorch module's tensors, written down layer by layer."""

from __future__ import annotations

from ..errors import Shape


class Targets:
    """The expected tensors of a module, in order; every method adds those of a layer."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}

    def tensor(self, name: str, *shape: int) -> None:
        """Add a tensor."""
        self.shapes[name] = shape

    def embedding(self, name: str, words: int, width: int) -> None:
        """Add `torch.nn.Embedding`."""
        self.tensor(f"{name}.weight", words, width)

    def linear(self, name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        """Add `torch.nn.Linear`."""
        self.tensor(f"{name}.weight", outputs, inputs)
        if bias:
            self.tensor(f"{name}.bias", outputs)

    def norm(self, name: str, width: int) -> None:
        """Add `torch.nn.LayerNorm`."""
        self.tensor(f"{name}.weight", width)
        self.tensor(f"{name}.bias", width)

    def convolution(self, name: str, inputs: int, outputs: int, *kernel: int, bias: bool = False) -> None:
        """Add `torch.nn.Conv2d`, or a depthwise one with 1 input for each group."""
        self.tensor(f"{name}.weight", outputs, inputs, *(kernel if len(kernel) == 2 else kernel * 2))
        if bias:
            self.tensor(f"{name}.bias", outputs)

    def batch_norm(self, name: str, width: int) -> None:
        """Add `torch.nn.BatchNorm2d`."""
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.tensor(f"{name}.{part}", width)
        self.tensor(f"{name}.num_batches_tracked")
