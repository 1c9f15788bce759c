"""BERT: names of google-research/bert, and the models of transformers.

The code's GELU is the tanh approximation, which transformers calls `gelu_new`.
"""

from __future__ import annotations

from ..mapping.rules import Rule, Tied
from . import encoders
from .network import Network, Part, RuleTable, Shapes, choose_heads, ignore_others
from .settings import Settings
from .targets import Targets

_PRETRAINING = ("cls/{head...}", "head of the pretraining")
_CLASSIFIER = ("output_{part}", "classifier")
_POOLER = ("bert/pooler/{part...}", "pooler, which this model does not have")

_PARTS = (
    Part(
        name="classifier",
        model="BertForSequenceClassification",
        needs=("output_weights", "bert/pooler/dense/kernel"),
        others=(_PRETRAINING,),
    ),
    Part(name="tokens", model="BertForTokenClassification", needs=("output_weights",), others=(_PRETRAINING, _POOLER)),
    Part(name="questions", model="BertForQuestionAnswering", needs=("cls/squad/output_weights",), others=(_POOLER,)),
    Part(
        name="model",
        model="BertModel",
        needs=("bert/pooler/dense/kernel",),
        others=(_PRETRAINING, _CLASSIFIER),
    ),
    Part(
        name="pretraining",
        model="BertForPreTraining",
        needs=("cls/predictions/output_bias", "cls/seq_relationship/output_weights", "bert/pooler/dense/kernel"),
    ),
    Part(
        name="words",
        model="BertForMaskedLM",
        needs=("cls/predictions/output_bias",),
        others=(_POOLER, ("cls/seq_relationship/{part}", "head for the next sentence")),
    ),
)


def _describe(shapes: Shapes, settings: Settings, part: Part) -> None:
    encoders.measure_embeddings(shapes, settings, "bert/embeddings/", width="hidden_size")
    encoders.measure_layers(shapes, settings, "bert/encoder/")
    choose_heads(settings, settings["hidden_size"])
    activation = settings.read("hidden_act", "gelu", "default of the code")
    if activation == "gelu":
        settings.decide("hidden_act", "gelu_new", "gelu of this code is the tanh approximation")
    encoders.read_dropout(settings)
    if part.name in ("classifier", "tokens"):
        settings.decide("num_labels", shapes["output_weights"][0], "shape of output_weights")


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    prefix = "" if part.name == "model" else "bert."
    width = settings["hidden_size"]
    encoders.add_embeddings(targets, settings, f"{prefix}embeddings", width)
    encoders.add_layers(targets, settings, f"{prefix}encoder")
    if part.name in ("pretraining", "classifier", "model"):
        targets.linear(f"{prefix}pooler.dense", width, width)
    if part.name in ("pretraining", "words"):
        targets.tensor("cls.predictions.bias", settings["vocab_size"])
        targets.linear("cls.predictions.transform.dense", width, width)
        targets.norm("cls.predictions.transform.LayerNorm", width)
        targets.linear("cls.predictions.decoder", width, settings["vocab_size"])
    if part.name == "pretraining":
        targets.linear("cls.seq_relationship", width, 2)
    if part.name == "questions":
        targets.linear("qa_outputs", width, 2)
    if part.name in ("classifier", "tokens"):
        targets.linear("classifier", width, settings["num_labels"])
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    prefix = "" if part.name == "model" else "bert."
    rules = [
        *encoders.list_embedding_rules("bert/embeddings/", f"{prefix}embeddings."),
        *encoders.list_layer_rules("bert/encoder/", f"{prefix}encoder."),
    ]
    if part.name in ("pretraining", "classifier", "model"):
        rules += [
            Rule("bert/pooler/dense/kernel", f"{prefix}pooler.dense.weight", "dense"),
            Rule("bert/pooler/dense/bias", f"{prefix}pooler.dense.bias"),
        ]
    if part.name in ("pretraining", "words"):
        rules += [
            Rule("cls/predictions/transform/dense/kernel", "cls.predictions.transform.dense.weight", "dense"),
            Rule("cls/predictions/transform/dense/bias", "cls.predictions.transform.dense.bias"),
            Rule("cls/predictions/transform/LayerNorm/{norm}", "cls.predictions.transform.LayerNorm.{norm}"),
            Rule("cls/predictions/output_bias", "cls.predictions.bias"),
        ]
    heads = {"pretraining": ("cls/seq_relationship", "cls.seq_relationship"), "questions": ("cls/squad", "qa_outputs")}
    if part.name in heads:
        source, target = heads[part.name]
        rules += [Rule(f"{source}/output_weights", f"{target}.weight"), Rule(f"{source}/output_bias", f"{target}.bias")]
    if part.name in ("classifier", "tokens"):
        rules += [Rule("output_weights", "classifier.weight"), Rule("output_bias", "classifier.bias")]
    return RuleTable(
        tuple(rules),
        tied=(
            Tied("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
            Tied("cls.predictions.decoder.bias", "cls.predictions.bias"),
        ),
        ignores=(*ignore_others(part.others), *encoders.COUNTERS),
        words=encoders.WORDS,
    )


BERT = Network(
    name="bert",
    title="BERT",
    code="google-research/bert",
    library="transformers",
    model_type="bert",
    stem="bert/embeddings/word_embeddings",
    anchors=(
        "bert/embeddings/position_embeddings",
        "bert/embeddings/token_type_embeddings",
        "bert/encoder/layer_0/attention/self/query/kernel",
        "bert/encoder/layer_0/intermediate/dense/kernel",
    ),
    parts=_PARTS,
    files=("bert_config.json",),
    vocabulary={"vocab.txt": "vocab.txt"},
    describe=_describe,
    list_targets=_list_targets,
    build_rules=_build_rules,
)
