"""`tf2torch families`: list the code bases whose checkpoints convert without rules."""

from __future__ import annotations

import argparse

from tfckpt.cli.render import format_table, to_json

from ..families.search import ALL_FAMILIES
from ..networks.network import Network
from ..networks.tables import NETWORKS

HELP = """\
List the families of networks whose checkpoints convert without rules.

  tf2torch families                  what is read, and what it becomes
  tf2torch families --long           also the code, what --part chooses, and files of settings

The modules of our own are built by converter.load_network.
A family is recognized from the names after the scope and from shapes.
Any other network converts by rules of your own: tf2torch convert --rules.
"""
_EFFICIENTNET = "EfficientNet, EfficientNetV2"
_EFFICIENTNET_TARGETS = "our module, timm, torchvision, transformers, efficientnet-pytorch"
_MODULES = {"converter": "our module"}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("families", help="list the networks that convert without rules", description=HELP)
    parser.add_argument("--long", action="store_true", help="show code, parts and files of settings as well")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    if options.json:
        print(to_json({"families": [*map(_efficientnet_to_data, ALL_FAMILIES), *map(_to_data, NETWORKS)]}))
        return 0
    rows = [[network.name, network.title, _name_library(network)] for network in NETWORKS]
    rows += [[family.name, _EFFICIENTNET, "our module and four libraries"] for family in ALL_FAMILIES]
    print(format_table(["family", "networks", "target"], rows))
    if options.long:
        print()
        for network in NETWORKS:
            parts = ", ".join(f"{part.name} ({part.model})" for part in network.parts)
            print(f"{network.name}: {parts}\n  of {network.code}")
            if network.files:
                print(f"  settings from {' or '.join(network.files)}")
        for family in ALL_FAMILIES:
            print(f"{family.name}: {family.title}")
    return 0


def _name_library(network: Network) -> str:
    return _MODULES.get(network.library, network.library)


def _to_data(network: Network) -> dict[str, object]:
    return {
        "name": network.name,
        "title": network.title,
        "code": network.code,
        "target": network.library,
        "parts": {part.name: part.model for part in network.parts},
        "files": list(network.files),
        "vocabulary": list(network.vocabulary),
    }


def _efficientnet_to_data(family: object) -> dict[str, object]:
    return {
        "name": getattr(family, "name", ""),
        "title": _EFFICIENTNET,
        "code": getattr(family, "title", ""),
        "target": _EFFICIENTNET_TARGETS,
        "parts": {},
        "files": [],
        "vocabulary": [],
    }
