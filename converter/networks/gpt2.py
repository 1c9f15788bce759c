"""GPT-2: names of openai/gpt-2, and the models of transformers, whose linear layers keep TensorFlow's order of axes."""

from __future__ import annotations

from ..mapping.rules import Rule, Tied
from . import encoders
from .network import Network, Part, RuleTable, Shapes, choose_heads, count_numbers
from .settings import Settings
from .targets import Targets

_PARTS = (Part(name="words", model="GPT2LMHeadModel"), Part(name="model", model="GPT2Model"))


def _describe(shapes: Shapes, settings: Settings, part: Part) -> None:
    words, width = shapes["model/wte"]
    settings.measure("vocab_size", words, "model/wte", key="n_vocab")
    settings.measure("n_positions", shapes["model/wpe"][0], "model/wpe", key="n_ctx")
    settings.measure("n_embd", width, "model/wte")
    layers = count_numbers(shapes, "model/h{n}/attn/c_attn/w")
    settings.measure("n_layer", layers, f"model/h{layers - 1}/…")
    settings.measure("n_inner", shapes["model/h0/mlp/c_fc/w"][-1], "model/h0/mlp/c_fc/w")
    choose_heads(settings, width, "n_head")
    settings.decide("activation_function", "gelu_new", "the code's gelu is the tanh approximation")
    settings.decide("layer_norm_epsilon", 1e-5, "the code's norm")
    for name in ("bos_token_id", "eos_token_id"):
        settings.decide(name, words - 1, "the code's end of a text is the last word")
    settings.decide("tie_word_embeddings", True, "the code's output layer")


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    prefix = "" if part.name == "model" else "transformer."
    width, inner = settings["n_embd"], settings["n_inner"]

    def add(name: str, inputs: int, outputs: int) -> None:
        targets.tensor(f"{name}.weight", inputs, outputs)
        targets.tensor(f"{name}.bias", outputs)

    targets.embedding(f"{prefix}wte", settings["vocab_size"], width)
    targets.embedding(f"{prefix}wpe", settings["n_positions"], width)
    for number in range(settings["n_layer"]):
        layer = f"{prefix}h.{number}"
        targets.norm(f"{layer}.ln_1", width)
        add(f"{layer}.attn.c_attn", width, 3 * width)
        add(f"{layer}.attn.c_proj", width, width)
        targets.norm(f"{layer}.ln_2", width)
        add(f"{layer}.mlp.c_fc", width, inner)
        add(f"{layer}.mlp.c_proj", inner, width)
    targets.norm(f"{prefix}ln_f", width)
    if part.name == "words":
        targets.tensor("lm_head.weight", settings["vocab_size"], width)
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    prefix = "" if part.name == "model" else "transformer."
    return RuleTable(
        (
            Rule("model/{table}", f"{prefix}{{table}}.weight"),
            Rule("model/h{n}/{norm}/{kind}", f"{prefix}h.{{n}}.{{norm}}.{{kind}}"),
            Rule("model/ln_f/{kind}", f"{prefix}ln_f.{{kind}}"),
            Rule("model/h{n}/{block}/{layer}/w", f"{prefix}h.{{n}}.{{block}}.{{layer}}.weight", "1IO -> IO"),
            Rule("model/h{n}/{block}/{layer}/b", f"{prefix}h.{{n}}.{{block}}.{{layer}}.bias"),
        ),
        tied=(Tied("lm_head.weight", "transformer.wte.weight"),),
        ignores=encoders.COUNTERS,
        words={
            "table": {"wte": "wte", "wpe": "wpe"},
            "norm": {"ln_1": "ln_1", "ln_2": "ln_2"},
            "block": {"attn": "attn", "mlp": "mlp"},
            "kind": {"g": "weight", "b": "bias"},
        },
    )


GPT2 = Network(
    name="gpt2",
    title="GPT-2",
    code="openai/gpt-2",
    library="transformers",
    model_type="gpt2",
    stem="model/wte",
    anchors=("model/wpe", "model/h0/attn/c_attn/w", "model/h0/mlp/c_fc/w"),
    parts=_PARTS,
    files=("hparams.json",),
    vocabulary={"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"},
    describe=_describe,
    list_targets=_list_targets,
    build_rules=_build_rules,
)
