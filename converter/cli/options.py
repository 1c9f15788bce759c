"""Options that several verbs share."""

from __future__ import annotations

import argparse

from ..errors import RulesError


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which network a checkpoint holds where the checkpoint does not."""
    parser.add_argument(
        "--strides",
        metavar="1,2,2,1",
        type=_strides,
        help="stride of each stage, for a network that is not published and has no graph (.meta) beside it",
    )
    parser.add_argument(
        "--scope",
        metavar="NAME",
        help="what the network's names begin with, where several networks share a checkpoint",
    )
    parser.add_argument(
        "--head",
        metavar="NAME",
        help="dense layer beside the network that is its classifier, by its name or path",
    )


def add_rules_options(parser: argparse.ArgumentParser) -> None:
    """Add what converts a network of any other kind."""
    parser.add_argument(
        "--rules", metavar="RULES.toml", help="rules of your own, for a network that is no EfficientNet"
    )
    parser.add_argument(
        "--into",
        metavar="MODULE:FACTORY",
        help="PyTorch module that rules fill, such as encoder:build; it is imported from the current folder as well",
    )


def require_one_way(options: argparse.Namespace) -> None:
    """Refuse options that say what an EfficientNet is together with rules of the user's own."""
    if options.rules is None and options.into is None:
        return
    given = {"--strides": options.strides, "--scope": options.scope, "--head": options.head}
    if getattr(options, "model", "auto") != "auto":
        given["--model"] = options.model
    given["--golden"] = getattr(options, "golden", None)
    mixed = ", ".join(name for name, value in given.items() if value is not None)
    if mixed:
        raise RulesError(f"{mixed} cannot go with --rules or --into: they say what an EfficientNet is")


def _strides(text: str) -> tuple[int, ...]:
    try:
        strides = tuple(int(part) for part in text.split(","))
    except ValueError:
        strides = ()
    if not strides or min(strides) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of strides such as 1,2,2,1")
    return strides
