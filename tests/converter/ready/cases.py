"""The networks of docs/families.md: checkpoints of the authors' code, and how to run their modules."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import numpy as np

DATA = pathlib.Path(__file__).parents[2] / "data" / "families"


class Case(NamedTuple):
    """A checkpoint, the part that is converted, the class of the model, and its outputs that TensorFlow recorded.

    `limit` is the largest difference, relative to the largest value.
    """

    family: str
    archive: str
    part: str | None
    model: str
    outputs: tuple[str, ...]
    limit: float = 1e-6

    @property
    def path(self) -> pathlib.Path:
        """The archive of the checkpoint."""
        return DATA / f"{self.archive}.tar.xz"

    @property
    def golden(self) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs and outputs, recorded by TensorFlow."""
        with np.load(DATA / f"{self.archive}.npz") as file:
            return dict(file)

    @property
    def id(self) -> str:
        """The name of the case."""
        return self.archive if self.part is None else f"{self.archive} {self.part}"


#: Models without a pooler, which the encoder of `AutoModel` has.
NO_POOLER = ("BertForMaskedLM", "BertForQuestionAnswering", "BertForTokenClassification")

CASES = [
    Case("bert", "bert", "pretraining", "BertForPreTraining", ("sequence", "words", "sentences")),
    Case("bert", "bert", None, "BertModel", ("sequence", "pooled")),
    Case("bert", "bert", "words", "BertForMaskedLM", ("sequence", "words")),
    Case("bert", "bert-classifier", None, "BertForSequenceClassification", ("classes",)),
    Case("bert", "bert-classifier", "tokens", "BertForTokenClassification", ("token_classes",)),
    Case("bert", "bert-questions", None, "BertForQuestionAnswering", ("start", "end")),
    Case("albert", "albert", "pretraining", "AlbertForPreTraining", ("sequence", "words", "sentences")),
    Case("albert", "albert", None, "AlbertModel", ("sequence", "pooled")),
    Case("electra", "electra", "discriminator", "ElectraForPreTraining", ("sequence", "probability")),
    Case("electra", "electra", "generator", "ElectraForMaskedLM", ("generator_sequence", "words")),
    Case("electra", "electra-own", "generator", "ElectraForMaskedLM", ("generator_sequence", "words")),
    Case("electra", "electra-shared", "discriminator", "ElectraForPreTraining", ("sequence", "probability")),
    Case("electra", "electra-shared", "generator", "ElectraForMaskedLM", ("generator_sequence", "words")),
    Case("gpt2", "gpt2", None, "GPT2LMHeadModel", ("words",)),
    Case("t5", "t5", None, "T5ForConditionalGeneration", ("sequence", "words")),
    Case("t5", "t5-1.1", None, "T5ForConditionalGeneration", ("sequence", "words")),
    Case("t5", "mt5", None, "MT5ForConditionalGeneration", ("sequence", "words")),
    Case("mobilenet-v1", "mobilenet-v1", None, "MobileNetV1ForImageClassification", ("logits",)),
    Case("mobilenet-v2", "mobilenet-v2", None, "MobileNetV2ForImageClassification", ("logits",)),
    Case("resnet-v1", "resnet-v1", None, "ResNet", ("logits",), 5e-6),
    Case("resnet-v2", "resnet-v2", None, "ResNet", ("logits",), 5e-6),
    Case("inception-v3", "inception-v3", None, "InceptionV3", ("logits",), 5e-6),
]


def run(module: Any, case: Case) -> dict[str, np.ndarray[Any, Any]]:
    """Return the module's outputs by the names of the recorded ones."""
    import torch

    golden = case.golden
    if "input/image" in golden:
        with torch.inference_mode():
            result = module(torch.tensor(golden["input/image"]).permute(0, 3, 1, 2))
        return {"logits": (result if isinstance(result, torch.Tensor) else result.logits).numpy()}
    names = {"input_mask": "attention_mask", "segment_ids": "token_type_ids"}
    inputs = {name.removeprefix("input/"): value for name, value in golden.items() if name.startswith("input/")}
    inputs = {names.get(name, name): torch.tensor(value).long() for name, value in inputs.items()}
    with torch.inference_mode():
        result = module(**inputs, output_hidden_states=True)
    found = {
        "sequence": getattr(result, "encoder_last_hidden_state", None),
        "pooled": getattr(result, "pooler_output", None),
        "words": getattr(result, "prediction_logits", getattr(result, "logits", None)),
        "sentences": getattr(result, "seq_relationship_logits", getattr(result, "sop_logits", None)),
        "probability": getattr(result, "logits", None),
        "start": getattr(result, "start_logits", None),
        "end": getattr(result, "end_logits", None),
    }
    found["classes"] = found["token_classes"] = getattr(result, "logits", None)
    if found["sequence"] is None:
        found["sequence"] = result.hidden_states[-1]
    found["generator_sequence"] = found["sequence"]
    if found["probability"] is not None:
        found["probability"] = found["probability"].sigmoid()
    return {name: tensor.numpy() for name, tensor in found.items() if tensor is not None}


def measure(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Return the largest difference, relative to the largest value."""
    return float(np.abs(actual.reshape(expected.shape) - expected).max() / np.abs(expected).max())
