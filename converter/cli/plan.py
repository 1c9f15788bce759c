"""`tf2torch plan`: show what a conversion would do, or which rules are still missing, without writing anything."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import tfckpt
from tfckpt.cli.render import format_table, get_width, say, to_json, wrap
from tfckpt.errors import pluralize, printable

from ..conversion import RulesDraft, draft_by_rules, plan_conversion
from ..errors import Ambiguity, Mismatch, Missing, Unmapped
from ..families.search import TITLES
from ..mapping.constants import format_value
from ..mapping.modules import import_module
from ..mapping.moves import Move, Part, group_by_source
from ..mapping.planning import Source
from ..mapping.proposals import Proposal, explain_nothing, propose
from ..mapping.rules import NAMES, RuleSet
from ..mapping.rules_file import read_rules, to_toml
from ..networks.tables import NETWORKS
from .options import (
    SOURCE_HELP,
    add_conversion_options,
    get_conversion_options,
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

#: Columns of the titles.
_INDENT = 10


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "plan",
        help="show what a conversion would do",
        description=HELP,
    )
    parser.add_argument("source", metavar="SRC", help=SOURCE_HELP)
    add_conversion_options(parser)
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
    planned = plan_conversion(checkpoint, get_conversion_options(options, release))
    if options.show_rules:
        print(to_toml(planned.rules), end="")
    elif options.json:
        print(planned.report.to_json(), end="")
    elif options.proposals:
        say("every tensor is assigned; there is nothing to propose")
    else:
        variables = {record.source: record.variable for record in planned.report.tensors}
        _print_table(planned.plan.moves, variables)
        print(wrap(planned.report.summary(), _INDENT))
        titles = {**TITLES, **{network.name: network.title for network in NETWORKS}}
        print(wrap(f"rules     {planned.rules.name}: {titles[planned.rules.name]}", _INDENT))
    return 0


def _print_draft(drafted: RulesDraft, rules: RuleSet, options: argparse.Namespace) -> int:
    """Print what the user's rules do, and what is left."""
    draft = drafted.draft
    left = _find_unmatched(drafted)
    missing = {finding.target: finding.shape for finding in draft.missing}
    proposals = propose(left, missing, scope=rules.scopes[0], names=rules.names) if options.into is not None else []
    if options.show_rules:
        print(to_toml(rules), end="")
    elif options.proposals and not proposals:
        no_module = "proposals need the module whose tensors are the targets: --into"
        say(no_module if options.into is None else f"nothing is proposed: {explain_nothing(left, missing)}")
    elif options.proposals:
        _print_proposals(proposals, rules, is_new_file=options.rules is None)
    elif options.json:
        print(to_json(_to_data(drafted, proposals)))
    else:
        variables = {source.name: source.variable for source in drafted.selection.sources}
        _print_table(draft.moves, variables)
        for filled in draft.constants:
            value = format_value(filled.value)
            print(wrap(f"constant  {printable(filled.target)} = {value}: {printable(filled.reason)}", _INDENT))
        for tie in draft.tied:
            print(wrap(f"tied      {printable(tie.target)} = {printable(tie.to)}: {tie.reason}", _INDENT))
        for ignored in draft.ignored:
            print(wrap(f"ignored   {printable(ignored.name)}: {printable(ignored.reason)}", _INDENT))
        findings: list[Unmapped | Missing | Mismatch | Ambiguity] = [
            *draft.unmapped,
            *draft.missing,
            *draft.mismatched,
            *draft.ambiguous,
        ]
        for finding in findings:
            print(wrap(str(finding), 2))
        for rule in draft.idle:
            print(wrap(f"unused: the rule {printable(str(rule))} matches no tensor", 2))
        for proposal in proposals:
            print("\n".join(map(printable, proposal.lines())))
        proposed = f"; {pluralize(len(proposals), 'rule')} proposed" if proposals else ""
        print(
            f"\n{len(group_by_source(draft.moves))} moved, {len(draft.ignored)} ignored, "
            f"{len(draft.constants)} constant, {len(draft.tied)} tied;\n"
            f"{len(draft.unmapped)} unmapped, {len(draft.missing)} missing, {len(draft.mismatched)} mismatched, "
            f"{len(draft.ambiguous)} ambiguous{proposed}"
        )
    return 0 if draft.complete else 1


def _find_unmatched(drafted: RulesDraft) -> list[Source]:
    """Return the sources that no rule matches."""
    unmapped = {finding.name for finding in drafted.draft.unmapped if finding.target is None}
    return [source for source in drafted.selection.sources if source.shown in unmapped]


def _print_table(moves: Sequence[Move], variables: Mapping[str, str]) -> None:
    """Print one line per tensor: source, layout, target, and both shapes; a paragraph each if a line is too wide.

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
            f"{_format_part(move.source_shape, move.source_part)} -> "
            f"{_format_part(move.target_shape, move.target_part)}",
        ]
        for move in moves
    ]
    table = format_table(header, rows)
    if max(map(len, table.split("\n"))) <= get_width():
        print(table)
        return
    width = max(map(len, header[1:]))
    for source, *others in rows:
        print(source)
        for title, text in zip(header[1:], others, strict=True):
            print(f"  {title:{width}}  {text}")


def _format_part(shape: Sequence[int], part: Part | None) -> str:
    """Return a shape, of a part as `[10, 16][:6]` along the first axis, or `[10, 16][:, 4:8]` along the second."""
    if part is None:
        return str(list(shape))
    stop = "" if part.stop == shape[part.axis] else part.stop
    ranges = [":"] * part.axis + [f"{part.start or ''}:{stop}"]
    return f"{list(shape)}[{', '.join(ranges)}]"


def _print_proposals(proposals: Sequence[Proposal], rules: RuleSet, *, is_new_file: bool) -> None:
    """Print proposals as TOML; for a new file, with the setting that goes before the rules."""
    print("# Proposed because names and shapes are similar.")
    print("# Check every rule before you use it.")
    if is_new_file:
        print(f'names = "{rules.names}"')
    for proposal in proposals:
        print("\n".join(proposal.lines()))


def _move_to_data(move: Move) -> dict[str, Any]:
    """Return a move as plain values; a part of a tensor is an object."""
    parts = {"source_part": move.source_part, "target_part": move.target_part}
    return {**move._asdict(), **{key: None if part is None else part._asdict() for key, part in parts.items()}}


#: What a proposed rule or ignore says, under the names of the file of rules.
_PROPOSED = ("target", "layout", "cut", "join", "order", "reason")


def _to_data(drafted: RulesDraft, proposals: Sequence[Proposal]) -> Mapping[str, Any]:
    """Return everything as plain values, for JSON."""
    draft = drafted.draft
    return {
        "complete": draft.complete,
        "moves": [_move_to_data(move) for move in draft.moves],
        "ignored": [ignored._asdict() for ignored in draft.ignored],
        "constants": [filled._asdict() for filled in draft.constants],
        "tied": [tie._asdict() for tie in draft.tied],
        "unmapped": [{"source": item.name, "shape": item.shape, "target": item.target} for item in draft.unmapped],
        "missing": [{"target": item.target, "shape": item.shape, "expected": item.expected} for item in draft.missing],
        "mismatched": [
            {
                "source": item.source,
                "target": item.target,
                "layout": item.layout,
                "found": item.found,
                "expected": item.expected,
                "problem": item.problem,
            }
            for item in draft.mismatched
        ],
        "ambiguous": [{"name": item.name, "candidates": item.candidates} for item in draft.ambiguous],
        "idle": [str(rule) for rule in draft.idle],
        "proposals": [
            {
                "source": proposal.rule.source,
                **{key: getattr(proposal.rule, key, None) for key in _PROPOSED},
                "tensors": proposal.tensors,
                "likeness": round(proposal.likeness, 3),
            }
            for proposal in proposals
        ],
    }
