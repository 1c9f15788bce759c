"""Networks of ready families as subjects: modules of our own, and those of transformers.

An image network takes `image` and returns `logits`. A network of words takes and returns what the library names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .subject import Argument, NamedAxis, Subject, make_double, wrap_forward

IMAGE = "image"
LOGITS = "logits"

#: The side of the images that slim trains its networks with (`default_image_size`).
_SIZES = {
    "ResNet": 224,
    "InceptionV3": 299,
    "MobileNetV1ForImageClassification": 224,
    "MobileNetV2ForImageClassification": 224,
}
#: The inputs of a network of words that a program takes, in order, and their second axis.
_LENGTH = NamedAxis("length")
_WORDS = {
    "input_ids": _LENGTH,
    "attention_mask": _LENGTH,
    "token_type_ids": _LENGTH,
    "decoder_input_ids": NamedAxis("decoder_length", turn=1),
}
#: Outputs that only a library's own loops need.
_LEFT_OUT = frozenset({"past_key_values", "hidden_states", "attentions"})
_EXAMPLE = (2, 8)


def make_family_subject(module: nn.Module, title: str, metadata: Mapping[str, str]) -> Subject:
    """Return the module of a ready network, which `load_network` returned, as a subject."""
    size = _SIZES.get(type(module).__name__)
    arguments = _list_words(module) if size is None else [_describe_image(module)]
    names = {argument.name: "pixel_values" if argument.name == IMAGE else argument.name for argument in arguments}
    library: Any = module
    config = getattr(library, "config", None)
    if config is None:
        outputs: tuple[str, ...] = (LOGITS,)
        wrapped = wrap_forward(module, list(names))
        return Subject(
            kind="network",
            title=title,
            module=wrapped,
            make_exact=lambda: wrap_forward(make_double(module), list(names)),
            arguments=tuple(arguments),
            outputs=outputs,
            size=size,
            metadata=metadata,
        )
    config.use_cache = False
    if size is None:
        # One fused operation has other values for a word that sees no word, and torch.onnx cannot write it for T5.
        library.set_attn_implementation("eager")
    example = [torch.zeros(_EXAMPLE if size is None else (1, arguments[0].shape[1] or 3, size, size)) for _ in names]
    with torch.inference_mode():
        values = dict(zip(names.values(), example, strict=True))
        found = module(**{name: value if size is not None else value.long() for name, value in values.items()})
    outputs = tuple(name for name, value in found.items() if isinstance(value, Tensor) and name not in _LEFT_OUT)
    return Subject(
        kind="network",
        title=title,
        module=_pick_outputs(module, names, outputs),
        make_exact=lambda: _pick_outputs(make_double(module), names, outputs),
        arguments=tuple(arguments),
        outputs=outputs,
        by_name=size is None,
        size=size,
        metadata=metadata,
    )


def _describe_image(module: nn.Module) -> Argument:
    kernel = next(parameter for parameter in module.parameters() if parameter.ndim == 4)
    return Argument(name=IMAGE, dtype=torch.float32, shape=(None, kernel.shape[1], None, None), sides=(2, 3))


def _list_words(module: nn.Module) -> list[Argument]:
    """Return the inputs of a network of words: those of its `forward` that `_WORDS` has."""
    config: Any = module.config
    parameters = inspect.signature(module.forward).parameters
    bounds = {"attention_mask": 2, "token_type_ids": getattr(config, "type_vocab_size", 1)}
    return [
        Argument(
            name=name,
            dtype=torch.int64,
            shape=(None, None),
            axes={1: axis._replace(most=getattr(config, "max_position_embeddings", None))},
            bound=bounds.get(name, config.vocab_size),
        )
        for name, axis in _WORDS.items()
        # Decoders alone take the segments of a word as a second word.
        if name in parameters and (name != "token_type_ids" or hasattr(config, "type_vocab_size"))
    ]


def _pick_outputs(module: nn.Module, names: Mapping[str, str], outputs: Sequence[str]) -> nn.Module:
    """Return a module whose arguments are the keys of `names`, and whose result has only these outputs."""

    def call(values: Sequence[Any]) -> Any:
        result = inner(**dict(zip(names.values(), values, strict=True)))
        return {name: result[name] for name in outputs}

    inner = module.forward
    return wrap_forward(module, list(names), call=call)
