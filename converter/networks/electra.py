"""ELECTRA: names of google-research/electra, and the models of transformers; its GELU is exact.

A pretraining checkpoint has two models, which share the embeddings unless the generator has its own, or share the
whole encoder (`untied_generator=False`, and masked words alone).
"""

from __future__ import annotations

from ..mapping.rules import Rule, Tied
from . import encoders
from .network import Network, Part, RuleTable, Shapes, choose_heads, ignore_others
from .settings import Settings
from .targets import Targets

_STEM = "electra/embeddings/word_embeddings"

_PARTS = (
    Part(
        name="discriminator",
        model="ElectraForPreTraining",
        needs=("discriminator_predictions/dense/kernel",),
        others=(("generator{rest...}", "generator"),),
    ),
    Part(
        name="generator",
        model="ElectraForMaskedLM",
        needs=("generator_predictions/dense/kernel",),
        others=(("discriminator_predictions/{rest...}", "discriminator"),),
    ),
    Part(
        name="model",
        model="ElectraModel",
        others=(
            ("generator{rest...}", "generator"),
            ("discriminator_predictions/{rest...}", "head of the discriminator"),
        ),
    ),
)


#: What a file says of the discriminator, and is different for a generator with an encoder of its own.
_SIZES = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")


def _describe(shapes: Shapes, settings: Settings, part: Part) -> None:
    query = "encoder/layer_0/attention/self/query/kernel"
    own_encoder = part.name == "generator" and f"generator/{query}" in shapes
    root = "generator/" if own_encoder else "electra/"
    own = own_encoder and f"{root}embeddings/word_embeddings" in shapes
    if own_encoder:
        settings.leave_out(*_SIZES, *(["embedding_size"] if own else []))
    encoders.measure_embeddings(shapes, settings, f"{root if own else 'electra/'}embeddings/", width="embedding_size")
    width = settings.measure("hidden_size", shapes[root + query][0], root + query)
    encoders.measure_layers(shapes, settings, f"{root}encoder/")
    if own_encoder:
        settings.decide("num_attention_heads", max(1, width // 64), "the code's generator: width / 64")
    else:
        choose_heads(settings, width)
    settings.read("hidden_act", "gelu", "default of the code")
    encoders.read_dropout(settings)
    settings.decide("tie_word_embeddings", True, "the code's generator")
    settings.decide("own_encoder", own_encoder, "names of the layers")
    settings.decide("own_embeddings", own, "names of the embeddings")


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    prefix = "" if part.name == "model" else "electra."
    width, narrow = settings["hidden_size"], settings["embedding_size"]
    encoders.add_embeddings(targets, settings, f"{prefix}embeddings", narrow)
    if width != narrow:
        targets.linear(f"{prefix}embeddings_project", narrow, width)
    encoders.add_layers(targets, settings, f"{prefix}encoder")
    if part.name == "discriminator":
        targets.linear("discriminator_predictions.dense", width, width)
        targets.linear("discriminator_predictions.dense_prediction", width, 1)
    if part.name == "generator":
        targets.norm("generator_predictions.LayerNorm", narrow)
        targets.linear("generator_predictions.dense", width, narrow)
        targets.linear("generator_lm_head", narrow, settings["vocab_size"])
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    prefix = "" if part.name == "model" else "electra."
    root = "generator/" if settings["own_encoder"] else "electra/"
    embeddings = root if settings["own_embeddings"] else "electra/"
    others = list(part.others)
    if settings["own_encoder"]:
        others += [(f"electra/{name}/{{rest...}}", "discriminator") for name in ("encoder", "embeddings_project")]
    if settings["own_embeddings"]:
        others.append(("electra/embeddings/{rest...}", "discriminator"))
    rules = [
        *encoders.list_embedding_rules(f"{embeddings}embeddings/", f"{prefix}embeddings."),
        *encoders.list_layer_rules(f"{root}encoder/", f"{prefix}encoder."),
        Rule(f"{root}embeddings_project/kernel", f"{prefix}embeddings_project.weight", "dense"),
        Rule(f"{root}embeddings_project/bias", f"{prefix}embeddings_project.bias"),
    ]
    if part.name == "discriminator":
        rules += [
            Rule("discriminator_predictions/{layer}/kernel", "discriminator_predictions.{layer}.weight", "dense"),
            Rule("discriminator_predictions/{layer}/bias", "discriminator_predictions.{layer}.bias"),
        ]
    if part.name == "generator":
        rules += [
            Rule("generator_predictions/dense/kernel", "generator_predictions.dense.weight", "dense"),
            Rule("generator_predictions/dense/bias", "generator_predictions.dense.bias"),
            Rule("generator_predictions/LayerNorm/{norm}", "generator_predictions.LayerNorm.{norm}"),
            Rule("generator_predictions/output_bias", "generator_lm_head.bias"),
        ]
    return RuleTable(
        tuple(rules),
        tied=(Tied("generator_lm_head.weight", "electra.embeddings.word_embeddings.weight"),),
        ignores=(*ignore_others(others), *encoders.COUNTERS),
        words={**encoders.WORDS, "layer": {"dense": "dense", "dense_1": "dense_prediction"}},
    )


ELECTRA = Network(
    name="electra",
    title="ELECTRA",
    code="google-research/electra",
    library="transformers",
    model_type="electra",
    stem=_STEM,
    anchors=(
        "electra/embeddings/position_embeddings",
        "electra/embeddings/token_type_embeddings",
        "electra/encoder/layer_0/attention/self/query/kernel",
        "electra/encoder/layer_0/intermediate/dense/kernel",
    ),
    parts=_PARTS,
    must_choose=True,
    files=("electra_config.json", "bert_config.json"),
    vocabulary={"vocab.txt": "vocab.txt"},
    describe=_describe,
    list_targets=_list_targets,
    build_rules=_build_rules,
)
