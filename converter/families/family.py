"""A family: one naming scheme for the variables of an EfficientNet, with its rules and the names to recognize it by.

There are families for the names of the released code, for its object paths and for Keras layers.
Neither the mapping engine nor the recognition knows a particular family.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tfckpt.graphs.object_graph import ObjectGraph

from ..mapping.rules import Constant, Ignore, Names, Rule, RuleSet
from ..model.config import EfficientNetConfig
from ..model.names import FORMS, get_form
from .averages import strip_average
from .description import Anatomy
from .keras_config import KerasLayers
from .variables import SourceVariable, find_duplicates

BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}

CONSTANTS = (
    Constant(
        "{layer...}.bn.num_batches_tracked",
        0,
        "int64",
        "batch counter, which TensorFlow does not have and inference does not read",
    ),
)


class Settings(NamedTuple):
    """Settings of a code base that change a network and not its names and shapes.

    `assumption` says what is assumed if neither a graph nor anything else shows them, as a note.
    `are_shown(names, objects, configured)` returns whether the object graph or the configuration of a Keras file show
    that the assumption is right, and raises `UnknownModelError` if they show that it is wrong; `names` are those of the
    family by the keys of variables.
    """

    assumption: str
    are_shown: Callable[[Mapping[str, str], ObjectGraph | None, KerasLayers | None], bool]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A naming scheme.

    `names` selects which names of a variable the rules match.
    `containers` is True if full names are unique only within the object that contains the layers: if a name occurs
    twice in a checkpoint, every name is prefixed with the path of its container.
    `own` matches the start of names, without scope, that belong to a network; all others are outside the network.
    `classifier` is the name of the last dense layer.
    `block_ids` returns the ids of a config's blocks in names.
    `others` are networks of the same code that we cannot express: what matches the name of one of their variables, with
    or without scope, and what they are.
    `padding` is how the code pads, as far as names do not show it.
    `settings` are those of the code that names and shapes do not show, None if there are none.
    `scopes` are those of the family's networks if the name of a stem does not show where they are, else None.
    `version` is incremented whenever a rule changes; outputs record it.
    """

    name: str
    title: str
    version: str
    names: Names
    containers: bool = False
    anatomy: Anatomy
    own: re.Pattern[str]
    classifier: str
    rules: tuple[Rule, ...]
    ignores: tuple[Ignore, ...]
    block_ids: Callable[[EfficientNetConfig], Sequence[str]]
    others: tuple[tuple[re.Pattern[str], str], ...] = ()
    padding: str = "SAME"
    settings: Settings | None = None
    scopes: tuple[str, ...] | None = None

    def name_variables(self, variables: Iterable[SourceVariable]) -> list[tuple[str, SourceVariable]]:
        """Return every variable with the name that the rules of this family match."""
        pairs = [(variable.name(self.names), variable) for variable in variables]
        if self.containers and find_duplicates(name for name, _ in pairs):
            pairs = [(_get_container(strip_average(variable.path)) + name, variable) for name, variable in pairs]
        return pairs

    def find_scope(self, name: str) -> str | None:
        """Return the scope of a network whose stem has this name, or None if it is not a stem."""
        variable, stem = strip_average(name), self.anatomy.stem
        if variable != stem and not variable.endswith("/" + stem):
            return None
        scope = variable.removesuffix(stem)
        return scope if self.scopes is None or scope in self.scopes else None

    def owns(self, name: str, scope: str) -> bool:
        """Return whether a variable belongs to the network under a scope."""
        return name.startswith(scope) and self.own.match(name, len(scope)) is not None

    def build_rules(self, config: EfficientNetConfig, scope: str, ids: Sequence[str] | None = None) -> RuleSet:
        """Return the rules for a network; `ids` are the ids of its blocks in names, by default those of the config."""
        return RuleSet(
            name=self.name,
            version=self.version,
            names=self.names,
            scope=scope,
            rules=self.rules,
            # what is ignored may be outside the network
            ignores=tuple(dataclasses.replace(ignore, scope="") for ignore in self.ignores) if scope else self.ignores,
            constants=CONSTANTS,
            words={**map_blocks(config, ids or self.block_ids(config)), "bn": BATCH_NORM},
        )


def map_blocks(config: EfficientNetConfig, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Map the id of each block to its path in our module: for all blocks as `block`, and for each form separately.

    ::

        form        block                        layers, in order
        fused1      fused MBConv, expansion 1    project (k×k)
        fused       fused MBConv                 expand (k×k), project (1×1)
        mbconv1     MBConv, expansion 1          depthwise, project (1×1)
        mbconv      MBConv                       expand (1×1), depthwise, project (1×1)

    A batch norm follows each convolution. Squeeze-excite precedes the projection.
    """
    words: dict[str, dict[str, str]] = {form: {} for form in (*FORMS, "block")}
    for block_id, block in zip(ids, config.blocks(), strict=True):
        path = f"{block.stage}.{block.position}"
        words[get_form(block.config)][block_id] = path
        words["block"][block_id] = path
    return words


def number_blocks(config: EfficientNetConfig) -> list[str]:
    """Return the numbers of all blocks, counted across stages."""
    return [str(block.flat_index) for block in config.blocks()]


def fill_numbers(ids: Iterable[str]) -> list[str]:
    """Return all numbers up to the largest."""
    return [str(number) for number in range(max(map(int, ids), default=-1) + 1)]


def _get_container(path: str) -> str:
    """Return the path of the object that contains a variable's layer, with a slash at its end."""
    parts = path.split("/")[:-2]
    return "".join(part + "/" for part in parts)
