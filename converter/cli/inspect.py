"""`tf2torch inspect`: show what a TensorFlow graph takes and returns, and whether it can be run."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tfckpt.cli.opening import add_limit_option, get_limits
from tfckpt.cli.render import to_json
from tfckpt.errors import pluralize, printable

from .options import add_graph_part, add_graph_selection

if TYPE_CHECKING:
    from ..engine import GraphInspection, PartInspection
    from ..engine.ports import Port

HELP = """\
Show the signatures of a TensorFlow graph, its inputs and outputs, its weights, and every operation that cannot be run.

  tf2torch inspect saved_model                       a SavedModel or a TF-Hub folder
  tf2torch inspect model.ckpt-322.meta               a graph of TensorFlow 1, with its checkpoint
  tf2torch inspect frozen.pb --outputs probs         the part of a graph that a tensor depends on

Nothing is run. What can be run can be exported with tf2torch export; if some operations cannot, the parts that can
are listed with the --inputs or --outputs to name.

The exit code is 5 if nothing of the graph can be run as it is, else 0.
"""
_UNSUPPORTED = 5
_WIDTH = 80
_MOST_ENDS = 12


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "inspect",
        help="show what any TensorFlow graph takes and returns",
        description=HELP,
    )
    parser.add_argument("source", metavar="PATH", help="graph: a SavedModel, .meta, .pb, .pbtxt, or checkpoint")
    add_graph_selection(parser)
    add_graph_part(parser)
    add_limit_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Inspect the graph and print what it offers."""
    from ..engine import inspect_graph, load_graph

    limits = get_limits(options)
    with load_graph(options.source, checkpoint=options.checkpoint, tags=options.tag, file_limits=limits) as graph:
        found = inspect_graph(
            graph,
            inputs=options.inputs,
            outputs=options.outputs,
            signature=options.signature,
            constants=dict(options.set) or None,
        )
    # A graph without signatures, whose outputs nobody has named.
    is_whole = options.outputs is None and not any(part.name for part in found.parts)
    print(to_json(dataclasses.asdict(found)) if options.json else "\n".join(_describe(found, is_whole=is_whole)))
    can_run = (not part.unsupported if is_whole else part.is_supported for part in found.parts)
    return 0 if any(can_run) else _UNSUPPORTED


def _describe(found: GraphInspection, *, is_whole: bool) -> Iterator[str]:
    yield f"graph       {printable(found.path)}"
    counts = f"{pluralize(found.nodes, 'node')}, {pluralize(found.functions, 'function')}"
    tags = f", tags {', '.join(map(printable, found.tags))}" if found.tags else ""
    yield f"            {found.kind}{tags}, {counts}"
    for other in found.other_tags:
        yield f"            another graph has the tags {', '.join(map(printable, other)) or 'none'} (--tag)"
    for part in found.parts:
        yield from _describe_part(part, is_whole=is_whole)


def _describe_part(part: PartInspection, *, is_whole: bool) -> Iterator[str]:
    if part.name:
        yield f"signature   {printable(part.name)}"
    yield from _describe_ports("takes", part.inputs)
    if is_whole:
        # The last numbers first, since most other ends initialize, save or update variables.
        ends = sorted(part.outputs, key=lambda port: ("float" in (port.dtype or ""), bool(port.shape)))[::-1]
        yield from _describe_ports("ends", ends[:_MOST_ENDS])
        if len(ends) > _MOST_ENDS:
            yield f"            and {len(ends) - _MOST_ENDS} more, which --json lists; name some with --outputs"
    else:
        yield from _describe_ports("returns", part.outputs)
    if part.operations:
        yield f"  weights   {part.parameters:,} parameters, {part.statistics:,} other numbers"
    if part.problem is not None and not is_whole:
        yield from _wrap("problem", part.problem)
    elif not part.unsupported:
        yield f"  runs      {pluralize(part.operations, 'operation')}, all supported"
    by_op: dict[str, list[str]] = {}
    for item in part.unsupported:
        by_op.setdefault(item.op, []).append(item.node)
    if by_op:
        yield f"  lacks     {pluralize(len(by_op), 'kind')} of operations, of {pluralize(part.operations, 'operation')}"
    for op, nodes in by_op.items():
        yield f"            {printable(op)}"
        yield from (f"              at {printable(node)}" for node in nodes)
    for cut in part.cuts:
        option, names = ("--inputs", cut.inputs) if cut.inputs is not None else ("--outputs", cut.outputs or ())
        yield f"  part      {pluralize(cut.operations, 'operation')} can be run with"
        yield f"            {option} {','.join(map(printable, names))}"


def _wrap(label: str, text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _WIDTH - 12, break_long_words=False, break_on_hyphens=False):
        yield f"  {label:9} {line}"
        label = ""


def _describe_ports(label: str, ports: Sequence[Port]) -> Iterator[str]:
    """Yield each port in a line, or in two if that is wider than a terminal."""
    for port in ports:
        shape = "of any shape" if port.shape is None else _describe_shape(port.shape)
        text = f"  {label:9} {printable(port.key)}"
        kind = f"{port.dtype or 'of any type'} {shape}"
        if len(text) + 2 + len(kind) > _WIDTH:
            yield text
            text = f"{'':12}{kind}"
        else:
            text += f"  {kind}"
        tensor = printable(port.tensor)
        if tensor in ("", port.key):
            yield text
        else:
            yield from [f"{text}  {tensor}"] if len(text) + len(tensor) + 2 <= _WIDTH else [text, f"{'':12}{tensor}"]
        label = ""


def _describe_shape(shape: Sequence[int]) -> str:
    return f"[{', '.join('?' if size < 0 else str(size) for size in shape)}]"
