"""Options that several verbs share."""

from __future__ import annotations

import argparse
import glob
import os
import shlex
from collections.abc import Collection

import tfckpt
from tfckpt.cli.opening import add_limit_option, limits_of
from tfckpt.cli.render import say
from tfckpt.errors import CheckpointNotFoundError

from ..errors import RulesError, UnknownModelError
from ..releases.downloads import CACHE_VARIABLE, check_base_url, fetch
from ..releases.table import RELEASES, close_releases, find_release
from .progress import progress_bar

#: What SRC may be, in the help of the verbs that take a release's name.
SOURCE_HELP = "prefix, member file, folder or archive of a checkpoint, or the name of a release (tf2torch models)"


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


def add_release_option(parser: argparse.ArgumentParser) -> None:
    """Add what says which release a checkpoint is."""
    parser.add_argument(
        "--release",
        metavar="NAME",
        type=_release,
        help="release that SRC is, where names and shapes leave several (default: what its name or its folder says)",
    )


def add_opening_options(parser: argparse.ArgumentParser) -> None:
    """Add where releases come from that are given by name, where they are kept, and what raises limits."""
    add_limit_option(parser)
    parser.add_argument(
        "--base-url", metavar="URL", type=_base_url, help="where releases are fetched from (default: their publisher)"
    )
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        help=f"where releases that were fetched are kept (default: ${CACHE_VARIABLE}, else ~/.cache/tfckpt)",
    )


def open_source(given: str, options: argparse.Namespace) -> tuple[tfckpt.Checkpoint, str | None]:
    """Open the checkpoint that is given, and say which release it is where that was given by its name.

    A release is fetched, or taken from the cache, unless something of its name stands here.
    """
    release = None
    path = given
    if given in RELEASES and not _stands_here(given):
        release = given
        if getattr(options, "release", None) not in (None, release):
            raise UnknownModelError(f"SRC is the release {release}, and --release says {options.release}")
        with progress_bar("fetching") as progress:
            path = fetch(release, base_url=options.base_url, cache=options.cache, progress=progress, talk=say)
    try:
        checkpoint = tfckpt.open(path, limits=limits_of(options))
    except CheckpointNotFoundError as error:
        close = close_releases(given) if release is None and not os.path.lexists(given) else []
        if close:
            error.message += f"; close names of releases: {', '.join(close)}"
        raise
    for note in checkpoint.notes:
        say(note)
    return checkpoint, release


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
    given["--release"] = getattr(options, "release", None)
    if getattr(options, "model", "auto") != "auto":
        given["--model"] = options.model
    given["--golden"] = getattr(options, "golden", None)
    mixed = ", ".join(name for name, value in given.items() if value is not None)
    if mixed:
        raise RulesError(f"{mixed} cannot go with --rules or --into: they say what an EfficientNet is")


def _stands_here(name: str) -> bool:
    """Whether a path, or the files of a prefix, have this name."""
    endings = ("", ".index", ".data-?????-of-?????", "-?????-of-?????")
    return any(glob.glob(name + ending) for ending in endings)


def _release(text: str) -> str:
    try:
        return find_release(text).name
    except UnknownModelError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _base_url(text: str) -> str:
    try:
        check_base_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def repeating(options: argparse.Namespace, without: Collection[str]) -> str:
    """Write the command that gives these options, quoted for a shell; those named in `without` are left out.

    `options.parser` is the verb's parser, whose defaults need not be said.
    """
    parser: argparse.ArgumentParser = options.parser
    given = {
        action.dest: getattr(options, action.dest)
        for action in parser._actions
        if action.dest not in without and getattr(options, action.dest, action.default) != action.default
    }
    flags = {action.dest for action in parser._actions if action.nargs == 0 and given.get(action.dest) == action.const}
    places, words = [], []
    for action in parser._actions:
        if action.dest not in given:
            continue
        value = given[action.dest]
        if not action.option_strings:
            places.append(value)
        elif action.nargs != 0 and action.dest not in flags:
            for one in value if isinstance(value, list) else [value]:
                words += _option(action.option_strings[0], one)
        elif action.nargs == 0 and action.dest in flags:
            words.append(action.option_strings[0])
    ended = ["--"] if any(place.startswith("-") for place in places) else []
    before = [] if ended else places
    return shlex.join([*parser.prog.split(), *before, *words, *ended, *(places if ended else [])])


def _option(name: str, value: object) -> list[str]:
    """Write an option that takes a value; one that looks like an option itself needs the other form."""
    text = ",".join(map(str, value)) if type(value) is tuple else str(value)
    if not text.startswith("-"):
        return [name, text]
    return [f"{name}={text}"] if name.startswith("--") else [name + text]


def _strides(text: str) -> tuple[int, ...]:
    try:
        strides = tuple(int(part) for part in text.split(","))
    except ValueError:
        strides = ()
    if not strides or min(strides) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of strides such as 1,2,2,1")
    return strides
