"""Options that several verbs share."""

from __future__ import annotations

import argparse


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


def _strides(text: str) -> tuple[int, ...]:
    try:
        strides = tuple(int(part) for part in text.split(","))
    except ValueError:
        strides = ()
    if not strides or min(strides) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of strides such as 1,2,2,1")
    return strides
