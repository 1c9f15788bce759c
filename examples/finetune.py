"""Fine-tune a converted network: other classes, first the head, then all layers, with averaged weights.

The network for digits gets a new head, for the ten digits in the order of their English names, and is trained on 200
images and tested on 100 others.

    python examples/finetune.py OUT

takes about ten seconds on one core, and needs torch and safetensors.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import converter

HERE = pathlib.Path(__file__).parent
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LABELS = sorted(DIGITS)


def main(out: pathlib.Path) -> float:
    """Train and save; return the accuracy on images that were not trained on."""
    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    images, labels = load_images()
    train, test = (images[:200], labels[:200]), (images[200:], labels[200:])
    model = converter.load_model(converter.convert(HERE / "efficientnetv2-digits.tgz"))
    model.classifier = nn.Linear(model.classifier.in_features, len(LABELS))
    print(f"a new head      {measure(model, *test):.1%}")

    # Only the head learns, and everything else stays as it is.
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("classifier")
    fit(model, train, torch.optim.AdamW(model.classifier.parameters(), lr=0.02), epochs=40)
    print(f"frozen backbone {measure(model, *test):.1%}")

    # All layers learn, slower towards the input, and the result is an average over the steps.
    for parameter in model.parameters():
        parameter.requires_grad = True
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)
    optimizer = torch.optim.AdamW(list(group_by_depth(model, lr=2e-4, decay=0.7)), weight_decay=1e-4)
    fit(model, train, optimizer, epochs=6, averaged=averaged)
    accuracy = measure(averaged.module, *test)
    print(f"all layers      {accuracy:.1%}")

    converter.save_model(averaged, out / "named.safetensors", labels=LABELS, force=True)
    np.savez(out / "test.npz", images=test[0].transpose(0, 2, 3, 1), labels=test[1])
    return accuracy


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits as inputs (N, 3, 32, 32), and their classes."""
    with np.load(HERE / "digits-test.npz") as arrays:
        pixels, digits = arrays["images"], arrays["labels"]
    inputs = (pixels.repeat(4, axis=1).repeat(4, axis=2).astype(np.float32) - 8) / 8
    classes = np.array([LABELS.index(DIGITS[digit]) for digit in digits])
    return np.repeat(inputs[:, None], 3, axis=1), classes


def group_by_depth(model: nn.Module, *, lr: float, decay: float):
    """Yield a group of parameters for each stage, with a rate that falls towards the input."""
    stages = [model.stem, *model.stages, model.head, model.classifier]
    for distance, stage in enumerate(reversed(stages)):
        yield {"params": list(stage.parameters()), "lr": lr * decay**distance}


def fit(
    model: nn.Module,
    data: tuple[np.ndarray, np.ndarray],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    averaged: AveragedModel | None = None,
) -> None:
    """Train on shifted copies of the images; batch norms keep their statistics, for which 200 images are too few."""
    images, labels = (torch.from_numpy(array) for array in data)
    model.eval()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(50):
            batch = torch.roll(images[chosen], tuple(torch.randint(-2, 3, (2,)).tolist()), dims=(2, 3))
            loss = nn.functional.cross_entropy(model(batch), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if averaged is not None:
                averaged.update_parameters(model)


def measure(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of correct predictions."""
    model.eval()
    with torch.inference_mode():
        predicted = model(torch.from_numpy(images)).argmax(1).numpy()
    return float((predicted == labels).mean())


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "finetuned"))
