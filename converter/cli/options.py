"""Options shared by several verbs."""

from __future__ import annotations

import argparse
import glob
import json
import os
import shlex
from collections.abc import Collection
from typing import Any, NamedTuple

import tfckpt
from tfckpt.addresses import plain_address
from tfckpt.cli.opening import add_limit_option, get_limits
from tfckpt.cli.render import say
from tfckpt.errors import CheckpointNotFoundError, printable

from ..conversion import ConversionOptions
from ..errors import ExportError, RulesError, UnknownModelError
from ..families.averages import WEIGHTS_CHOICES
from ..mapping.modules import import_module
from ..model.architectures import CONFIGS
from ..model.config import ACTIVATIONS
from ..releases.downloads import CACHE_VARIABLE, check_base_url, fetch
from ..releases.table import RELEASES, find_close_releases, find_release
from ..verification.devices import DEVICES
from ..verification.modules import Interface
from .progress import progress_bar

#: The help for SRC, for verbs that also accept the name of a release.
SOURCE_HELP = "prefix, member file, folder or archive of a checkpoint, or the name of a release (tf2torch models)"


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the network as far as the checkpoint does not."""
    parser.add_argument(
        "--strides",
        metavar="1,2,2,1",
        type=_parse_strides,
        help="stride of each stage, for an unpublished network whose checkpoint has no graph (.meta)",
    )
    parser.add_argument(
        "--activation",
        metavar="NAME",
        choices=ACTIVATIONS,
        help="activation of a network whose checkpoint has no graph: %(choices)s (default: that of published networks)",
    )
    parser.add_argument(
        "--epsilon",
        metavar="E",
        type=_parse_epsilon,
        help="epsilon of its batch norms, such as 1e-5 (default: 1e-3, that of published networks)",
    )
    parser.add_argument(
        "--scope",
        metavar="NAME",
        help="start of the network's names, if several networks share a checkpoint",
    )
    parser.add_argument(
        "--head",
        metavar="NAME",
        help="name or path of a dense layer outside the network that is its classifier",
    )


def add_part_option(parser: argparse.ArgumentParser) -> None:
    """Add --part."""
    parser.add_argument(
        "--part",
        metavar="NAME",
        help="one of several models in the checkpoint, such as generator (tf2torch families lists them)",
    )


def add_graph_option(parser: argparse.ArgumentParser) -> None:
    """Add --graph."""
    parser.add_argument(
        "--graph",
        metavar="FILE",
        help="graph of the checkpoint, a .meta file or a SavedModel, if it is not saved under the checkpoint's name",
    )


def add_graph_selection(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose one graph of a SavedModel, its signature and its checkpoint."""
    parser.add_argument(
        "--signature", metavar="NAME", help="signature of a SavedModel (default: serving_default, or the only one)"
    )
    parser.add_argument(
        "--tag", metavar="TAG", action="append", help="tag of the graph, if a SavedModel has several; may be repeated"
    )
    parser.add_argument(
        "--checkpoint", metavar="PREFIX", help="checkpoint with the variables (default: the one saved with the graph)"
    )


def add_graph_part(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose a part of a graph, and fix the values of its tensors."""
    parser.add_argument(
        "--inputs", metavar="T,…", type=_parse_names, help="tensors to feed, or NAME=T for a name of your own"
    )
    parser.add_argument("--outputs", metavar="T,…", type=_parse_names, help="tensors to return, named likewise")
    parser.add_argument(
        "--set",
        metavar="T=VALUE",
        action="append",
        type=_parse_constant,
        default=[],
        help="fixed value of a tensor, such as is_training=false; may be repeated",
    )


def add_device_option(parser: argparse._ActionsContainer) -> None:
    """Add --device."""
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where the network runs (default: cpu)")


def add_key_option(parser: argparse.ArgumentParser) -> None:
    """Add --key."""
    parser.add_argument(
        "--key", metavar="KEY", help="weights to take, if OUT has several, such as state_dict_ema or state_dict.model"
    )


def add_release_option(parser: argparse.ArgumentParser) -> None:
    """Add --release."""
    parser.add_argument(
        "--release",
        metavar="NAME",
        type=_parse_release,
        help="the release in SRC, if several fit its names and shapes (default: from the name of SRC or its folder)",
    )


def add_opening_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for downloading releases and keeping them, and --limit."""
    add_limit_option(parser)
    parser.add_argument(
        "--base-url",
        metavar="URL",
        type=_parse_base_url,
        help="address to download releases from (default: their publisher)",
    )
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        help=f"folder that keeps downloaded releases (default: ${CACHE_VARIABLE}, else ~/.cache/tfckpt)",
    )


def open_source(source: str, options: argparse.Namespace) -> tuple[tfckpt.Checkpoint, str | None]:
    """Open a checkpoint by its path or by the name of a release, and return it with that name, else None.

    A release is downloaded, or taken from the cache, unless a file or folder of its name exists.
    """
    release = None
    path = source
    if is_release(source):
        release = source
        if getattr(options, "release", None) not in (None, release):
            raise UnknownModelError(f"SRC is the release {release}, but --release is {options.release}")
        with progress_bar("fetching") as progress:
            path = fetch(release, base_url=options.base_url, cache=options.cache, progress=progress, talk=say)
    try:
        checkpoint = tfckpt.open(path, limits=get_limits(options), graph=getattr(options, "graph", None))
    except CheckpointNotFoundError as error:
        close = find_close_releases(source) if release is None and not os.path.lexists(source) else []
        if close:
            error.message += f"; close names of releases: {', '.join(close)}"
        raise
    for note in checkpoint.notes:
        say(note)
    return checkpoint, release


def is_release(source: str) -> bool:
    """Return whether SRC is the name of a release, and not that of a file, a folder or a checkpoint."""
    return source in RELEASES and not _exists(source)


def add_rules_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for converting any other kind of network."""
    parser.add_argument(
        "--rules", metavar="RULES.toml", help="conversion rules for a network that is not an EfficientNet"
    )
    parser.add_argument(
        "--into",
        metavar="MODULE:FACTORY",
        help="PyTorch module to fill by rules, such as encoder:build; the current folder is searched too",
    )


def add_conversion_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide what a conversion reads, and how its tensors are assigned."""
    parser.add_argument(
        "--weights",
        choices=WEIGHTS_CHOICES,
        default="ema",
        help="moving averages, if there are any, or raw values (default: ema)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        choices=("auto", *CONFIGS),
        default="auto",
        help="published network to expect, such as efficientnetv2-s (default: auto, from names and shapes)",
    )
    add_network_options(parser)
    add_part_option(parser)
    add_graph_option(parser)
    add_release_option(parser)
    add_opening_options(parser)
    add_rules_options(parser)


def add_interface_options(parser: argparse.ArgumentParser, *, probe: bool = True) -> None:
    """Add --compare, and --probe unless the verb has one."""
    if probe:
        parser.add_argument(
            "--probe",
            metavar="IN=TENSOR",
            action="append",
            help="input of the module, and the tensor of the graph that gets the same random numbers "
            "(default: guessed); may be repeated",
        )
    parser.add_argument(
        "--compare",
        metavar="OUT=TENSOR",
        action="append",
        help="output of the module, and the tensor of the graph that it is compared with (default: guessed); may be "
        "repeated",
    )


def get_interface(options: argparse.Namespace) -> Interface:
    """Return what --probe and --compare say."""
    return Interface(_parse_pairs(options.probe, "--probe"), _parse_pairs(options.compare, "--compare"))


def _parse_pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, equals, tensor = text.partition("=")
        if not (name and equals and tensor) or name in pairs:
            raise ExportError(f"{option} is {printable(text)!r}, expected NAME=TENSOR, each name once")
        pairs[name] = tensor
    return pairs


def get_network_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_network_options` say, as arguments of `convert`."""
    return {name: getattr(options, name) for name in ("strides", "activation", "epsilon", "scope", "head")}


def get_conversion_options(options: argparse.Namespace, release: str | None) -> ConversionOptions:
    """Return what the options of `add_conversion_options` say; `release` is that of SRC if it names one."""
    uses_rules = options.rules is not None or options.into is not None
    return ConversionOptions(
        model=options.model,
        weights=options.weights,
        **get_network_options(options),
        release=None if uses_rules else options.release or release,
        rules=options.rules,
        into=None if options.into is None else import_module(options.into),
        graph=options.graph,
        part=options.part,
    )


def require_one_way(options: argparse.Namespace) -> None:
    """Raise if options that describe a known network are mixed with --rules or --into."""
    if options.rules is None and options.into is None:
        return
    names = ("--strides", "--activation", "--epsilon", "--scope", "--head")
    values = {name: getattr(options, name[2:]) for name in names}
    values["--part"] = getattr(options, "part", None)
    values["--release"] = getattr(options, "release", None)
    if getattr(options, "model", "auto") != "auto":
        values["--model"] = options.model
    values["--golden"] = getattr(options, "golden", None)
    mixed = ", ".join(name for name, value in values.items() if value is not None)
    if mixed:
        raise RulesError(f"{mixed} cannot be combined with --rules or --into: these options describe a known network")


def _exists(name: str) -> bool:
    """Return whether there is a file or folder of this name, or a checkpoint with this prefix."""
    endings = ("", ".index", ".data-?????-of-?????", "-?????-of-?????")
    return any(glob.glob(name + ending) for ending in endings)


def _parse_release(text: str) -> str:
    try:
        return find_release(text).name
    except UnknownModelError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parse_base_url(text: str) -> str:
    try:
        check_base_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def format_command(options: argparse.Namespace, without: Collection[str]) -> str:
    """Return the command line that leads to these options, quoted for a shell, without those named in `without`.

    Addresses are written without their secrets, because reports record this command.
    `options.parser` is the verb's parser; values that equal its defaults are left out.
    """
    parser: argparse.ArgumentParser = options.parser
    values = {
        action.dest: getattr(options, action.dest)
        for action in parser._actions
        if action.dest not in without and getattr(options, action.dest, action.default) != action.default
    }
    flags = {action.dest for action in parser._actions if action.nargs == 0 and values.get(action.dest) == action.const}
    positionals, words = [], []
    for action in parser._actions:
        if action.dest not in values:
            continue
        value = values[action.dest]
        if not action.option_strings:
            positionals.append(value)
        elif action.nargs != 0 and action.dest not in flags:
            for item in value if type(value) is list else [value]:
                words += _format_option(action.option_strings[0], item)
        elif action.nargs == 0 and action.dest in flags:
            words.append(action.option_strings[0])
    if any(positional.startswith("-") for positional in positionals):
        words += ["--", *positionals]
    else:
        words = [*positionals, *words]
    return shlex.join([*parser.prog.split(), *map(plain_address, words)])


def _format_option(name: str, value: object) -> list[str]:
    """Return the words for an option and its value; a value that looks like an option is joined to the name."""
    text = ",".join(map(str, value)) if type(value) is tuple else str(value)
    if not text.startswith("-"):
        return [name, text]
    return [f"{name}={text}"] if name.startswith("--") else [name + text]


def parse_count(text: str) -> int:
    """Parse a number of 1 or more."""
    count = int(text) if text.isdecimal() and len(text) < 10 else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return count


def _parse_strides(text: str) -> tuple[int, ...]:
    try:
        strides = tuple(int(part) for part in text.split(","))
    except ValueError:
        strides = ()
    if not strides or min(strides) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of strides such as 1,2,2,1")
    return strides


def _parse_epsilon(text: str) -> float:
    try:
        epsilon = float(text)
    except ValueError:
        epsilon = -1.0
    if not 0 < epsilon < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an epsilon: a number between 0 and 1, such as 1e-5")
    return epsilon


class Names(list[str]):
    """Names of tensors, which a command line lists in one word."""

    def __str__(self) -> str:
        """Return the word."""
        return ",".join(self)


class NamePairs(dict[str, str]):
    """Tensors by names of the caller's own, which a command line lists in one word."""

    def __str__(self) -> str:
        """Return the word."""
        return ",".join(f"{name}={tensor}" for name, tensor in self.items())


class Setting(NamedTuple):
    """A tensor and its fixed value."""

    name: str
    value: Any

    def __str__(self) -> str:
        """Return both as in a command line."""
        return f"{self.name}={json.dumps(self.value)}"


def _parse_names(text: str) -> Names | NamePairs:
    """Parse `T,T` or `NAME=T,NAME=T`."""
    parts = text.split(",")
    if not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of tensors such as x:0,mask:0")
    if not any("=" in part for part in parts):
        return Names(parts)
    pairs = [part.partition("=")[::2] for part in parts]
    if not all(name and tensor for name, tensor in pairs) or len({name for name, _ in pairs}) < len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names and tensors such as image=x:0,mask=m:0")
    return NamePairs(pairs)


def _parse_constant(text: str) -> Setting:
    name, separator, value = text.partition("=")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not name or not separator or not isinstance(parsed, bool | int | float | list):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a tensor and a value such as keep_prob=1.0 or training=false"
        )
    return Setting(name, parsed)
