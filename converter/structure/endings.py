"""What a graph does with the logits of its network: return them, turn them into probabilities, train, or change them.

Where signatures say what a graph returns, the first one that returns something of the network decides.
Else an output is what no operation reads: not a loss, a summary or a step of an optimizer, which a session runs for
training, nothing that is summed over the images of a batch, as losses and metrics are, and nothing that is computed
from an input of whole numbers besides the image, as labels are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import Unaccounted
from .terms import GraphNode, Term, TermReader

#: Operations after the logits that turn them into what people read.
_ENDINGS = {
    "ArgMax": "argmax",
    "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "TopK": "the largest",
    "TopKV2": "the largest",
}
#: Operations that train or report, by the start and by the end of their names; what they return is no output.
_TRAINING = (
    "Assert",
    "Assign",
    "Apply",
    "InTopK",
    "L2Loss",
    "NoOp",
    "OutfeedEnqueue",
    "Print",
    "QueueEnqueue",
    "Rank",
    "ResourceApply",
    "Save",
    "Shape",
    "Size",
)
_REPORTING = ("CrossEntropyWithLogits", "Summary", "SummaryV2", "Assign", "AssignAdd", "Grad")
#: Operations that only give the logits another shape.
_ARRANGING = {"ExpandDims", "Reshape", "Squeeze"}
_SUMS = {"All", "Any", "Max", "Mean", "Min", "Prod", "Sum"}


class Ending(NamedTuple):
    """What follows the last layer: a sentence for each output, the node of the bias, and what is not accounted for."""

    outputs: tuple[str, ...]
    bias: str | None
    findings: tuple[Unaccounted, ...]


class Consumers:
    """The operations of a graph by what they read: those of a signature's outputs, or all of the main graph."""

    def __init__(self, reader: TermReader, signatures: Sequence[Sequence[Term]]) -> None:
        """`signatures` are the tensors that each signature returns, the most important signature first."""
        self._reader = reader
        self._signatures = [(ends, below(ends)) for ends in signatures]
        self._nodes: dict[str, list[GraphNode]] | None = None

    def returned(self, term: Term) -> Sequence[Term]:
        """Return the outputs of the first signature that returns something computed from a term."""
        return next((ends for ends, terms in self._signatures if term in terms), ())

    def uses(self, term: Term) -> list[Term]:
        """Return the terms that are computed from a term: by what a signature returns, or else anywhere."""
        for _, terms in self._signatures:
            if term in terms:
                return [one for one in terms if term in one.args]
        uses: dict[Term, None] = {}
        for name in self._names(term):
            for node in self._readers(name):
                one = self._reader.term(node.name)
                if term in one.args:
                    uses[one] = None
        return list(uses)

    def is_output(self, term: Term) -> bool:
        """Return True if a term is returned, under its own name or passed on under another."""
        ends = self.returned(term)
        return term in ends if ends else any(not self._readers(name) for name in self._names(term))

    def leads_to_output(self, term: Term, logits: Term) -> bool:
        """Return True if an output of the graph is computed from a term, which is computed from the logits."""
        if self.returned(term):
            return True
        inputs = _inputs_below(logits)
        names = dict.fromkeys([term.node])
        for name in (waiting := [term.node]):  # grows as it goes
            if self._trains(self._reader.nodes.get(name)):
                continue
            readers = self._readers(name)
            if not readers:
                if any(_has_whole_numbers(one) for one in _inputs_below(self._reader.term(name)) - inputs):
                    continue
                return True
            for node in readers:
                if node.name not in names:
                    names[node.name] = None
                    waiting.append(node.name)
        return False

    def trains(self, term: Term) -> bool:
        """Return True for a loss, a summary, a metric or a step of training."""
        return not self.returned(term) and self._trains(self._reader.nodes.get(term.node))

    def _trains(self, node: GraphNode | None) -> bool:
        if node is None:
            return False
        if node.op.startswith(_TRAINING) or node.op.endswith(_REPORTING) or self._is_gradient(node.name):
            return True
        return node.op in _SUMS and _is_over_batch(self._reader.term(node.name))

    def _is_gradient(self, name: str) -> bool:
        """Return True for a part of a gradient: TensorFlow names its scope after the operation, with `_grad` behind."""
        operation, found, _ = name.partition("_grad/")
        while found and "/" in operation:  # the scope of all gradients stands before the operation's name
            operation = operation.partition("/")[2]
            if operation in self._reader.nodes:
                return True
        return False

    def _names(self, term: Term) -> list[str]:
        """Return the nodes that pass a term on, its own first."""
        names = dict.fromkeys([term.node])
        for name in (waiting := [term.node]):  # grows as it goes
            for node in self._readers(name):
                if node.name not in names and self._reader.term(node.name) is term:
                    names[node.name] = None
                    waiting.append(node.name)
        return list(names)

    def _readers(self, name: str) -> Sequence[GraphNode]:
        if self._nodes is None:
            self._nodes = {}
            for node in self._reader.nodes.values():
                for read in {one.partition(":")[0] for one in node.inputs if not one.startswith("^")}:
                    self._nodes.setdefault(read, []).append(node)
        return self._nodes.get(name, ())


def follow(dense: Term, consumers: Consumers) -> Ending:
    """Say what follows the dense layer; logits that are returned only after a change are a finding."""
    biased = next(
        (use for use in consumers.uses(dense) if use.op in {"BiasAdd", "Add", "AddV2"} and use.has_variable), None
    )
    variables = [] if biased is None else [arg for arg in biased.args if not arg.has_data]
    bias = variables[0].node if len(variables) == 1 and variables[0].op == "Variable" else None
    logits = dense if biased is None or bias is None else biased
    uses = consumers.uses(logits)
    endings = [use for use in uses if use.op in _ENDINGS and consumers.leads_to_output(use, logits)]
    others = [use for use in uses if use.op not in _ENDINGS]
    returned = [use for use in others if not consumers.trains(use) and consumers.leads_to_output(use, logits)]
    if not endings and not consumers.is_output(logits):
        changed = returned or _scaled_for_loss(logits, others, consumers)
        if changed:
            use = changed[0]
            what = f"{use.op} applied to the logits"
            expected = "the logits, or softmax or sigmoid of them"
            if not consumers.returned(use):  # without a signature
                expected += " (a loss for each image that no operation reduces counts as an output)"
            return Ending((), bias, (Unaccounted(use.node, use.op, what, expected),))
        returned = []
    says = [f"{_ENDINGS[use.op]} of the logits ({use.node})" for use in endings]
    says += [f"also {use.op} of the logits ({use.node})" for use in returned]
    return Ending(tuple(dict.fromkeys(says)), bias, ())


def _scaled_for_loss(logits: Term, uses: Iterable[Term], consumers: Consumers) -> list[Term]:
    """Return the scales of logits that training uses in no other way: the network that it trains returns those.

    Losses may flatten the logits first.
    """
    same = {logits}
    used = []
    for use in (waiting := list(uses)):  # grows as it goes
        if use.op in _ARRANGING and use.args[0] in same:
            same.add(use)
            waiting += consumers.uses(use)
        elif not consumers.trains(use) or use.op.endswith("CrossEntropyWithLogits"):
            used.append(use)
    scaled = [use for use in used if all(arg in same or not arg.has_data for arg in use.args) and len(use.args) == 2]
    return scaled if len(scaled) == len(used) else []


def _is_over_batch(term: Term) -> bool:
    """Return True if a sum is over the first axis, the images of a batch, or over axes that are not known: all."""
    axes = term.args[1].value if len(term.args) == 2 else None
    return axes is None or 0 in axes


def _inputs_below(term: Term) -> set[Term]:
    """Return the placeholders and the parts of an iterator that a term is computed from."""
    return {one for one in below([term]) if one.op == "Placeholder" or one.op.startswith("Iterator")}


def _has_whole_numbers(term: Term) -> bool:
    """Return True for an input of integers, such as labels."""
    kinds = term.attributes.get("output_types")
    kind = term.attributes.get("dtype")
    if isinstance(kinds, tuple):
        kind = kinds[term.output] if 0 <= term.output < len(kinds) else None
    return str(kind).startswith(("int", "uint"))


def below(tops: Sequence[Term]) -> dict[Term, None]:
    """Return all terms that terms are computed from."""
    seen = dict.fromkeys(tops)
    waiting = list(tops)
    while waiting:
        for arg in waiting.pop().args:
            if arg not in seen:
                seen[arg] = None
                waiting.append(arg)
    return seen
