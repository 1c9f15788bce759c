"""`tf2torch plan`: show what a conversion would do, or which rules are still missing, without writing anything."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import tfckpt
from tfckpt.cli.render import format_table, say, to_json
from tfckpt.errors import pluralize, printable

from ..conversion import ConversionOptions, RulesDraft, draft_by_rules, plan_conversion
from ..errors import Ambiguity, Mismatch, Missing, Unmapped
from ..families.averages import WEIGHTS_CHOICES
from ..families.search import FAMILIES
from ..mapping.modules import import_module
from ..mapping.proposals import Proposal, propose
from ..mapping.rules import NAMES, Move, RuleSet, Source
from ..mapping.rules_file import read_rules, to_toml
from ..model.architectures import CONFIGS
from .options import (
    SOURCE_HELP,
    add_graph_option,
    add_network_options,
    add_opening_options,
    add_release_option,
    add_rules_options,
    open_source,
    require_one_way,
)

HELP = """\
Show which source tensor becomes which target tensor, with layout and shapes, without writing anything.

  tf2torch plan efficientnetv2-s                                   what `convert` would do
  tf2torch plan efficientnetv2-s --show-rules                      the rules that it would use, as TOML
  tf2torch plan bert --into encoder:build --proposals > r.toml     rules proposed from names and shapes
  tf2torch plan bert --into encoder:build --rules r.toml           what the rules do, and what is left

Proposals are guesses: read and correct them before you use them.
The exit code is 0 if every tensor is assigned, else 1.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "plan",
        help="show what a conversion would do",
        description=HELP,
    )
    parser.add_argument("source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument(
        "--weights",
        choices=WEIGHTS_CHOICES,
        default="ema",
        help="moving averages, if there are any, or raw values (default: ema)",
    )
    parser.add_argument(
        "--model", metavar="NAME", choices=("auto", *CONFIGS), default="auto", help="published network to expect"
    )
    add_network_options(parser)
    add_graph_option(parser)
    add_release_option(parser)
    add_opening_options(parser)
    add_rules_options(parser)
    parser.add_argument(
        "--names",
        choices=NAMES,
        default="path",
        help="kind of names in proposed rules, if there are no rules yet (default: path)",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print everything as JSON")
    shown.add_argument("--show-rules", action="store_true", help="print the rules in use as TOML")
    shown.add_argument(
        "--proposals", action="store_true", help="print proposed rules for the tensors that are left, as TOML"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the plan."""
    require_one_way(options)
    checkpoint, release = open_source(options.source, options)
    with checkpoint:
        if options.rules is None and options.into is None:
            return _print_network(checkpoint, options, release)
        rules = RuleSet(name="proposed", version="1", names=options.names, rules=())
        if options.rules is not None:
            rules = read_rules(options.rules)
        into = None if options.into is None else import_module(options.into)
        drafted = draft_by_rules(checkpoint, rules, into, weights=options.weights)
    return _print_draft(drafted, rules, options)


def _print_network(checkpoint: tfckpt.Checkpoint, options: argparse.Namespace, release: str | None) -> int:
    """Print the plan for a network of a known family; `release` is the release that was downloaded, or None."""
    planned = plan_conversion(
        checkpoint,
        ConversionOptions(
            model=options.model,
            weights=options.weights,
            strides=options.strides,
            scope=options.scope,
            head=options.head,
            release=options.release or release,
        ),
    )
    if options.show_rules:
        print(to_toml(planned.rules), end="")
    elif options.json:
        print(planned.report.to_json(), end="")
    elif options.proposals:
        say("every tensor is assigned; there is nothing to propose")
    else:
        variables = {record.source: record.variable for record in planned.report.tensors}
        _print_table(planned.plan.moves, variables)
        print(planned.report.summary())
        families = {family.name: family.title for family in FAMILIES}
        print(f"rules     {planned.rules.name}: {families[planned.rules.name]}")
    return 0


def _print_draft(drafted: RulesDraft, rules: RuleSet, options: argparse.Namespace) -> int:
    """Print what the user's rules do, and what is left."""
    draft = drafted.draft
    left = _find_unmatched(drafted)
    missing = {finding.target: finding.shape for finding in draft.missing}
    proposals = propose(left, missing, scope=rules.scope, names=rules.names) if options.into is not None else []
    if options.show_rules:
        print(to_toml(rules), end="")
    elif options.proposals:
        _print_proposals(proposals, rules, is_new_file=options.rules is None)
    elif options.json:
        print(to_json(_to_data(drafted, proposals)))
    else:
        variables = {source.name: source.variable for source in drafted.selection.sources}
        _print_table(draft.moves, variables)
        for filled in draft.constants:
            print(f"constant  {printable(filled.target)} = {filled.value:g}: {printable(filled.reason)}")
        for ignored in draft.ignored:
            print(f"ignored   {printable(ignored.name)}: {printable(ignored.reason)}")
        findings: list[Unmapped | Missing | Mismatch | Ambiguity] = [
            *draft.unmapped,
            *draft.missing,
            *draft.mismatched,
            *draft.ambiguous,
        ]
        for finding in findings:
            print(finding)
        for rule in draft.idle:
            print(f"unused: the rule {printable(rule.source)} matches no tensor")
        for proposal in proposals:
            print("\n".join(map(printable, proposal.lines())))
        print(
            f"\n{len(draft.moves)} moved, {len(draft.ignored)} ignored, {len(draft.constants)} constant; "
            f"{len(draft.unmapped)} unmapped, {len(draft.missing)} missing, {len(draft.mismatched)} mismatched, "
            f"{len(draft.ambiguous)} ambiguous"
            + (f"; {pluralize(len(proposals), 'rule')} proposed" if proposals else "")
        )
    return 0 if draft.complete else 1


def _find_unmatched(drafted: RulesDraft) -> list[Source]:
    """Return the sources that no rule matches."""
    unmapped = {finding.name for finding in drafted.draft.unmapped if finding.target is None}
    return [source for source in drafted.selection.sources if source.shown in unmapped]


def _print_table(moves: Sequence[Move], variables: Mapping[str, str]) -> None:
    """Print one line per tensor: source, layout, target, and both shapes.

    There is a column for the variable if the name of some source does not begin with the variable's name.
    """
    if not moves:
        return
    shows_variables = any(not move.source.startswith(variables[move.source]) for move in moves)
    header = ["source", *(["variable"] if shows_variables else []), "layout", "target", "shape"]
    rows = [
        [
            printable(move.source),
            *([printable(variables[move.source])] if shows_variables else []),
            move.layout,
            printable(move.target),
            f"{list(move.source_shape)} -> {list(move.target_shape)}",
        ]
        for move in moves
    ]
    print(format_table(header, rows))


def _print_proposals(proposals: Sequence[Proposal], rules: RuleSet, *, is_new_file: bool) -> None:
    """Print proposals as TOML; for a new file, with the setting that goes before the rules."""
    print("# Proposed because names and shapes are similar. Check every rule before you use it.")
    if is_new_file:
        print(f'names = "{rules.names}"')
    for proposal in proposals:
        print("\n".join(proposal.lines()))


def _to_data(drafted: RulesDraft, proposals: Sequence[Proposal]) -> Mapping[str, Any]:
    """Return everything as plain values, for JSON."""
    draft = drafted.draft
    return {
        "complete": draft.complete,
        "moves": [move._asdict() for move in draft.moves],
        "ignored": [ignored._asdict() for ignored in draft.ignored],
        "constants": [filled._asdict() for filled in draft.constants],
        "unmapped": [{"source": item.name, "shape": item.shape, "target": item.target} for item in draft.unmapped],
        "missing": [{"target": item.target, "shape": item.shape, "expected": item.expected} for item in draft.missing],
        "mismatched": [
            {
                "source": item.source,
                "target": item.target,
                "layout": item.layout,
                "found": item.found,
                "expected": item.expected,
            }
            for item in draft.mismatched
        ],
        "ambiguous": [{"name": item.name, "candidates": item.candidates} for item in draft.ambiguous],
        "idle": [rule.source for rule in draft.idle],
        "proposals": [
            {
                "source": proposal.rule.source,
                "target": getattr(proposal.rule, "target", None),
                "layout": getattr(proposal.rule, "layout", None),
                "reason": getattr(proposal.rule, "reason", None),
                "tensors": proposal.tensors,
                "likeness": round(proposal.likeness, 3),
            }
            for proposal in proposals
        ],
    }
