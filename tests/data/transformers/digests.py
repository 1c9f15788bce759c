"""Load checkpoints with the loaders of transformers and print a digest of every parameter as JSON.

    python digests.py FOLDER

A script as people have them: it imports transformers and leaves reading the checkpoints to `import tensorflow`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from typing import Any

import torch
import torchvision_operators  # noqa: F401  # before transformers, which imports torchvision where it is
from transformers import (
    AlbertConfig,
    AlbertForPreTraining,
    BertConfig,
    BertForPreTraining,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    GPT2Config,
    GPT2Model,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.albert.modeling_albert import load_tf_weights_in_albert
from transformers.models.bert.modeling_bert import load_tf_weights_in_bert
from transformers.models.electra.modeling_electra import load_tf_weights_in_electra
from transformers.models.gpt2.modeling_gpt2 import load_tf_weights_in_gpt2
from transformers.models.t5.modeling_t5 import load_tf_weights_in_t5

ENCODER: dict[str, Any] = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}


def main(folder: str) -> None:
    """Print the digests of every model."""
    loaded = {
        "bert": load(
            BertForPreTraining(BertConfig(**ENCODER)), load_tf_weights_in_bert, f"{folder}/bert/bert_model.ckpt"
        ),
        "gpt2": load(
            GPT2Model(GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=12)),
            load_tf_weights_in_gpt2,
            f"{folder}/gpt2",
        ),
        "albert": load(
            AlbertForPreTraining(AlbertConfig(embedding_size=4, **ENCODER)),
            load_tf_weights_in_albert,
            f"{folder}/albert/model.ckpt-best",
        ),
        "electra discriminator": load(
            ElectraForPreTraining(ElectraConfig(embedding_size=4, **ENCODER)),
            load_tf_weights_in_electra,
            f"{folder}/electra/electra_small",
        ),
        "electra generator": load(
            ElectraForMaskedLM(ElectraConfig(embedding_size=4, **ENCODER)),
            load_tf_weights_in_electra,
            f"{folder}/electra/electra_small",
            "generator",
        ),
        "t5": load(
            T5ForConditionalGeneration(T5Config(vocab_size=11, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2)),
            load_tf_weights_in_t5,
            f"{folder}/t5",
        ),
    }
    print(json.dumps(loaded, indent=1))


def load(model: torch.nn.Module, loader: Any, path: str, *more: str) -> dict[str, str]:
    """Shape and digest of every parameter after loading; what the checkpoint does not fill is zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    with contextlib.redirect_stdout(sys.stderr):  # the loaders print
        loader(model, model.config, path, *more)
    return {name: digest(value) for name, value in model.state_dict().items()}


def digest(value: torch.Tensor) -> str:
    """Type, shape and SHA-256 of the bytes in C order."""
    array = value.detach().contiguous().numpy()
    filled = "" if array.any() else " zero"
    return f"{array.dtype} {list(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()}{filled}"


if __name__ == "__main__":
    main(sys.argv[1])
