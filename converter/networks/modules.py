"""The PyTorch module of a ready network: our own, or that of its library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfckpt.errors import CorruptionError, MissingDependencyError, printable

if TYPE_CHECKING:
    from torch import nn

#: Models of our own, which take settings by name.
_OWN = ("ResNet", "InceptionV3")


def build_module(model: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a module with random weights, in eval mode; `config` is that of `ReadyNetwork.build_config`.

    Raises `MissingDependencyError` if torch or the library is not installed, `CorruptionError` for another config.
    """
    try:
        return (_build_own if model in _OWN else _build_transformers)(model, config).eval()
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:  # what a config can cause
        raise CorruptionError(f"no {printable(model)} can be built: {type(error).__name__}: {error}") from error


def _build_own(model: str, config: Mapping[str, Any]) -> nn.Module:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError("torch", extra="torch", purpose="building a model") from error
    settings = {name: value for name, value in config.items() if name not in ("architectures", "model_type", "dtype")}
    if model == "ResNet":
        from ..model.resnet import ResNet

        return ResNet(**settings)
    from ..model.inception import InceptionV3

    return InceptionV3(**settings)


def _build_transformers(model: str, config: Mapping[str, Any]) -> nn.Module:
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise MissingDependencyError("torch", extra="torch", purpose="building a model") from error
        raise MissingDependencyError("transformers", extra="transformers", purpose=f"building {model}") from error
    settings = dict(config)
    try:
        build: Any = getattr(transformers, model)
    except ImportError as error:  # a package that it needs does not match it, such as torchvision
        purpose, reason = f"building {model}", _find_reason(error)
        raise MissingDependencyError("transformers", extra="transformers", purpose=purpose, reason=reason) from error
    kind = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    module: nn.Module = build(kind)
    return module


def _find_reason(error: BaseException) -> str:
    """Return the first line of the exception that led to this one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]
