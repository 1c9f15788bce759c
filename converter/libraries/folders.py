"""Text files saved with the weights in a directory that the target's loader opens: config, preprocessing and labels.

::

    target                  files saved with the weights (model.safetensors, or shards and their index)
    timm                    config.json, for timm.create_model("local-dir:FOLDER")
    transformers            config.json, preprocessor_config.json, for from_pretrained("FOLDER")
    all                     preprocessing.json, labels.txt, proof.json
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from tfckpt.files.json_text import read_json

from ..images.labels import make_unique
from ..images.recipes import CROP_PADDING, Preprocessing
from ..model.architectures import CONFIGS, V1_SCALING
from ..model.config import EfficientNetConfig
from .models import TargetName
from .targets import find_input_size, list_odd_blocks

STEM = "model"
PREPROCESSING_NAME = "preprocessing.json"
LABELS_NAME = "labels.txt"
PROOF_NAME = "proof.json"
#: Files of such a directory; replacing the directory may remove them.
REPLACEABLE = re.compile(
    r"config\.json|vocab\.txt|vocab\.json|merges\.txt|spiece\.model|30k-clean\.vocab|tokenizer_config\.json"
    r"|preprocessor_config\.json|preprocessing\.json|labels\.txt|proof\.json"
    r"|_tfckpt"  # records of a job
    r"|model\.safetensors|model-[0-9]{5}-of-[0-9]{5}\.safetensors|model\.safetensors\.index\.json"
)

#: Largest `config.json` that is read.
_MAX_BYTES = 1 << 20
#: Pillow's numbers for the two methods, as used by transformers.
_RESAMPLE = {"bilinear": 2, "legacy-bicubic": 3}
_NO_LABEL = "LABEL_"


def build_text_files(
    target: TargetName,
    config: EfficientNetConfig | None,
    *,
    model: str | None,
    dtype: str,
    preprocessing: Preprocessing | None,
    labels: Sequence[str] | None,
) -> dict[str, str]:
    """Return name -> content of the text files to save with the weights.

    `model` is the target's name for the network, and `dtype` the dtype of the weights.
    """
    files: dict[str, str] = {}
    if preprocessing is not None:
        files[PREPROCESSING_NAME] = preprocessing.to_json()
    if labels is not None:
        files[LABELS_NAME] = "".join(f"{label}\n" for label in labels)
    if config is not None and target == "timm":
        files["config.json"] = _dump_json(_build_timm_config(config, model, preprocessing, labels))
    elif config is not None and target == "transformers":
        files["config.json"] = _dump_json(_build_transformers_config(config, dtype, preprocessing, labels))
        if preprocessing is not None:
            files["preprocessor_config.json"] = _dump_json(_build_transformers_preprocessor(preprocessing))
    return files


def read_architecture(folder: str) -> str | None:
    """Return the model that timm's `config.json` in a folder names, or None."""
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            config = read_json(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return None
    architecture = config.get("architecture") if isinstance(config, dict) else None
    return architecture if isinstance(architecture, str) else None


def _build_timm_config(
    config: EfficientNetConfig, model: str | None, preprocessing: Preprocessing | None, labels: Sequence[str] | None
) -> dict[str, Any]:
    """Return the `config.json` of timm."""
    size = find_input_size(config, preprocessing)
    pretrained: dict[str, Any] = {
        "architecture": model,
        "custom_load": False,
        "input_size": [config.in_channels, size, size],
        "fixed_input_size": False,
        "num_classes": config.num_classes,
        "pool_size": None,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }
    if preprocessing is not None:
        shared = preprocessing.to_dict()
        exact = shared.pop("exact")
        shared.pop("input_size")
        pretrained.update(shared)
        pretrained["notes"] = [f"exact preprocessing: {json.dumps(exact)}"]
    if labels is not None:
        pretrained["label_names"] = list(labels)
    record = {
        "architecture": model,
        "num_classes": config.num_classes,
        "num_features": config.head_channels,
        "pretrained_cfg": pretrained,
    }
    return record if config.in_channels == 3 else {**record, "model_args": {"in_chans": config.in_channels}}


def _build_transformers_config(
    config: EfficientNetConfig, dtype: str, preprocessing: Preprocessing | None, labels: Sequence[str] | None
) -> dict[str, Any]:
    """Return the `EfficientNetConfig` of transformers."""
    size = find_input_size(config, preprocessing)
    base, width, depth = _find_scaling(config)
    # The ids of equal labels would overwrite each other.
    names = make_unique(labels) if labels else [f"{_NO_LABEL}{number}" for number in range(config.num_classes)]
    return {
        "architectures": ["EfficientNetForImageClassification"],
        "model_type": "efficientnet",
        "num_channels": config.in_channels,
        "image_size": size,
        "width_coefficient": width,
        "depth_coefficient": depth,
        "depth_divisor": 8,
        "kernel_sizes": [stage.kernel for stage in base.stages],
        "in_channels": [stage.in_channels for stage in base.stages],
        "out_channels": [stage.out_channels for stage in base.stages],
        "depthwise_padding": list_odd_blocks(config, size),
        "strides": [stage.stride for stage in base.stages],
        "num_block_repeats": [stage.repeats for stage in base.stages],
        "expand_ratios": [stage.expansion for stage in base.stages],
        "squeeze_expansion_ratio": 0.25,
        "hidden_act": "swish",
        "hidden_dim": config.head_channels,
        "pooling_type": "mean",
        "batch_norm_eps": config.bn_epsilon,
        "batch_norm_momentum": config.bn_momentum,
        "dropout_rate": config.dropout,
        "drop_connect_rate": config.drop_path,
        "id2label": {str(number): label for number, label in enumerate(names)},
        "label2id": {label: number for number, label in enumerate(names)},
        "dtype": dtype,
    }


def _build_transformers_preprocessor(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the settings of transformers' `EfficientNetImageProcessor`.

    It resizes like Pillow or torchvision, with antialiasing, and crops afterwards to the same center square.
    """
    size = {"height": preprocessing.size, "width": preprocessing.size}
    has_crop = preprocessing.crop != "none"
    return {
        "image_processor_type": "EfficientNetImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": preprocessing.size + CROP_PADDING} if has_crop else size,
        "resample": _RESAMPLE[preprocessing.resize],
        "do_center_crop": has_crop,
        "crop_size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "rescale_offset": False,
        "do_normalize": True,
        "image_mean": [value / 255 for value in preprocessing.mean],
        "image_std": [value / 255 for value in preprocessing.std],
        "include_top": False,
    }


def _find_scaling(config: EfficientNetConfig) -> tuple[EfficientNetConfig, float, float]:
    """Return the base network of version 1, and the width and depth factors of a network."""
    width, depth = V1_SCALING[config.name]
    return CONFIGS["efficientnet-b0"], width, depth


def _dump_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
