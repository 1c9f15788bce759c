"""Record what TensorFlow computes with the SavedModel of basic-pitch 0.4.0, into tests/data/basic-pitch.npz.

Needs an environment with TensorFlow 2.21 and a folder with the unpacked wheel (pip download --no-deps
basic-pitch==0.4.0):

    python tests/data/regenerate/basic_pitch.py FOLDER/basic_pitch/saved_models/icassp_2022/nmp

The wheel, Apache-2.0, is by Spotify; nothing of it is stored, only outputs for a chord and noise.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

OUT = pathlib.Path(__file__).parents[1] / "basic-pitch.npz"
#: Of the contour only every fourth frame is kept, which is enough to compare with.
FRAMES = 4


def make_sound() -> np.ndarray:
    """Return a window of sound, (1, 43844, 1): a chord and noise, from whole numbers, the same on every machine.

    Without noise, frequencies without energy would show the rounding of the transform and nothing else.
    """
    samples = np.arange(43844)
    waves = sum(((samples * hertz) % 22050) / 11025 - 1 for hertz in (220, 277, 330))
    noise = np.random.RandomState(0).randint(-1000, 1001, 43844) / 1000
    return (0.05 * waves + 0.5 * noise).astype(np.float32).reshape(1, 43844, 1)


def main() -> None:
    """Run the signature and store its outputs."""
    import tensorflow as tf

    run = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
    outputs = {name: value.numpy() for name, value in run(input_2=tf.constant(make_sound())).items()}
    np.savez_compressed(
        OUT,
        note=outputs["note"],
        onset=outputs["onset"],
        contour=outputs["contour"][:, ::FRAMES],
        versions=np.array([f"tensorflow {tf.__version__}", "basic-pitch 0.4.0"]),
    )


if __name__ == "__main__":
    main()
