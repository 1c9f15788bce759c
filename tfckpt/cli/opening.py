"""How every verb opens what the user names: the options for it, and the notes that are said."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..limits import Limits
from . import render

PATH_HELP = "prefix, member file, folder, archive or address of a checkpoint"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a checkpoint is opened."""
    add_limit_option(parser.add_argument_group("opening"))


def add_limit_option(parser: argparse._ActionsContainer) -> None:
    """Add what raises limits."""
    parser.add_argument(
        "--limit",
        metavar="NAME=VALUE",
        type=parse_limit,
        action="append",
        default=[],
        help="raise a limit that an error named, for a file you trust; may be repeated",
    )


class RaisedLimit(NamedTuple):
    """A limit of `tfckpt.Limits` by its name, and the value it gets."""

    name: str
    value: int

    def __str__(self) -> str:
        """As it is given."""
        return f"{self.name}={self.value}"


def parse_limit(text: str) -> RaisedLimit:
    """The name of a limit and its value."""
    name, _, value = text.partition("=")
    names = [field.name for field in dataclasses.fields(Limits)]
    if name not in names:
        raise argparse.ArgumentTypeError(f"{name!r} is no limit; there are {', '.join(names)}")
    if not value.isascii() or not value.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} has no number, as in {name}=1000000")
    return RaisedLimit(name, int(value))


@contextlib.contextmanager
def opened(path: str, options: argparse.Namespace) -> Iterator[Checkpoint]:
    """An open checkpoint, after what a person should know about how it was found."""
    with open_checkpoint(path, limits=limits_of(options)) as checkpoint:
        for note in checkpoint.notes:
            render.say(note)
        yield checkpoint


def limits_of(options: argparse.Namespace) -> Limits:
    """The limits, with those that were raised."""
    return Limits(**dict(options.limit))
