"""What a caller says about a network, and what a code base has by default, where no graph shows it.

A graph decides. What a caller says has to agree with it, as strides have to, so that a graph of another network is
found and nobody relies on an option that was ignored.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ..model.config import ACTIVATIONS, Activation, EfficientNetConfig
from .graph_facts import GraphFacts


class Defaults(NamedTuple):
    """The settings of a code base, None for those of the published networks with the same shapes.

    `strides` has one for each stage, and `gate_activation` is the activation inside squeeze-and-excitation.
    """

    strides: tuple[int, ...] | None = None
    activation: Activation | None = None
    gate_activation: Activation | None = None


#: Of code that builds the published networks.
NO_DEFAULTS = Defaults()


class Setting(NamedTuple):
    """A configuration with settings, and what is said about them."""

    config: EfficientNetConfig
    evidence: tuple[str, ...]


def check_options(activation: str | None, epsilon: float | None) -> None:
    """Raise `ValueError` for an activation that no network has, and for an epsilon that is not from 0 to 1."""
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
    is_number = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool)
    if epsilon is not None and not (is_number and 0 < epsilon < 1):
        raise ValueError(f"epsilon is {epsilon!r}, expected a number between 0 and 1")


def apply_activation(
    config: EfficientNetConfig,
    activation: Activation | None,
    defaults: Defaults,
    *,
    graph: GraphFacts | None,
    in_graph: bool,
) -> Setting:
    """Set the activation that a caller says, or else the code's default if the graph does not show it.

    The activation in the configuration of a Keras file decides like a graph.
    Raises `UnknownModelError` if the graph or the configuration shows another one.
    """
    configured = None if graph is None else graph.configured
    if in_graph and graph is not None:
        own = dict.fromkeys((config.activation, *(stage.activation or config.activation for stage in config.stages)))
        if activation is not None and list(own) != [activation]:
            raise graph.contradict(f"the activation is {activation}", " and ".join(own))
        return Setting(config, ())
    if graph is not None and configured is not None and activation not in (None, configured):
        raise graph.contradict(f"the activation is {activation}", configured)
    chosen = configured or activation or defaults.activation
    if chosen is None:
        return Setting(config, ())
    said = "as specified" if activation is not None else "the default of this code"
    said = said if configured is None else "from the configuration"
    stages = tuple(dataclasses.replace(stage, activation=None) for stage in config.stages)
    inner = None if defaults.gate_activation == chosen else defaults.gate_activation
    changed = dataclasses.replace(config, activation=chosen, stages=stages, gate_activation=inner)
    return Setting(changed, (f"activation {chosen}, {said}",))


def apply_epsilon(config: EfficientNetConfig, epsilon: float | None, *, graph: GraphFacts | None) -> Setting:
    """Set the epsilon that a caller says; raise `UnknownModelError` if the graph or a configuration shows another."""
    if epsilon is None:
        return Setting(config, ())
    if graph is not None and graph.epsilons:
        if epsilon != config.bn_epsilon:
            raise graph.contradict(f"the epsilon is {epsilon:g}", f"{config.bn_epsilon:g}")
        return Setting(config, ())
    return Setting(dataclasses.replace(config, bn_epsilon=float(epsilon)), (f"epsilon {epsilon:g}, as specified",))
