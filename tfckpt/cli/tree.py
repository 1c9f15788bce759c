"""`tfckpt tree`: draw the objects of a checkpoint, or the parts of its names, as a tree with shapes."""

from __future__ import annotations

import argparse
import bisect
import dataclasses
import sys
from collections.abc import Iterator
from typing import TypeAlias

from ..checkpoint import Checkpoint
from ..checks.objects import find_objects
from ..errors import pluralize, printable
from ..graphs.object_graph import VARIABLE_VALUE, ObjectGraph, ObjectNode, Slot, escape, list_variables
from ..tensors.info import TensorInfo
from ..tensors.reading import TensorReader
from . import opening, render

HELP = """\
Draw the objects of a TF2 checkpoint as a tree, with the type and shape of the saved values.

  tfckpt tree ckpt-7
  tfckpt tree ckpt-7 net/layers            only the objects below this path
  tfckpt tree ckpt-7 --depth 2

An object with several names is drawn once, under the name in its keys; its other names point there.
For a name-based checkpoint the tree shows the names, split at their slashes.
"""

_ROOT = "(root)"
#: One saved value of a node: the attribute's name, the variable's full name, and the tensor's description.
_Stored: TypeAlias = tuple[str, str, TensorInfo]


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "tree",
        help="draw objects and shapes as a tree",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help=opening.PATH_HELP)
    parser.add_argument(
        "below", metavar="OBJECT", nargs="?", default="", help="draw only this object and those below it"
    )
    parser.add_argument("-l", "--long", action="store_true", help="also show full names and keys")
    parser.add_argument("--all", action="store_true", help="also draw objects that saved no values")
    parser.add_argument("--depth", type=_parse_depth, metavar="N", help="draw at most this many levels")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run, optional="below")


def run(options: argparse.Namespace) -> int:
    """Draw; exit code 3 if there is no such object."""
    with opening.open_checkpoint(options.path, options) as checkpoint:
        graph, from_keys = find_objects(checkpoint)
        if from_keys:
            for path in checkpoint.missing_files():
                render.complain(f"{path}: this data shard is missing")
            render.say(render.OBJECTS_FROM_KEYS)
        options.below = options.below.rstrip("/")
        if options.json:
            data = _to_data(checkpoint, graph, options.below)
            if data is None:
                return _report_missing(options.below)
            print(render.to_json(data))
            return 0
        if graph is None:
            top, hidden = _build_name_tree(checkpoint, options.below), 0
        else:
            top, hidden = _build_object_tree(checkpoint, graph, options)
        if top is None:
            return _report_missing(options.below)
        glyphs = _Glyphs.for_output()
        for line in _draw(top, glyphs, options.depth):
            print(line)
        if hidden:
            render.say(f"not drawn: {pluralize(hidden, 'object')} without saved values; --all draws all")
    return 0


def _report_missing(below: str) -> int:
    render.complain(f"there is no object {below!r}")
    return 3


@dataclasses.dataclass(slots=True)
class _Item:
    """A line of the drawing and the items below it."""

    text: str
    below: list[_Item] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class _Glyphs:
    """The line-drawing characters of a tree."""

    branch: str
    last: str
    bar: str
    link: str

    @classmethod
    def for_output(cls) -> _Glyphs:
        """Return the characters that the output's encoding can show."""
        try:
            "├└│→".encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:
            return cls("|-- ", "`-- ", "|   ", "->")
        return cls("├── ", "└── ", "│   ", "→")


#: A placeholder for the arrow until the glyphs are chosen; no printable name contains it.
_LINK = "\0"


def _draw(top: _Item, glyphs: _Glyphs, depth: int | None) -> Iterator[str]:
    """Yield the lines, without recursion because the file decides how deep the tree is."""
    yield top.text
    stack = [(item, "", number == len(top.below) - 1) for number, item in enumerate(top.below)][::-1]
    while stack:
        item, indent, is_last = stack.pop()
        yield f"{indent}{glyphs.last if is_last else glyphs.branch}{item.text.replace(_LINK, glyphs.link)}"
        inner = indent + (" " * len(glyphs.bar) if is_last else glyphs.bar)
        level = len(inner) // len(glyphs.bar)
        if depth is None or level < depth:
            below = [(other, inner, number == len(item.below) - 1) for number, other in enumerate(item.below)]
            stack.extend(below[::-1])


def _build_object_tree(
    checkpoint: Checkpoint, graph: ObjectGraph, options: argparse.Namespace
) -> tuple[_Item | None, int]:
    """Return the tree from the node at `options.below`, or None, and the number of objects left out."""
    start = graph.find(options.below)
    if start is None:
        return None, 0
    parents = _find_parents(graph)
    names = sorted(checkpoint)
    stored = {node.id: list(_iterate_saved_values(checkpoint.reader, names, node)) for node in graph.nodes}
    kept = _find_nodes_with_values(graph, parents, stored)
    slots = {variable.key: variable.slots for variable in list_variables(checkpoint.reader, graph)}
    top = _Item("")
    hidden = 0
    work = [(start, _ROOT if start.id == 0 else printable(start.path or str(start.id)), top)]
    while work:
        node, name, item = work.pop()
        item.text, details = _format_lines(stored[node.id], name, slots, long=options.long)
        for child_name, number in node.children.items():
            child = graph.nodes[number]
            if not options.all and number not in kept:
                hidden += parents.get(number) == node.id
                continue
            below = _Item("")
            item.below.append(below)
            if parents.get(number) == node.id and _join(node, child_name) == child.path:
                work.append((child, printable(child_name), below))
                continue
            below.text = f"{printable(child_name)} {_LINK} {printable(child.path or '') or _ROOT}"
        item.below.extend(details)
    return top, hidden


def _join(node: ObjectNode, name: str) -> str:
    return f"{node.path}/{escape(name)}" if node.path else escape(name)


def _find_parents(graph: ObjectGraph) -> dict[int, int]:
    """Map each node to the node it is drawn under: the one its path leads through."""
    parents: dict[int, int] = {}
    for node in graph.nodes:
        for name, number in node.children.items():
            if number and node.path is not None and graph.nodes[number].path == _join(node, name):
                parents.setdefault(number, node.id)
    return parents


def _find_nodes_with_values(graph: ObjectGraph, parents: dict[int, int], stored: dict[int, list[_Stored]]) -> set[int]:
    """Return the nodes that saved a value or have a descendant that did, and the root."""
    kept = {0}
    for node in graph.nodes:
        number: int | None = node.id
        while stored[node.id] and number is not None and number not in kept:
            kept.add(number)
            number = parents.get(number)
    return kept


def _iterate_saved_values(reader: TensorReader, names: list[str], node: ObjectNode) -> Iterator[_Stored]:
    """Yield the saved values of a node; the tensors of a hash table have its key, a dash and a suffix."""
    for attribute in node.attributes:
        if attribute.checkpoint_key in reader:
            yield attribute.name, attribute.full_name, reader.info(attribute.checkpoint_key)
            continue
        stem = f"{attribute.checkpoint_key}-"
        for key in names[bisect.bisect_left(names, stem) :]:
            if not key.startswith(stem):
                break
            yield key.rpartition("/")[2], "", reader.info(key)


def _format_lines(
    stored: list[_Stored], name: str, slots: dict[str, tuple[Slot, ...]], *, long: bool
) -> tuple[str, list[_Item]]:
    """Return the line of a node, which includes the value of a variable, and items for its other saved values."""
    details = []
    for attribute, full_name, info in stored:
        slot_names = ", ".join(printable(slot.name) for slot in slots.get(info.name, ()))
        text = f"  {render.format_dtype(info.tf_dtype)} {render.format_shape(info.shape)}"
        text += f"  slots {slot_names}" if slot_names else ""
        if long:
            text += f"  {printable(full_name) or '-'}  {printable(info.name)}"
        if attribute == VARIABLE_VALUE:
            name += text
        else:
            details.append(_Item(f".{printable(attribute)}{text}"))
    return name, details


def _build_name_tree(checkpoint: Checkpoint, below: str) -> _Item | None:
    """Return the tree of a name-based checkpoint, or of the names below one, or None if there are none."""
    top = _Item(printable(below) or _ROOT)
    items: dict[tuple[int, str], _Item] = {}  # by the identity of their parent, and their part of the name
    has_match = not below
    for info in checkpoint.infos():
        if below and info.name != below and not info.name.startswith(f"{below}/"):
            continue
        has_match = True
        parts = info.name.split("/") if not below else info.name[len(below) :].split("/")[1:]
        item = top
        for part in parts:
            child = items.get((id(item), part))
            if child is None:
                child = items[id(item), part] = _Item(printable(part))
                item.below.append(child)
            item = child
        item.text += f"  {render.format_dtype(info.tf_dtype)} {render.format_shape(info.shape)}"
    return top if has_match else None


def _parse_depth(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of levels")
    return int(text)


def _to_data(checkpoint: Checkpoint, graph: ObjectGraph | None, below: str) -> dict[str, object] | None:
    """Return the data for JSON, of the object at a path and those below it; None if there is no such object."""
    variables = list_variables(checkpoint.reader, graph)
    nodes: list[ObjectNode] = []
    if graph is not None:
        start = graph.find(below)
        if start is None:
            return None
        nodes = list(graph.nodes)
        if below:
            nodes = _find_descendants(graph, start)
            paths = {node.path for node in nodes}
            variables = tuple(variable for variable in variables if variable.path in paths)
    elif below:
        variables = tuple(
            variable for variable in variables if variable.key == below or variable.key.startswith(f"{below}/")
        )
        if not variables:
            return None
    return {
        "prefix": checkpoint.prefix,
        "object_based": graph is not None,
        "variables": [
            {
                "key": variable.key,
                "path": variable.path,
                "full_name": variable.full_name,
                "dtype": render.format_dtype(variable.info.tf_dtype),
                "shape": list(variable.info.shape),
                "slots": [dataclasses.asdict(slot) for slot in variable.slots],
            }
            for variable in variables
        ],
        "nodes": [_node_to_data(node) for node in nodes],
    }


def _find_descendants(graph: ObjectGraph, start: ObjectNode) -> list[ObjectNode]:
    """Return a node and all nodes below it, each once: children and an optimizer's slot variables."""
    seen = {start.id}
    work = [start]
    while work:
        node = work.pop()
        for number in (*node.children.values(), *(reference.slot_variable for reference in node.slot_variables)):
            if number not in seen:
                seen.add(number)
                work.append(graph.nodes[number])
    return [node for node in graph.nodes if node.id in seen]


def _node_to_data(node: ObjectNode) -> object:
    return {
        "id": node.id,
        "path": node.path,
        "children": dict(node.children),
        "attributes": [dataclasses.asdict(attribute) for attribute in node.attributes],
        "slot_variables": [dataclasses.asdict(reference) for reference in node.slot_variables],
    }
