"""Hugging Face's `tf_model.h5`, written by transformers 4 with TensorFlow, converts by the rules in examples/bert."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import converter
import tfckpt
from converter.networks.modules import build_module
from tests.arrays import distance
from tests.keras_files import DATA, files_of

RULES = pathlib.Path(__file__).parents[2] / "examples" / "bert" / "tf_model.toml"
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def test_module_computes_what_the_tensorflow_model_computed() -> None:
    """Every tensor is used once, although the file has those that two layers share twice, and the outputs agree."""
    torch = pytest.importorskip("torch", reason="compares a module")
    pytest.importorskip("tests.torchvision_operators")
    pytest.importorskip("transformers", reason="has the module")
    config = {"model_type": "bert", "vocab_size": 30, "max_position_embeddings": 12, **SIZES}
    module = build_module("BertForPreTraining", config)
    with np.load(DATA / "tf_model.npz") as file:
        golden = dict(file)

    with tfckpt.open(files_of("tf_model.h5")) as checkpoint:
        result = converter.convert(checkpoint, rules=RULES, into=module)
    module.load_state_dict({name: torch.tensor(array) for name, array in result.state_dict.items()})
    inputs = {name.removeprefix("input/"): torch.tensor(v).long() for name, v in golden.items() if "input/" in name}
    with torch.inference_mode():
        outputs = module(**inputs, output_hidden_states=True)

    assert (result.report.used, len(result.report.tied), len(result.report.ignored)) == (46, 2, 0)
    assert distance(outputs.hidden_states[-1].numpy(), golden["output/sequence"]) < 1e-6
    assert distance(outputs.prediction_logits.numpy(), golden["output/words"]) < 1e-6
    assert distance(outputs.seq_relationship_logits.numpy(), golden["output/sentences"]) < 1e-6
