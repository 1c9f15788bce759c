"""T5, T5 1.1 and mT5: names of Mesh TensorFlow's checkpoints, and the models of transformers.

The first T5 uses its embedding as the output layer and relu; 1.1 and mT5 have an output layer and gates with GELU.
"""

from __future__ import annotations

from ..mapping.rules import Ignore, Rule, Tied
from .network import Network, Part, RuleTable, Shapes, number
from .settings import Settings
from .targets import Targets

_FIRST = "encoder/block_000/layer_000/SelfAttention/"
_FEED = "encoder/block_000/layer_001/DenseReluDense/"
_BIAS = f"{_FIRST}relative_attention_bias"
#: mT5 has this many words, and T5 a seventh of them.
_MULTILINGUAL = 250_000
_PARTS = (
    Part(name="model", model="T5ForConditionalGeneration", needs=("decoder/block_000/layer_000/SelfAttention/q",)),
)
#: In layer 0 of a decoder block is self-attention, in layer 1 attention to the encoder, in the last one dense layers.
_SIDES = {
    "encoder": ("SelfAttention", "DenseReluDense"),
    "decoder": ("SelfAttention", "EncDecAttention", "DenseReluDense"),
}


def _describe(shapes: Shapes, settings: Settings, part: Part) -> None:
    words, width = shapes["shared/embedding"]
    settings.measure("vocab_size", words, "shared/embedding", key="none")
    settings.measure("d_model", width, "shared/embedding")
    heads, buckets = shapes[_BIAS] if len(shapes[_BIAS]) == 2 else (0, 0)
    settings.measure("num_heads", heads, _BIAS)
    settings.measure("relative_attention_num_buckets", buckets, _BIAS, key="relative_attention_num_buckets")
    inner = shapes[f"{_FIRST}q"][-1]
    if not heads or inner % heads:
        settings.contradict("num_heads", str(heads), f"a divisor of {inner}", f"shape of {_FIRST}q")
    settings.measure("d_kv", inner // max(heads, 1), f"{_FIRST}q")
    is_gated = f"{_FEED}wi_0/kernel" in shapes
    feed = f"{_FEED}{'wi_0' if is_gated else 'wi'}/kernel"
    settings.measure("d_ff", shapes.get(feed, (0, 0))[-1], feed)
    layers = _count(shapes, "encoder")
    settings.measure("num_layers", layers, f"encoder/block_{layers - 1:03}/…")
    layers = _count(shapes, "decoder")
    settings.measure("num_decoder_layers", layers, f"decoder/block_{layers - 1:03}/…", key="num_decoder_layers")
    kind, reason = ("gated-gelu", "names wi_0 and wi_1") if is_gated else ("relu", "the name wi")
    settings.decide("feed_forward_proj", kind, reason)
    settings.read("dropout_rate", 0.1, "default of the code")
    settings.read("relative_attention_max_distance", 128, "default of the code")
    settings.decide("layer_norm_epsilon", 1e-6, "the code's layer norm")
    is_tied = "decoder/logits/kernel" not in shapes
    settings.decide("tie_word_embeddings", is_tied, f"decoder/logits/kernel is {'missing' if is_tied else 'there'}")
    for name, value in (("pad_token_id", 0), ("eos_token_id", 1), ("decoder_start_token_id", 0)):
        settings.decide(name, value, "the code's vocabulary")


def _count(shapes: Shapes, side: str) -> int:
    return next((n for n in range(1000) if f"{side}/block_{n:03}/layer_000/SelfAttention/q" not in shapes), 0)


def _list_targets(settings: Settings, part: Part) -> Targets:
    targets = Targets()
    width, heads = settings["d_model"], settings["num_heads"]
    inner, feed = settings["d_kv"] * heads, settings["d_ff"]
    targets.embedding("shared", settings["vocab_size"], width)
    for side, kinds in _SIDES.items():
        targets.embedding(f"{side}.embed_tokens", settings["vocab_size"], width)
        for block in range(settings["num_layers" if side == "encoder" else "num_decoder_layers"]):
            for position, kind in enumerate(kinds):
                layer = f"{side}.block.{block}.layer.{position}"
                if kind == "DenseReluDense":
                    names = ("wi_0", "wi_1") if settings["feed_forward_proj"] == "gated-gelu" else ("wi",)
                    for name in names:
                        targets.linear(f"{layer}.{kind}.{name}", width, feed, bias=False)
                    targets.linear(f"{layer}.{kind}.wo", feed, width, bias=False)
                else:
                    for name in ("q", "k", "v"):
                        targets.linear(f"{layer}.{kind}.{name}", width, inner, bias=False)
                    targets.linear(f"{layer}.{kind}.o", inner, width, bias=False)
                    if kind == "SelfAttention" and not block:
                        buckets = settings["relative_attention_num_buckets"]
                        targets.embedding(f"{layer}.{kind}.relative_attention_bias", buckets, heads)
                targets.tensor(f"{layer}.layer_norm.weight", width)
        targets.tensor(f"{side}.final_layer_norm.weight", width)
    targets.linear("lm_head", width, settings["vocab_size"], bias=False)
    return targets


def _build_rules(settings: Settings, part: Part) -> RuleTable:
    block, target = "{side}/block_{n}/layer_{k}/", "{side}.block.{n}.layer.{k}."
    tied = [Tied(f"{side}.embed_tokens.weight", "shared.weight") for side in _SIDES]
    if settings["tie_word_embeddings"]:
        tied.append(Tied("lm_head.weight", "shared.weight"))
    numbers = number(max(settings["num_layers"], settings["num_decoder_layers"], 3), form="{:03}")
    return RuleTable(
        (
            Rule("shared/embedding", "shared.weight"),
            Rule(f"{block}{{attention}}/{{part}}", f"{target}{{attention}}.{{part}}.weight", "dense"),
            Rule(
                f"{block}SelfAttention/relative_attention_bias",
                f"{target}SelfAttention.relative_attention_bias.weight",
                "dense",
            ),
            Rule(f"{block}DenseReluDense/{{feed}}/kernel", f"{target}DenseReluDense.{{feed}}.weight", "dense"),
            Rule(f"{block}{{norm}}/scale", f"{target}{{norm}}.weight"),
            Rule("{side}/{final}/scale", "{side}.{final}.weight"),
            Rule("decoder/logits/kernel", "lm_head.weight", "dense"),
        ),
        tied=tuple(tied),
        ignores=(Ignore("global_step", "training step counter"),),
        words={
            "side": {side: side for side in _SIDES},
            "n": numbers,
            "k": number(3, form="{:03}"),
            "attention": {name: name for name in ("SelfAttention", "EncDecAttention")},
            "part": {name: name for name in "qkvo"},
            "feed": {name: name for name in ("wi", "wi_0", "wi_1", "wo")},
            "norm": {"layer_norm": "layer_norm", "rms_norm": "layer_norm"},
            "final": {"final_layer_norm": "final_layer_norm", "rms_norm": "final_layer_norm"},
        },
    )


def _name_model(settings: Settings, part: Part) -> tuple[str, str]:
    if settings["vocab_size"] >= _MULTILINGUAL:
        return "MT5ForConditionalGeneration", "mt5"
    return part.model, "t5"


T5 = Network(
    name="t5",
    title="T5, T5 1.1, mT5",
    code="google-research/t5 (Mesh TensorFlow)",
    library="transformers",
    model_type="t5",
    stem="shared/embedding",
    anchors=(_BIAS, f"{_FIRST}q", "decoder/block_000/layer_000/SelfAttention/q"),
    parts=_PARTS,
    files=("operative_config.gin",),
    vocabulary={"sentencepiece.model": "spiece.model", "spiece.model": "spiece.model"},
    describe=_describe,
    list_targets=_list_targets,
    build_rules=_build_rules,
    name_model=_name_model,
)
