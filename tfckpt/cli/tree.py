"""`tfckpt tree`: the objects of a checkpoint, or the parts of its names, as a tree with shapes."""

from __future__ import annotations

import argparse
import bisect
import dataclasses
import sys
from collections.abc import Iterator
from typing import TypeAlias

from ..checkpoint import Checkpoint
from ..errors import pluralize, printable
from ..graphs.object_graph import VARIABLE_VALUE, ObjectGraph, ObjectNode, Slot, escape
from ..tensors.info import TensorInfo
from ..tensors.reading import TensorReader
from . import opening, render

HELP = """\
Draw the objects of a TF2 checkpoint as a tree, with the type and shape of what they saved.

  tfckpt tree ckpt-7
  tfckpt tree ckpt-7 net/layers            what stands below this path
  tfckpt tree ckpt-7 --depth 2

An object that has several names is drawn once, under the name its keys have; its other names point there.
Of a name-based checkpoint the names are drawn, split at their slashes.
"""

_ROOT = "(root)"
#: What a node saved: the attribute's name, the variable's full name, and what is known of the tensor.
_Stored: TypeAlias = tuple[str, str, TensorInfo]


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "tree",
        help="draw objects and shapes as a tree",
        description=HELP,
    )
    parser.add_argument("path", metavar="PATH", help="prefix, member file or folder of a checkpoint")
    parser.add_argument("below", metavar="OBJECT", nargs="?", default="", help="draw only what stands below this path")
    parser.add_argument("-l", "--long", action="store_true", help="also full names and keys")
    parser.add_argument("--all", action="store_true", help="also objects without values of their own")
    parser.add_argument("--depth", type=_depth, metavar="N", help="at most this many levels")
    parser.add_argument("--json", action="store_true", help="write JSON")
    opening.add_options(parser)
    parser.set_defaults(run=run, optional="below")


def run(options: argparse.Namespace) -> int:
    """Draw; exit code 3 when there is no such object."""
    with opening.opened(options.path, options) as checkpoint:
        graph = checkpoint.object_graph
        options.below = options.below.rstrip("/")
        if options.json:
            data = _as_data(checkpoint, graph, options.below)
            if data is None:
                return _complain_of(options.below)
            print(render.as_json(data))
            return 0
        if graph is None:
            top, hidden = _tree_of_names(checkpoint, options.below), 0
        else:
            top, hidden = _tree_of_objects(checkpoint, graph, options)
        if top is None:
            return _complain_of(options.below)
        glyphs = _Glyphs.for_output()
        for line in _draw(top, glyphs, options.depth):
            print(line)
        if hidden:
            render.say(f"{pluralize(hidden, 'object')} without values of their own not drawn; --all draws them")
    return 0


def _complain_of(below: str) -> int:
    render.complain(f"there is no object {below!r}")
    return 3


@dataclasses.dataclass(slots=True)
class _Item:
    """A line of the drawing and what stands below it."""

    text: str
    below: list[_Item] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class _Glyphs:
    """The lines of a tree, in the characters that the output can show."""

    branch: str
    last: str
    bar: str
    link: str

    @classmethod
    def for_output(cls) -> _Glyphs:
        try:
            "├└│→".encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:
            return cls("|-- ", "`-- ", "|   ", "->")
        return cls("├── ", "└── ", "│   ", "→")


_LINK = "\0"
"""Stands for the arrow until it is known what the output can show; no printable name holds it."""


def _draw(top: _Item, glyphs: _Glyphs, depth: int | None) -> Iterator[str]:
    """The lines, without recursion: the depth of a tree is the file's to choose."""
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


def _tree_of_objects(
    checkpoint: Checkpoint, graph: ObjectGraph, options: argparse.Namespace
) -> tuple[_Item | None, int]:
    """The drawing from the node at a path, and how many objects below it are left out."""
    start = graph.find(options.below)
    if start is None:
        return None, 0
    parents = _parents(graph)
    names = sorted(checkpoint)
    stored = {node.id: list(_tensors(checkpoint.reader, names, node)) for node in graph.nodes}
    kept = _with_values(graph, parents, stored)
    slots = {variable.key: variable.slots for variable in checkpoint.variables()}
    top = _Item("")
    hidden = 0
    work = [(start, _ROOT if start.id == 0 else printable(start.path or str(start.id)), top)]
    while work:
        node, name, item = work.pop()
        item.text, details = _lines(stored[node.id], name, slots, long=options.long)
        for child_name, number in node.children.items():
            child = graph.nodes[number]
            if not options.all and number not in kept:
                hidden += parents.get(number) == node.id
                continue
            below = _Item("")
            item.below.append(below)
            if parents.get(number) == node.id and _joined(node, child_name) == child.path:
                work.append((child, printable(child_name), below))
                continue
            below.text = f"{printable(child_name)} {_LINK} {printable(child.path or '') or _ROOT}"
        item.below.extend(details)
    return top, hidden


def _joined(node: ObjectNode, name: str) -> str:
    return f"{node.path}/{escape(name)}" if node.path else escape(name)


def _parents(graph: ObjectGraph) -> dict[int, int]:
    """The node under which each node is drawn: the one its path leads through."""
    parents: dict[int, int] = {}
    for node in graph.nodes:
        for name, number in node.children.items():
            if number and node.path is not None and graph.nodes[number].path == _joined(node, name):
                parents.setdefault(number, node.id)
    return parents


def _with_values(graph: ObjectGraph, parents: dict[int, int], stored: dict[int, list[_Stored]]) -> set[int]:
    """The nodes that saved something or that stand above one that did, and the root."""
    kept = {0}
    for node in graph.nodes:
        number: int | None = node.id
        while stored[node.id] and number is not None and number not in kept:
            kept.add(number)
            number = parents.get(number)
    return kept


def _tensors(reader: TensorReader, names: list[str], node: ObjectNode) -> Iterator[_Stored]:
    """What a node saved; a hash table's tensors stand under its key with a dash and more after it."""
    for attribute in node.attributes:
        if attribute.checkpoint_key in reader:
            yield attribute.name, attribute.full_name, reader.info(attribute.checkpoint_key)
            continue
        stem = f"{attribute.checkpoint_key}-"
        for key in names[bisect.bisect_left(names, stem) :]:
            if not key.startswith(stem):
                break
            yield key.rpartition("/")[2], "", reader.info(key)


def _lines(
    stored: list[_Stored], name: str, slots: dict[str, tuple[Slot, ...]], *, long: bool
) -> tuple[str, list[_Item]]:
    """The line of a node, with the value of a variable on it, and lines for what else it saved."""
    details = []
    for attribute, full_name, info in stored:
        kept = ", ".join(printable(slot.name) for slot in slots.get(info.name, ()))
        text = f"  {render.dtype(info)} {render.shape(info.shape)}{f'  slots {kept}' if kept else ''}"
        if long:
            text += f"  {printable(full_name) or '-'}  {printable(info.name)}"
        if attribute == VARIABLE_VALUE:
            name += text
        else:
            details.append(_Item(f".{printable(attribute)}{text}"))
    return name, details


def _tree_of_names(checkpoint: Checkpoint, below: str) -> _Item | None:
    """The drawing of a name-based checkpoint, or of the names that go on below one."""
    top = _Item(printable(below) or _ROOT)
    items: dict[tuple[int, str], _Item] = {}  # by the identity of what they stand below, and their part of the name
    found = not below
    for info in checkpoint.infos():
        if below and info.name != below and not info.name.startswith(f"{below}/"):
            continue
        found = True
        parts = info.name.split("/") if not below else info.name[len(below) :].split("/")[1:]
        item = top
        for part in parts:
            child = items.get((id(item), part))
            if child is None:
                child = items[id(item), part] = _Item(printable(part))
                item.below.append(child)
            item = child
        item.text += f"  {render.dtype(info)} {render.shape(info.shape)}"
    return top if found else None


def _depth(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of levels")
    return int(text)


def _as_data(checkpoint: Checkpoint, graph: ObjectGraph | None, below: str) -> object | None:
    """What stands below a path, as JSON has it; None if nothing does."""
    variables = checkpoint.variables()
    nodes: list[ObjectNode] = []
    if graph is not None:
        start = graph.find(below)
        if start is None:
            return None
        nodes = list(graph.nodes)
        if below:
            nodes = _held_by(graph, start)
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
                "dtype": render.dtype(variable.info),
                "shape": list(variable.info.shape),
                "slots": [dataclasses.asdict(slot) for slot in variable.slots],
            }
            for variable in variables
        ],
        "nodes": [_node_as_data(node) for node in nodes],
    }


def _held_by(graph: ObjectGraph, start: ObjectNode) -> list[ObjectNode]:
    """A node and all below it, each once: children, and the slot variables that an optimizer keeps."""
    found = {start.id}
    work = [start]
    while work:
        node = work.pop()
        for number in (*node.children.values(), *(reference.slot_variable for reference in node.slot_variables)):
            if number not in found:
                found.add(number)
                work.append(graph.nodes[number])
    return [node for node in graph.nodes if node.id in found]


def _node_as_data(node: ObjectNode) -> object:
    return {
        "id": node.id,
        "path": node.path,
        "children": dict(node.children),
        "attributes": [dataclasses.asdict(attribute) for attribute in node.attributes],
        "slot_variables": [dataclasses.asdict(reference) for reference in node.slot_variables],
    }
