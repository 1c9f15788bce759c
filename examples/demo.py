"""`make demo`: from a TensorFlow checkpoint to proven PyTorch weights, on a machine without TensorFlow.

The checkpoint is a small EfficientNetV2 that TensorFlow trained on scikit-learn's digits, packed like a release.
The script prints every command and runs it.
"""

from __future__ import annotations

import pathlib
import shlex
import subprocess
import sys
import tarfile

import numpy as np

EXAMPLES = pathlib.Path(__file__).parent
OUT = EXAMPLES.parent / "demo"
ARCHIVE = EXAMPLES / "efficientnetv2-digits.tgz"
CHECKPOINT = OUT / "efficientnetv2-digits"
WEIGHTS = OUT / "digits.safetensors"


def main() -> int:
    """Unpack, list, convert, classify and prove; return 0 if every step agrees with TensorFlow."""
    OUT.mkdir(exist_ok=True)
    heading("Unpack the checkpoint")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(OUT, filter="data")
        for name in archive.getnames():
            print(name)

    heading("List its tensors: raw values and moving averages, side by side")
    run("tfckpt", "ls", relative(CHECKPOINT), "*/stem/*")

    heading("Convert it to PyTorch, without TensorFlow")
    run("tf2torch", "convert", relative(CHECKPOINT), "-o", relative(WEIGHTS), "--force")

    heading("Classify 300 test images with the converted network")
    code = classify()

    heading("Prove it: weights byte for byte, every layer against the graph in the .meta, and TensorFlow's own values")
    run(
        "tf2torch",
        "verify",
        relative(CHECKPOINT),
        relative(WEIGHTS),
        "--golden",
        relative(EXAMPLES / "digits-probe.npz"),
    )
    return code


def classify() -> int:
    """Compare accuracy and logits with those that TensorFlow recorded; return 0 if they agree."""
    import torch

    import converter

    with np.load(EXAMPLES / "digits-test.npz") as data:
        images, labels, expected = data["images"], data["labels"], data["logits"]
    # Digits have 8 x 8 pixels from 0 to 16: repeat each pixel 4 x 4 times, scale to [-1, 1], and make 3 channels.
    pixels = (images.repeat(4, axis=1).repeat(4, axis=2).astype(np.float32) - 8) / 8
    batch = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1)  # (300, 3, 32, 32)
    model = converter.load_model(WEIGHTS)
    with torch.inference_mode():
        logits = model(batch).numpy()
    difference = float(np.abs(logits - expected).max())
    largest = float(np.abs(expected).max())
    print(f"accuracy in TensorFlow   {np.mean(expected.argmax(1) == labels):.2%}")
    print(f"accuracy in PyTorch      {np.mean(logits.argmax(1) == labels):.2%}")
    print(f"largest logit difference {difference:.1e}, of a largest logit of {largest:.1f}")
    agrees = difference < 1e-5 * largest and bool((logits.argmax(1) == expected.argmax(1)).all())
    print("TensorFlow and PyTorch agree." if agrees else "TensorFlow and PyTorch DIFFER.")
    return 0 if agrees else 1


def heading(text: str) -> None:
    """Print a heading between two steps."""
    print(f"\n== {text}", flush=True)


def relative(path: pathlib.Path) -> str:
    """Return a path relative to the project's folder."""
    return str(path.relative_to(EXAMPLES.parent))


def run(*command: str) -> None:
    """Print a command and run it; if it fails, exit with its exit code."""
    print("$", shlex.join(command), flush=True)
    program = pathlib.Path(sys.executable).with_name(command[0])
    code = subprocess.run([program, *command[1:]], cwd=EXAMPLES.parent, check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main())
