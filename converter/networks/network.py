"""A network of another code base: how it is recognized, and how its names become those of a PyTorch module."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ..errors import Shape
from ..mapping.rules import Constant, Ignore, Rule, RuleSet, Tied
from .settings import Settings
from .targets import Targets

#: Name after the scope -> shape, of all variables under a scope.
Shapes: TypeAlias = Mapping[str, Shape]

BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
LAYER_NORM = {"gamma": "weight", "beta": "bias"}
COUNTERS = (Constant("{layer...}.num_batches_tracked", 0, "int64", "TensorFlow does not count batches"),)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A PyTorch model that a checkpoint of a network contains, with the name of its class.

    `needs` are variables, after the scope, without which the checkpoint does not contain it.
    `others` are patterns of variables of other parts, with what they are.
    """

    name: str
    model: str
    needs: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RuleTable:
    """The rules of a part, without scope."""

    rules: tuple[Rule, ...]
    tied: tuple[Tied, ...] = ()
    constants: tuple[Constant, ...] = ()
    ignores: tuple[Ignore, ...] = ()
    words: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of a code base, and the library whose modules compute it: `transformers`, or `converter` for our own.

    `stem` is the variable, after the scope, that a scope is found by; all `anchors` must exist for recognition.
    `parts` are tried in order, and the first that a checkpoint contains is the default, unless `must_choose`.
    `files` are names of files with settings that are saved with a checkpoint.
    `vocabulary` maps names of files saved with a checkpoint to the library's names.
    `describe` finds out the settings, `list_targets` lists the tensors for them, `build_rules` returns the rules.
    `name_model` returns the model's class and type if they depend on the settings.
    """

    name: str
    title: str
    code: str
    library: str
    model_type: str
    stem: str
    anchors: tuple[str, ...]
    parts: tuple[Part, ...]
    must_choose: bool = False
    files: tuple[str, ...] = ()
    vocabulary: Mapping[str, str] = dataclasses.field(default_factory=dict)
    version: str = "1"
    describe: Callable[[Shapes, Settings, Part], None]
    list_targets: Callable[[Settings, Part], Targets]
    build_rules: Callable[[Settings, Part], RuleTable]
    name_model: Callable[[Settings, Part], tuple[str, str]] | None = None

    def find_scope(self, name: str) -> str | None:
        """Return the scope of a network whose stem has this name, or None."""
        return name.removesuffix(self.stem) if name == self.stem or name.endswith("/" + self.stem) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Recognized:
    """A network in a checkpoint: which part of it is converted, its scope, its settings, and the rules.

    `others` are the parts that the checkpoint contains too.
    """

    network: Network
    part: Part
    scope: str
    settings: Settings
    rules: RuleSet
    targets: Mapping[str, Shape]
    others: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The name of the model's class."""
        return self._names[0]

    @property
    def model_type(self) -> str:
        """The library's name of the network."""
        return self._names[1]

    @property
    def _names(self) -> tuple[str, str]:
        name_model = self.network.name_model
        return (
            (self.part.model, self.network.model_type) if name_model is None else name_model(self.settings, self.part)
        )


def count_numbers(shapes: Shapes, pattern: str) -> int:
    """Return the number after the largest that occurs at `{n}` in names with this pattern, literal otherwise."""
    before, _, after = pattern.partition("{n}")
    expression = re.compile(re.escape(before) + r"([0-9]{1,6})" + re.escape(after))
    numbers = [int(match[1]) for name in shapes if (match := expression.fullmatch(name)) is not None]
    return min(max(numbers, default=-1) + 1, len(shapes))  # a number alone does not claim a million layers


def number(count: int, *, first: int = 0, form: str = "{}") -> dict[str, str]:
    """Return words that map numbers, in a form such as `{:03}`, beginning with `first`, to those from 0."""
    return {form.format(first + position): str(position) for position in range(count)}


def choose_heads(settings: Settings, width: int, name: str = "num_attention_heads", key: str | None = None) -> None:
    """Set the number of heads: that of the file, or that of the published networks, a head for 64 channels."""
    heads = settings.read(name, width // 64, "published networks: width / 64", key=key)
    if settings.is_from_file(name):
        if heads < 1 or width % heads:
            settings.contradict(name, str(heads), f"a divisor of {width}", "the width of the layers")
    elif width % 64 or not width:
        settings.contradict(name, "unknown", "a number", f"no file in the checkpoint's folder, and width {width}")


def ignore_others(parts: Sequence[tuple[str, str]]) -> tuple[Ignore, ...]:
    """Return ignores for variables of other parts."""
    return tuple(Ignore(pattern, reason) for pattern, reason in parts)
