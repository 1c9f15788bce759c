"""A whole proof: what was compared, what agrees, and what is not proved; as JSON, Markdown and HTML."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

from tfckpt.errors import printable

from ..errors import ExportError, VerificationError
from .activations import ActivationsReport
from .layers_report import HEADINGS, LayersReport
from .weights import WeightsReport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the comparison of an output with its source came to.

    `layers` are compared with the graph beside the checkpoint, `golden` with values TensorFlow recorded; None for not.
    `not_proved` says in sentences what was not looked at, and why.
    """

    source: str
    output: str
    weights: WeightsReport
    layers: LayersReport | None = None
    golden: ActivationsReport | None = None
    not_proved: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that was compared agrees."""
        return self.weights.ok and all(part is None or part.ok for part in (self.layers, self.golden))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "ok": self.ok,
            "source": self.source,
            "output": self.output,
            "weights": self.weights.to_dict(),
            "layers": None if self.layers is None else self.layers.to_dict(),
            "golden": None if self.golden is None else self.golden.to_dict(),
            "not_proved": list(self.not_proved),
        }

    def to_json(self) -> str:
        """The proof as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """The proof as a document."""
        lines = [
            f"# {'Proved' if self.ok else 'Not proved'}: {_plain(self.output)}",
            "",
            f"Compared with the checkpoint {_plain(self.source)}.",
            "",
            "## Weights",
            "",
            *_block(self.weights.summary()),
            *(f"* {_plain(finding)}" for finding in self.weights.findings()),
        ]
        if self.layers is not None:
            lines += ["", "## Layers", "", *_block(self.layers.summary())]
            lines += [f"* {_plain(finding.strip())}" for finding in self.layers.findings()]
            lines += ["", _row(HEADINGS), _row(("---",) * len(HEADINGS)), *map(_row, self.layers.rows())]
        if self.golden is not None:
            lines += ["", "## Values TensorFlow recorded", "", *_block(self.golden.summary())]
            lines += [f"* {_plain(finding)}" for finding in self.golden.findings()]
        if self.not_proved:
            lines += ["", "## Not proved", "", *(f"* {_plain(sentence)}" for sentence in self.not_proved)]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """The proof as one self-contained page."""
        from .html import page

        return page(self)

    def require(self) -> None:
        """Raise `VerificationError` with every finding of every part, when there is one."""
        messages = []
        for part in (self.weights, self.layers, self.golden):
            try:
                if part is not None:
                    part.require()
            except VerificationError as error:
                messages.append(error.message)
        if messages:
            raise VerificationError("\n".join(messages), report=self)


FORMATS: dict[str, Callable[[Proof], str]] = {
    ".json": Proof.to_json,
    ".md": Proof.to_markdown,
    ".html": Proof.to_html,
}


def renderer_of(path: str) -> Callable[[Proof], str]:
    """Choose by the ending of a report's name; `ExportError` when it is none of them."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise ExportError(f"a report's name ends in {', '.join(FORMATS)}", path=path)
    return FORMATS[ending]


def _block(text: str) -> list[str]:
    return ["```text", *text.splitlines(), "```"]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    text = printable(text)
    for character in "\\`*_|<>[]":
        text = text.replace(character, "\\" + character)
    return text
