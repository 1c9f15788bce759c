"""Fine-tune the digits network in PyTorch for some steps, and keep its state dict as `finetuned.pth`.

    python tests/data/reverted/finetune.py

From the root of the repository.
The task is new: the same digits with ink and paper exchanged, which the converted network mostly gets wrong.
Every parameter and every moving statistic changes.
The seed is fixed, but sums in another order change last digits, so that running again need not give the same bytes.
"""

from __future__ import annotations

import pathlib

import numpy as np
import torch
from torch.nn import functional

from converter import load_model

DATA = pathlib.Path(__file__).resolve().parents[1]
TARGET = pathlib.Path(__file__).with_name("finetuned.pth")
STEPS = 40
BATCH = 50


def main() -> None:
    """Train, say what became better, and save."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = exchanged()
    model = load_model(DATA / "digits" / "efficientnetv2-digits")
    before = right(model, images, labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(STEPS):
        batch = torch.randperm(len(images), generator=order)[:BATCH]
        optimizer.zero_grad()
        functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    print(f"right before: {before} of {len(images)}, after: {right(model.eval(), images, labels)}")
    torch.save(model.state_dict(), TARGET)


def exchanged() -> tuple[torch.Tensor, torch.Tensor]:
    """The 300 test images with ink and paper exchanged, as the network takes them, and their labels."""
    with np.load(DATA / "digits" / "digits-test.npz") as test:
        pixels = -(test["images"].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        labels = test["labels"].astype(np.int64)
    return torch.from_numpy(pixels)[:, None].repeat(1, 3, 1, 1), torch.from_numpy(labels)


def right(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Count the images that the network gets right."""
    with torch.inference_mode():
        return int((model(images).argmax(1) == labels).sum())


if __name__ == "__main__":
    main()
