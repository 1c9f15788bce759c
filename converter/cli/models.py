"""`tf2torch models`: list the released checkpoints."""

from __future__ import annotations

import argparse

from tfckpt.cli.render import complain, format_table, to_json
from tfckpt.errors import pluralize

from ..releases.table import Release, find_releases

HELP = """\
List the released checkpoints: classes, input size, parameters and published top-1 accuracy.

  tf2torch models
  tf2torch models 'efficientnetv2-*-21k' --long   also show preprocessing, and models of other libraries that fit
  tf2torch models b0 --json                       also show addresses

Other commands accept the name of a release in place of a path, download it once, and keep it in a cache:

  tf2torch convert efficientnetv2-s -o s.safetensors
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "models",
        help="list the released checkpoints",
        description=HELP,
    )
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        default="*",
        help="only names that match a glob, or that contain this text",
    )
    parser.add_argument(
        "--long", action="store_true", help="also show preprocessing, and the models of other libraries that fit"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the releases; exit code 3 if nothing matches."""
    releases = find_releases(options.pattern)
    if options.json:
        print(to_json({"releases": [release.to_dict() for release in releases]}))
    elif releases:
        header = ["name", "classes", "input", "parameters", "top-1"]
        heading, *rows = format_table(header, list(map(_format_row, releases)), right="lrrrr").splitlines()
        print(heading)
        for release, row in zip(releases, rows, strict=True):
            print("\n".join([row, *(_describe(release) if options.long else [])]))
        hint = "--json adds addresses" if options.long else "--long adds preprocessing and models of other libraries"
        print(f"{pluralize(len(releases), 'release')}; {hint}")
    else:
        complain(f"no release matches {options.pattern!r}", command="tf2torch")
    return 0 if releases else 3


def _format_row(release: Release) -> list[str]:
    return [
        release.name,
        f"{release.classes:,}",
        str(release.size),
        f"{release.parameters:,}",
        "-" if release.top1 is None else f"{release.top1:.1f} %",
    ]


def _describe(release: Release) -> list[str]:
    """Return the lines that --long adds; next to the other columns they would not fit into 80."""
    fits = (f"{library}: {release.fits[library]}" for library in ("timm", "torchvision") if library in release.fits)
    return [f"    {line}" for line in (release.preprocessing.describe(), *fits)]
