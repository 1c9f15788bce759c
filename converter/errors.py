"""The errors that `converter` raises on purpose.

::

    ConversionError
    |- UnknownModelError
    |- MappingError
    |- RulesError
    |- UnsupportedOpError
    |- OtherNetworkError
    |- GraphError
    |  |- TensorNameError        also KeyError
    |  |- FeedError              also ValueError
    |  `- GraphLimitError
    |- ExportError
    |- ProgramError
    `- VerificationError

A fault of the checkpoint itself is a `tfckpt.CheckpointError`.
So is a missing optional package: `tfckpt.MissingDependencyError` names the extra to install.
A message with several findings lists all of them, one a line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

from tfckpt.errors import ReportedError, pluralize, printable, say_close_names

Shape: TypeAlias = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Unmapped:
    """A source tensor that no rule matches, or one whose `target` does not exist in the model."""

    name: str
    shape: Shape
    target: str | None = None

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"unmapped: {printable(self.name)} {list(self.shape)}"
        if self.target is None:
            return text
        return f"{text} would become {printable(self.target)}, which the model does not have"


@dataclasses.dataclass(frozen=True, slots=True)
class Missing:
    """A target that no source fills.

    `expected` are the source names that would fill it, `close_names` similar names of unused sources.
    """

    target: str
    shape: Shape
    expected: tuple[str, ...] = ()
    close_names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"missing: {printable(self.target)} {list(self.shape)}"
        if self.expected:
            text += f" from {' or '.join(map(printable, self.expected))}"
        return text + say_close_names(self.close_names)


@dataclasses.dataclass(frozen=True, slots=True)
class Mismatch:
    """A source whose converted shape, `found`, is not its target's; None if the layout does not accept the source.

    `problem` says what is wrong if it is neither the target's shape nor the number of axes.
    """

    source: str
    source_shape: Shape
    layout: str
    target: str
    found: Shape | None
    expected: Shape
    problem: str | None = None

    def __str__(self) -> str:
        """Return one line with both shapes."""
        text = f"mismatched: {printable(self.source)} {list(self.source_shape)}"
        if self.problem is not None:
            return f"{text} {printable(self.problem)}, needed for {printable(self.target)} {list(self.expected)}"
        if self.found is None:
            text += f" does not have the axes of layout {self.layout}"
            return f"{text}, needed for {printable(self.target)} {list(self.expected)}"
        return f"{text} becomes {list(self.found)}, but {printable(self.target)} is {list(self.expected)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Ambiguity:
    """A source that several rules match, or a target that several sources fill."""

    name: str
    candidates: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for people."""
        return f"ambiguous: {printable(self.name)} between {' and '.join(map(printable, self.candidates))}"


@dataclasses.dataclass(frozen=True, slots=True)
class Contradiction:
    """A setting of a network that contradicts the checkpoint: its name, both values, and what shows the second one."""

    name: str
    found: str
    expected: str
    reason: str

    def __str__(self) -> str:
        """Return one line for people."""
        found, expected = printable(self.found), printable(self.expected)
        return f"contradicted: {printable(self.name)} is {found}, expected {expected} ({printable(self.reason)})"


class ConversionError(ReportedError):
    """The base of every error that this package raises on purpose."""

    def __str__(self) -> str:
        """Return the message with control characters escaped, since it may quote names from files."""
        return "\n".join(map(printable, self.message.split("\n")))


class UnknownModelError(ConversionError):
    """The checkpoint is not a known network, or too little is known to describe its network.

    `choices` are the networks or parts that it contains, if the caller has to choose one.
    """

    def __init__(self, message: str, *, choices: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.choices = tuple(choices)


class MappingError(ConversionError):
    """Source and target tensors do not match one to one; each attribute lists all findings of its kind.

    `hint` says what would match instead, or is None.
    """

    def __init__(
        self,
        *,
        unmapped: Sequence[Unmapped] = (),
        missing: Sequence[Missing] = (),
        mismatched: Sequence[Mismatch] = (),
        ambiguous: Sequence[Ambiguity] = (),
        contradicted: Sequence[Contradiction] = (),
        hint: str | None = None,
    ) -> None:
        self.unmapped = tuple(unmapped)
        self.missing = tuple(missing)
        self.mismatched = tuple(mismatched)
        self.ambiguous = tuple(ambiguous)
        self.contradicted = tuple(contradicted)
        self.hint = hint
        counts = (
            (len(self.unmapped), "unmapped"),
            (len(self.missing), "missing"),
            (len(self.mismatched), "mismatched"),
            (len(self.ambiguous), "ambiguous"),
            (len(self.contradicted), "contradicted"),
        )
        summary = ", ".join(f"{count} {kind}" for count, kind in counts if count)
        findings = (*self.unmapped, *self.missing, *self.mismatched, *self.ambiguous, *self.contradicted)
        lines = [f"the checkpoint does not match the model: {summary}", *(f"  {finding}" for finding in findings)]
        super().__init__("\n".join([*lines, hint] if hint else lines))

    def with_hint(self, hint: str) -> MappingError:
        """Return an error with the same findings and this hint."""
        return MappingError(
            unmapped=self.unmapped,
            missing=self.missing,
            mismatched=self.mismatched,
            ambiguous=self.ambiguous,
            contradicted=self.contradicted,
            hint=hint,
        )


class UnsupportedOpError(ConversionError):
    """The graph needs unsupported operations: `ops` lists each node with its op, `node` and `op` are the first."""

    def __init__(self, ops: Sequence[tuple[str, str]]) -> None:
        self.ops = tuple(ops)
        self.node, self.op = self.ops[0]
        kinds = len({op for _, op in self.ops})
        lines = [f"the graph needs {pluralize(kinds, 'operation')} that cannot be run:"]
        super().__init__("\n".join([*lines, *(f"  {printable(op)} at {printable(node)}" for node, op in self.ops)]))


@dataclasses.dataclass(frozen=True, slots=True)
class Unaccounted:
    """An operation that the converted network would not compute: its node, what it is, and what was expected there."""

    node: str
    op: str
    found: str
    expected: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{printable(self.found)}, expected {printable(self.expected)}: at {printable(self.node)} ({self.op})"


class OtherNetworkError(ConversionError):
    """The graph computes something that the converted network would not.

    `findings` has every such operation; `node` and `op` are those of the first.
    """

    def __init__(self, findings: Sequence[Unaccounted], *, graph: str) -> None:
        """`graph` is the path from which the graph can be loaded."""
        self.findings = tuple(findings)
        self.node, self.op = self.findings[0].node, self.findings[0].op
        lines = ["the graph computes another network than the weights would be converted to:"]
        lines += [f"  {finding}" for finding in self.findings]
        lines.append(
            "the graph itself runs in PyTorch with these weights: "
            f"converter.graph_module({printable(graph)!r}), "
            "with outputs=[NAME] for a graph without signatures, as in a .meta file"
        )
        super().__init__("\n".join(lines))


class GraphError(ConversionError):
    """The graph cannot be read or run; `node` and `op` say where, or are None."""

    def __init__(self, message: str, *, node: str | None = None, op: str | None = None) -> None:
        where = "" if node is None else f"{printable(node)}{f' ({printable(op)})' if op else ''}: "
        super().__init__(f"{where}{message}")
        self.node = node
        self.op = op


class TensorNameError(GraphError, KeyError):
    """The graph has no tensor of this name; `close_names` are the most similar names."""

    def __init__(self, message: str, *, name: str, close_names: Sequence[str] = ()) -> None:
        super().__init__(f"{message}{say_close_names(close_names)}")
        self.name = name
        self.close_names = tuple(close_names)


class FeedError(GraphError, ValueError):
    """A fed value does not match the tensor that it is fed to."""


class GraphLimitError(GraphError):
    """The graph claims more than a named limit allows: `limit`, `maximum` and `claimed`."""

    def __init__(self, message: str, *, limit: str, maximum: int, claimed: int, node: str | None = None) -> None:
        super().__init__(
            f"{message}: {claimed} is over the limit {limit}={maximum}; "
            f"if the graph is trusted, load it with limits=ReferenceLimits({limit}=...)",
            node=node,
        )
        self.limit = limit
        self.maximum = maximum
        self.claimed = claimed


class ExportError(ConversionError):
    """The output cannot be written; nothing is left behind at `path`, which is None if it is not known."""

    exit_code = 2

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message if path is None else f"{message}: {printable(path)}")
        self.path = path


class ProgramError(ConversionError):
    """A module cannot be exported as a program, or the runtime of its destination refuses it.

    `destination` is the ending of the output, such as `.onnx`.
    """

    def __init__(self, message: str, *, destination: str) -> None:
        super().__init__(message)
        self.destination = destination


class VerificationError(ConversionError):
    """The output does not agree with its source; `report` is the whole comparison."""

    exit_code = 1

    def __init__(self, message: str, *, report: object) -> None:
        super().__init__(message)
        self.report = report


class RulesError(ConversionError):
    """A file of rules cannot be used; `path` and `line`, counted from 1, say where, or are None."""

    exit_code = 2

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None) -> None:
        where = "" if path is None else printable(path) + (f", line {line}" if line is not None else "") + ": "
        super().__init__(f"{where}{printable(message)}")
        self.path = path
        self.line = line
