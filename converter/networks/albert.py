"""ALBERT: names of google-research/albert, and the models of transformers.

All layers of a group share their weights, so that names and shapes do not show how many layers there are.
"""

from __future__ import annotations

from ..mapping.rules import Rule, Tied
from . import encoders
from .network import LAYER_NORM, Network, Part, RuleTable, Shapes, choose_heads, count_numbers, ignore_others
from .settings import Settings
from .targets import Targets

_LAYER = "bert/encoder/transformer/group_{g}/inner_group_{i}/"
_FIRST = "bert/encoder/transformer/group_0/inner_group_0/"
#: The number of layers of the published networks by width; only xxlarge has 12 and this width.
_PUBLISHED_LAYERS = {768: 12, 1024: 24, 2048: 24, 4096: 12}

_PARTS = (
    Part(
        name="model",
        model="AlbertModel",
        needs=("bert/pooler/dense/kernel",),
        others=(("cls/{head...}", "head of the pretraining"),),
    ),
    Part(
        name="pretraining",
        model="AlbertForPreTraining",
        needs=("cls/predictions/output_bias", "cls/seq_relationship/output_weights", "bert/pooler/dense/kernel"),
    ),
)


def _describe(shapes: Shapes, settings: Settings, part: Part) -> None:
    encoders.measure_embeddings(shapes, settings, "bert/embeddings/", width="embedding_size")
    query, inner = f"{_FIRST}attention_1/self/query/kernel", f"{_FIRST}ffn_1/intermediate/dense/kernel"
    width = settings.measure("hidden_size", shapes[query][0], query)
    settings.measure("intermediate_size", shapes[inner][1], inner)
    groups = count_numbers(shapes, "bert/encoder/transformer/group_{n}/inner_group_0/attention_1/self/query/kernel")
    settings.measure("num_hidden_groups", groups, f"bert/encoder/transformer/group_{groups - 1}/…")
    layers = count_numbers(shapes, "bert/encoder/transformer/group_0/inner_group_{n}/attention_1/self/query/kernel")
    settings.measure("inner_group_num", layers, f"bert/encoder/transformer/group_0/inner_group_{layers - 1}/…")
    settings.read("num_hidden_layers", _PUBLISHED_LAYERS.get(width, 0), "published networks of this width")
    if settings["num_hidden_layers"] < 1:
        reason = "layers share their weights; albert_config.json says how many there are"
        settings.contradict("num_hidden_layers", "unknown", "a number", reason)
    choose_heads(settings, width)
    activation = settings.read("hidden_act", "gelu", "default of the code")
    if activation == "gelu":
        settings.decide("hidden_act", "gelu_new", "gelu of this code is the tanh approximation")
    encoders.read_dropout(settings)
    settings.read("classifier_dropout_prob", 0.1, "default of the code")


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    prefix = "" if part.name == "model" else "albert."
    width, narrow, inner = (settings[name] for name in ("hidden_size", "embedding_size", "intermediate_size"))
    encoders.add_embeddings(targets, settings, f"{prefix}embeddings", narrow)
    targets.linear(f"{prefix}encoder.embedding_hidden_mapping_in", narrow, width)
    for group in range(settings["num_hidden_groups"]):
        for number in range(settings["inner_group_num"]):
            layer = f"{prefix}encoder.albert_layer_groups.{group}.albert_layers.{number}"
            targets.norm(f"{layer}.full_layer_layer_norm", width)
            for part_name in ("query", "key", "value", "dense"):
                targets.linear(f"{layer}.attention.{part_name}", width, width)
            targets.norm(f"{layer}.attention.LayerNorm", width)
            targets.linear(f"{layer}.ffn", width, inner)
            targets.linear(f"{layer}.ffn_output", inner, width)
    targets.linear(f"{prefix}pooler", width, width)
    if part.name == "pretraining":
        targets.tensor("predictions.bias", settings["vocab_size"])
        targets.norm("predictions.LayerNorm", narrow)
        targets.linear("predictions.dense", width, narrow)
        targets.linear("predictions.decoder", narrow, settings["vocab_size"])
        targets.linear("sop_classifier.classifier", width, 2)
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    prefix = "" if part.name == "model" else "albert."
    layer = f"{prefix}encoder.albert_layer_groups.{{g}}.albert_layers.{{i}}."
    mapping = "bert/encoder/embedding_hidden_mapping_in"
    dense = {
        mapping: f"{prefix}encoder.embedding_hidden_mapping_in",
        f"{_LAYER}attention_1/self/{{part}}": f"{layer}attention.{{part}}",
        f"{_LAYER}attention_1/output/dense": f"{layer}attention.dense",
        f"{_LAYER}ffn_1/intermediate/dense": f"{layer}ffn",
        f"{_LAYER}ffn_1/intermediate/output/dense": f"{layer}ffn_output",
        "bert/pooler/dense": f"{prefix}pooler",
    }
    rules = [
        *encoders.list_embedding_rules("bert/embeddings/", f"{prefix}embeddings."),
        Rule(f"{_LAYER}LayerNorm/{{norm}}", f"{layer}attention.LayerNorm.{{norm}}"),
        Rule(f"{_LAYER}LayerNorm_1/{{norm}}", f"{layer}full_layer_layer_norm.{{norm}}"),
    ]
    if part.name == "pretraining":
        dense["cls/predictions/transform/dense"] = "predictions.dense"
        rules += [
            Rule("cls/predictions/transform/LayerNorm/{norm}", "predictions.LayerNorm.{norm}"),
            Rule("cls/predictions/output_bias", "predictions.bias"),
            Rule("cls/seq_relationship/output_weights", "sop_classifier.classifier.weight"),
            Rule("cls/seq_relationship/output_bias", "sop_classifier.classifier.bias"),
        ]
    for source, target in dense.items():
        rules += [Rule(f"{source}/kernel", f"{target}.weight", "dense"), Rule(f"{source}/bias", f"{target}.bias")]
    return RuleTable(
        tuple(rules),
        tied=(
            Tied("predictions.decoder.weight", "albert.embeddings.word_embeddings.weight"),
            Tied("predictions.decoder.bias", "predictions.bias"),
        ),
        ignores=(*ignore_others(part.others), *encoders.COUNTERS),
        words={
            "norm": LAYER_NORM,
            "embedding": encoders.WORDS["embedding"],
            "part": {part_name: part_name for part_name in ("query", "key", "value")},
        },
    )


ALBERT = Network(
    name="albert",
    title="ALBERT",
    code="google-research/albert",
    library="transformers",
    model_type="albert",
    stem="bert/embeddings/word_embeddings",
    anchors=(
        "bert/embeddings/position_embeddings",
        "bert/embeddings/token_type_embeddings",
        f"{_FIRST}attention_1/self/query/kernel",
        f"{_FIRST}ffn_1/intermediate/dense/kernel",
    ),
    parts=_PARTS,
    files=("albert_config.json",),
    vocabulary={"30k-clean.vocab": "30k-clean.vocab", "30k-clean.model": "spiece.model"},
    describe=_describe,
    list_targets=_list_targets,
    build_rules=_build_rules,
)
