"""Convert the networks that tests/data/regenerate/random_networks.py wrote, and count what became of them.

    python -m tests.random_networks FOLDER

A network is right if its logits in float64 are TensorFlow's to 1e-10 of the largest one.
It is proved if `export` proves its layers; otherwise the reason is counted.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import tempfile

import numpy as np
import torch

from converter.conversion import ConversionResult, convert
from converter.errors import ConversionError
from converter.exporting import export
from converter.model.efficientnet import EfficientNet

#: Of the largest logit: sums in float64 in another order.
TOLERANCE = 1e-10


def compute(result: ConversionResult, image: object) -> np.ndarray:  # type: ignore[type-arg]
    """Run a converted network in float64."""
    config = dataclasses.replace(result.required_config())
    model = EfficientNet(config).double()
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in result.state_dict.items()})
    with torch.inference_mode():
        logits: np.ndarray = model.eval()(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()  # type: ignore[type-arg]
    return logits


def check(folder: pathlib.Path) -> tuple[str, str]:
    """Return what became of a network, and why or how far it is off."""
    drawn = json.loads((folder / "drawn.json").read_text())
    if "failed" in drawn:
        return "not made", drawn["failed"]
    try:
        result = convert(folder)
    except ConversionError as error:
        return "refused", str(error)
    with np.load(folder / "truth.npz") as truth:
        expected = truth["logits"]
        logits = compute(result, truth["input"])
    if logits.shape != expected.shape:
        return "wrong", f"shape {logits.shape}, expected {expected.shape}"
    difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
    if difference > TOLERANCE:
        return "wrong", f"{difference:.1e}"
    with tempfile.TemporaryDirectory() as temporary:
        record = export(result, pathlib.Path(temporary) / "out.safetensors")
    assert record is not None
    return "right and proved" if record.layers is not None else f"right, but {record.reason}", f"{difference:.1e}"


def main() -> None:
    """Print a line for each network that is not right, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    counts: collections.Counter[str] = collections.Counter()
    for folder in sorted(parser.parse_args().folder.iterdir()):
        what, why = check(folder)
        counts[what] += 1
        if not what.startswith("right"):
            print(f"{folder.name} {what}: {why}")
    print(", ".join(f"{count} {what}" for what, count in counts.most_common()))


if __name__ == "__main__":
    main()
