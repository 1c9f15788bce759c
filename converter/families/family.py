"""A family: one way of naming the variables of an EfficientNet, with its rule table and what recognising it takes.

The engine that applies a table and the recogniser that reads shapes know no family;
a family is all that differs between the released code's names, its objects' paths, and Keras's layers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence

from ..mapping.rules import Constant, Ignore, Names, Rule, RuleSet
from ..model.config import EfficientNetConfig
from ..model.names import FORMS, form_of
from .averages import variable_of
from .description import Anatomy
from .variables import SourceVariable, duplicates

BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}

CONSTANTS = (
    Constant(
        "{layer...}.bn.num_batches_tracked",
        0,
        "int64",
        "PyTorch counts batches there; TensorFlow does not, and inference does not read it",
    ),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One way of naming.

    `names` says which of a variable's names the table reads.
    `containers` is for full names that are only unique within the object that holds the layers: where one occurs twice
    in a checkpoint, every name gets its container's path before it.
    `own` matches the beginning of names, without scope, that belong to a network; others stand beside it.
    `classifier` is the name of the dense layer at the end.
    `block_ids` gives the ids that the blocks of a config have in names.
    `version` is raised by one whenever a rule changes, so that an output tells which table made it.
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

    def named(self, variables: Iterable[SourceVariable]) -> list[tuple[str, SourceVariable]]:
        """Give every variable with the name this family's table reads."""
        pairs = [(variable.name(self.names), variable) for variable in variables]
        if self.containers and duplicates(name for name, _ in pairs):
            pairs = [(_container(variable.path) + name, variable) for name, variable in pairs]
        return pairs

    def scope_of(self, name: str) -> str | None:
        """Give the scope of the network whose stem this variable is, None when it is no stem."""
        variable, stem = variable_of(name), self.anatomy.stem
        if variable == stem or variable.endswith("/" + stem):
            return variable.removesuffix(stem)
        return None

    def owns(self, name: str, scope: str) -> bool:
        """Tell whether a variable belongs to the network under a scope, or stands beside it."""
        return name.startswith(scope) and self.own.match(name, len(scope)) is not None

    def rule_set(self, config: EfficientNetConfig, scope: str, ids: Sequence[str] | None = None) -> RuleSet:
        """Write the table for one network; `ids` are those of its blocks in names, where they are not the usual."""
        return RuleSet(
            name=self.name,
            version=self.version,
            names=self.names,
            scope=scope,
            rules=self.rules,
            ignores=self.ignores,
            constants=CONSTANTS,
            words={**words_of(config, ids or self.block_ids(config)), "bn": BATCH_NORM},
        )


def words_of(config: EfficientNetConfig, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Say where each block stands in our module: `block` has all of them, and each form's word those of that form.

    ::

        form        block                        layers, in order
        fused1      fused MBConv, expansion 1    project (k×k)
        fused       fused MBConv                 expand (k×k), project (1×1)
        mbconv1     MBConv, expansion 1          depthwise, project (1×1)
        mbconv      MBConv                       expand (1×1), depthwise, project (1×1)

    Each convolution is followed by its batch norm; squeeze-excite stands before the projection.
    """
    words: dict[str, dict[str, str]] = {form: {} for form in (*FORMS, "block")}
    for block_id, placed in zip(ids, config.blocks(), strict=True):
        place = f"{placed.stage}.{placed.position}"
        words[form_of(placed.config)][block_id] = place
        words["block"][block_id] = place
    return words


def flat_ids(config: EfficientNetConfig) -> list[str]:
    """Number the blocks over all stages."""
    return [str(placed.flat_index) for placed in config.blocks()]


def flat_order(ids: Iterable[str]) -> list[str]:
    """Give all numbers up to the largest."""
    return [str(number) for number in range(max(map(int, ids), default=-1) + 1)]


def _container(path: str) -> str:
    """Give the path of what holds a variable's layer, with a slash after it."""
    parts = path.split("/")[:-2]
    return "".join(part + "/" for part in parts)
