"""Write the files of Keras 2.13 and of Hugging Face's TensorFlow models in tests/data/keras-files, and their record.

Both need an older TensorFlow, in an environment of its own outside the repository::

    python3.11 -m venv /tmp/tf213
    /tmp/tf213/bin/pip install tensorflow-cpu==2.13.1 transformers==4.40.2
    /tmp/tf213/bin/python tests/data/regenerate/older_keras.py

`older.json` has what `expected.json` has for newer files, and `tf_model.npz` the input and the outputs of a BERT with
the heads of pretraining, random multiples of 1/64, in `tf_model.h5`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import transformers

# Of the module for newer files only what does not depend on Keras's version is used.
sys.modules["tf_keras"] = keras
sys.modules["tf_keras.src.saving.legacy"] = types.ModuleType("legacy")
sys.modules["tf_keras.src.saving.legacy"].hdf5_format = None  # type: ignore[attr-defined]
import keras_files  # noqa: E402  # what it imports is replaced first

WORDS, LENGTH = 30, 12


def write_bert(folder: Path) -> dict[str, Any]:
    """Write `tf_model.h5` as `save_pretrained` does, and return inputs and outputs."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **sizes)
    model = transformers.TFBertForPreTraining(config)
    generator = np.random.default_rng(4)
    mask = np.ones((2, LENGTH), np.int32)
    mask[1, 9:] = 0
    types_of_tokens = np.repeat([[0] * 5 + [1] * (LENGTH - 5)], 2, axis=0).astype(np.int32)
    ids = generator.integers(0, WORDS, (2, LENGTH)).astype(np.int32)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types_of_tokens}
    model(inputs)
    for variable in sorted(model.weights, key=lambda variable: variable.name):
        low, high = (40, 96) if "gamma" in variable.name else (-16, 17)
        variable.assign((generator.integers(low, high, variable.shape) / 64).astype(np.float32))
    outputs = model(inputs, output_hidden_states=True)
    model.save_pretrained(folder)
    (folder / "config.json").unlink()
    found = {
        "sequence": outputs.hidden_states[-1],
        "words": outputs.prediction_logits,
        "sentences": outputs.seq_relationship_logits,
    }
    golden = {f"input/{name}": value for name, value in inputs.items()}
    return golden | {f"output/{name}": value.numpy() for name, value in found.items()}


def main() -> None:
    """Write the archive and the records."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = keras_files.train(keras_files.build(keras))
        named = {}
        for name in ("keras-2.13.keras", "keras-2.13.weights.h5"):
            (model.save_weights if "weights" in name else model.save)(folder / name)
            named[name] = {} if "weights" in name else keras_files.variables_of(model)
        golden = write_bert(folder)
        rows = [
            {"file": path.name, "variables": named.get(path.name, {}), "tensors": keras_files.record(path)}
            for path in sorted(folder.iterdir())
        ]
        keras_files.pack(folder, keras_files.TARGET / "older.tar.xz")
    versions = {"keras": keras.__version__, "transformers": transformers.__version__}
    lines = json.dumps({"versions": versions, "files": rows}, separators=(", ", ": "))
    target = keras_files.TARGET / "older.json"
    target.write_text(lines.replace('{"name"', '\n{"name"').replace('{"file"', '\n{"file"') + "\n")
    np.savez_compressed(keras_files.TARGET / "tf_model.npz", **golden)


if __name__ == "__main__":
    main()
