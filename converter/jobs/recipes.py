"""Recipes: how each target of a conversion gets its values, as data that a worker needs nothing else for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from tfckpt import Checkpoint
from tfckpt.tensors.dtypes import data_type_named

from .._typing import Array
from ..conversion import ConversionPlan
from ..errors import Shape
from ..formats.output import LazyArray
from ..mapping.constants import fill
from ..mapping.layout import get_layout
from ..mapping.moves import Move, group_by_target, join_target


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """A target's shape and dtype, and the moves that fill it, or a constant if there are none."""

    shape: Shape
    dtype: str
    moves: tuple[Move, ...] = ()
    constant: float | tuple[float, ...] = 0.0

    @property
    def source(self) -> str | None:
        """The tensor whose elements in C order are those of the target; None if they are not."""
        if len(self.moves) != 1:
            return None
        move = self.moves[0]
        is_whole = move.source_part is None and move.target_part is None
        return move.source if is_whole and get_layout(move.layout).rank is None else None


def list_recipes(planned: ConversionPlan) -> dict[str, Recipe]:
    """Return the recipe of each target of a conversion, in the order of the targets."""
    dtypes = {record.source: record.dtype for record in planned.report.tensors}
    recipes = {}
    for target, moves in group_by_target(planned.plan.moves).items():
        kinds = [data_type_named(dtypes[move.source]).to_numpy() for move in moves]
        recipes[target] = Recipe(planned.targets[target], np.result_type(*kinds).name, tuple(moves))
    for constant in planned.plan.constants:
        recipes[constant.target] = Recipe(planned.targets[constant.target], constant.dtype, constant=constant.value)
    for tie in planned.plan.tied:
        recipes[tie.target] = recipes[tie.to]
    return {target: recipes[target] for target in planned.targets}


def list_sources(recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the source tensors of some targets, each once, in the order in which they are read."""
    return list(dict.fromkeys(move.source for recipe in recipes.values() for move in recipe.moves))


def follow(recipes: Mapping[str, Recipe], checkpoint: Checkpoint) -> dict[str, LazyArray]:
    """Return tensors that are computed when they are written; one tensor of the checkpoint is kept for the next."""
    read = functools.lru_cache(1)(checkpoint.reader.read)
    return {name: _follow_one(recipe, checkpoint, read) for name, recipe in recipes.items()}


def _follow_one(recipe: Recipe, checkpoint: Checkpoint, read: Callable[[str], Array]) -> LazyArray:
    iterate: Callable[[], Iterable[Array]] | None = None
    if recipe.source is not None:
        iterate = functools.partial(checkpoint.reader.iterate_values, recipe.source)
    dtype = data_type_named(recipe.dtype).to_numpy()
    return LazyArray(recipe.shape, dtype, functools.partial(_make, recipe, read), iterate)


def _make(recipe: Recipe, read: Callable[[str], Array]) -> Array:
    if not recipe.moves:
        return fill(recipe.shape, recipe.constant, recipe.dtype)
    return join_target([(move, move.apply(read(move.source))) for move in recipe.moves])
