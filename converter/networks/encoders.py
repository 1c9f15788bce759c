"""What the encoders of BERT and ELECTRA have in common: the code of ELECTRA began with that of BERT."""

from __future__ import annotations

from ..mapping.rules import Ignore, Rule
from .network import LAYER_NORM, Shapes, count_numbers
from .settings import Settings
from .targets import Targets

WORDS = {
    "norm": LAYER_NORM,
    "embedding": {name: name for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")},
    "place": {"attention/output": "attention.output", "intermediate": "intermediate", "output": "output"},
}
#: What training leaves in a checkpoint beside the slots that are recognized by their names.
COUNTERS = (Ignore("global_step", "training step counter"),)


def list_layer_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Return the rules of an encoder's layers; both names end before `layer_{n}` and `layer.{n}`."""
    return (
        Rule(
            f"{source}layer_{{n}}/attention/self/{{part}}/kernel",
            f"{target}layer.{{n}}.attention.self.{{part}}.weight",
            "dense",
        ),
        Rule(f"{source}layer_{{n}}/attention/self/{{part}}/bias", f"{target}layer.{{n}}.attention.self.{{part}}.bias"),
        Rule(f"{source}layer_{{n}}/{{place}}/dense/kernel", f"{target}layer.{{n}}.{{place}}.dense.weight", "dense"),
        Rule(f"{source}layer_{{n}}/{{place}}/dense/bias", f"{target}layer.{{n}}.{{place}}.dense.bias"),
        Rule(f"{source}layer_{{n}}/{{place}}/LayerNorm/{{norm}}", f"{target}layer.{{n}}.{{place}}.LayerNorm.{{norm}}"),
    )


def list_embedding_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Return the rules of the embeddings; both names end before the names of the tables."""
    return (
        Rule(f"{source}{{embedding}}", f"{target}{{embedding}}.weight"),
        Rule(f"{source}LayerNorm/{{norm}}", f"{target}LayerNorm.{{norm}}"),
    )


def measure_embeddings(shapes: Shapes, settings: Settings, source: str, *, width: str) -> None:
    """Set what the tables of embeddings show; `width` is the name of the setting for their width."""
    words, size = shapes[f"{source}word_embeddings"]
    settings.measure("vocab_size", words, f"{source}word_embeddings")
    settings.measure(width, size, f"{source}word_embeddings")
    positions, types = f"{source}position_embeddings", f"{source}token_type_embeddings"
    settings.measure("max_position_embeddings", shapes[positions][0], positions)
    settings.measure("type_vocab_size", shapes[types][0], types)


def measure_layers(shapes: Shapes, settings: Settings, source: str) -> None:
    """Set what the layers show."""
    inner = f"{source}layer_0/intermediate/dense/kernel"
    layers = count_numbers(shapes, f"{source}layer_{{n}}/attention/self/query/kernel")
    settings.measure("num_hidden_layers", layers, f"{source}layer_{layers - 1}/…")
    settings.measure("intermediate_size", shapes[inner][1], inner)


def read_dropout(settings: Settings) -> None:
    """Set what only training uses, and the epsilon of the layer norms, which the code does not let choose."""
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        settings.read(name, 0.1, "default of the code")
    settings.read("initializer_range", 0.02, "default of the code")
    settings.decide("layer_norm_eps", 1e-12, "the code's layer norm")


def add_embeddings(targets: Targets, settings: Settings, name: str, width: int) -> None:
    """Add the tables of embeddings and their norm."""
    targets.embedding(f"{name}.word_embeddings", settings["vocab_size"], width)
    targets.embedding(f"{name}.position_embeddings", settings["max_position_embeddings"], width)
    targets.embedding(f"{name}.token_type_embeddings", settings["type_vocab_size"], width)
    targets.norm(f"{name}.LayerNorm", width)


def add_layers(targets: Targets, settings: Settings, name: str) -> None:
    """Add the encoder's layers."""
    width, inner = settings["hidden_size"], settings["intermediate_size"]
    for number in range(settings["num_hidden_layers"]):
        layer = f"{name}.layer.{number}"
        for part in ("query", "key", "value"):
            targets.linear(f"{layer}.attention.self.{part}", width, width)
        targets.linear(f"{layer}.attention.output.dense", width, width)
        targets.norm(f"{layer}.attention.output.LayerNorm", width)
        targets.linear(f"{layer}.intermediate.dense", width, inner)
        targets.linear(f"{layer}.output.dense", inner, width)
        targets.norm(f"{layer}.output.LayerNorm", width)
