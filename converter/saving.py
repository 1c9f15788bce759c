"""Writing a network, such as a fine-tuned one, with its configuration, so that loading it needs no options."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfckpt.errors import pluralize, printable

from ._typing import Array, PathLike, Progress
from .errors import ExportError
from .formats.files import Output, check_output, is_folder_name, write_output
from .formats.pth import to_array
from .images.labels import check_labels
from .images.recipes import Preprocessing
from .loading import check_tensors
from .model.config import EfficientNetConfig
from .preprocessing import ReleaseLike, preprocessing_of

if TYPE_CHECKING:
    from torch import nn

    from .model.efficientnet import EfficientNet

#: The attributes under which `DataParallel`, averaged models and `torch.compile` hold the network.
_WRAPPERS = ("module", "_orig_mod")


def save_model(
    model: nn.Module,
    path: PathLike,
    *,
    preprocessing: ReleaseLike | None = None,
    labels: Sequence[str] | None = None,
    shard_size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write an `EfficientNet` with its configuration, for `load_model`, `revert`, `tf2torch bench` and `evaluate`.

    `path` ends in `.safetensors` or `.npz`, or has no ending and becomes a folder; `.pth` has no place for the
    configuration. `preprocessing` is a release or settings, as in `preprocess`, and is written with the weights, as are
    the `labels` of the classes. The other options are those of `export`.
    Wrappers such as `DataParallel` and `torch.compile` are left out. A classifier that was replaced by another linear
    layer may have any number of classes.

    Raises `TypeError` for other modules, `ExportError` if the output cannot be written, and `MappingError` if the
    module was changed so that its tensors are not those of its configuration.
    """
    network = _unwrap(model)
    check_output(path, force=force, shard_size=shard_size)
    if not is_folder_name(path) and os.fspath(path).lower().endswith(".pth"):
        raise ExportError("a .pth file has no place for the network's configuration: use .safetensors", path=str(path))
    arrays = {name: _to_array(name, tensor) for name, tensor in network.state_dict().items()}
    config = _count_classes(network.config, arrays)
    check_tensors(arrays, config)
    if labels is not None:
        check_labels(labels)
        if len(labels) != config.num_classes:
            classes = pluralize(config.num_classes, "class")
            raise ExportError(f"{pluralize(len(labels), 'label')} for a network of {classes}")
    if preprocessing is not None and not isinstance(preprocessing, Preprocessing):
        preprocessing = preprocessing_of(preprocessing)
    output = Output(
        tensors=arrays,
        config=config,
        report=None,
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
    )
    write_output(output, path, shard_size=shard_size, force=force, progress=progress)


def _unwrap(model: nn.Module) -> EfficientNet:
    """Return the network inside wrappers."""
    from .model.efficientnet import EfficientNet

    inner: object = model
    while not isinstance(inner, EfficientNet):
        following = next((getattr(inner, name) for name in _WRAPPERS if hasattr(inner, name)), None)
        if following is None:
            raise TypeError(f"model is {type(inner).__name__}, expected the EfficientNet of load_model")
        inner = following
    return inner


def _to_array(name: str, tensor: Any) -> Array:
    try:
        array: Array = np.array(to_array(tensor), order="C")
        return array
    except TypeError as error:
        raise ExportError(f"{printable(name)} is {error}") from error


def _count_classes(config: EfficientNetConfig, arrays: Mapping[str, Array]) -> EfficientNetConfig:
    """Return the config with the number of classes that the classifier has; without one the network has none."""
    classifier = arrays.get("classifier.weight")
    return dataclasses.replace(config, num_classes=0 if classifier is None else len(classifier))
