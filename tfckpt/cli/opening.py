"""Opening the checkpoint that the user names: the options for it, and the notes about how it was found."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from ..checkpoint import Checkpoint
from ..checkpoint import open as open_path
from ..limits import Limits
from . import render

PATH_HELP = "prefix, member file, folder, archive or address of a checkpoint"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for opening a checkpoint."""
    add_limit_option(parser.add_argument_group("opening"))


def add_limit_option(parser: argparse._ActionsContainer) -> None:
    """Add --limit."""
    parser.add_argument(
        "--limit",
        metavar="NAME=VALUE",
        type=parse_limit,
        action="append",
        default=[],
        help="raise a limit that an error message names, for a file you trust; may be repeated",
    )


class RaisedLimit(NamedTuple):
    """The name of a limit of `tfckpt.Limits`, and its new value."""

    name: str
    value: int

    def __str__(self) -> str:
        """Return it in the form that --limit takes."""
        return f"{self.name}={self.value}"


def parse_limit(text: str) -> RaisedLimit:
    """Parse NAME=VALUE."""
    name, _, value = text.partition("=")
    names = [field.name for field in dataclasses.fields(Limits)]
    if name not in names:
        raise argparse.ArgumentTypeError(f"{name!r} is not a limit; the limits are {', '.join(names)}")
    if not value.isascii() or not value.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} does not have the form {name}=1000000")
    return RaisedLimit(name, int(value))


@contextlib.contextmanager
def open_checkpoint(path: str, options: argparse.Namespace) -> Iterator[Checkpoint]:
    """Open a checkpoint, and say what the user should know about how it was found."""
    with open_path(path, limits=get_limits(options)) as checkpoint:
        for note in checkpoint.notes:
            render.say(note)
        yield checkpoint


def get_limits(options: argparse.Namespace) -> Limits:
    """Return the limits, with those that --limit raised."""
    return Limits(**dict(options.limit))
