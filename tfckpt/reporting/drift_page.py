"""The page of two checkpoints: how far each tensor has moved from the first to the second."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from .._typing import Array, Progress
from ..checkpoint import Checkpoint
from ..checks.comparison import Comparison
from ..errors import CheckpointError, ResourceError, pluralize
from ..tensors.info import TensorInfo
from ..tensors.reading import CONNECTIONS
from . import drawing, search
from .drawing import draw_dot, draw_tip, make_log_frame, render_figure
from .pages import escape, render_document
from .search import render_search
from .survey import Kind, find_kinds
from .words import format_number

_STYLE = """\
.model { --hue: var(--blue); } .average { --hue: var(--violet); } .optimizer { --hue: var(--amber); }
.other { --hue: var(--soft); } li { overflow-wrap: anywhere; } td.bar { min-width: 6rem; width: 25%; }
td.bar i { display: block; height: .8em; min-width: 1px; border-radius: 2px; background: var(--hue); }
"""
_KINDS: tuple[Kind, ...] = ("model", "average", "optimizer", "other")
_PIECE = 1 << 20
_NAMED = 20
#: The lower end of the scale; a tensor that did not move is there.
_LEAST = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """How far a tensor has moved: the norm of the difference over that of the first, and the largest difference.

    Both norms are Euclidean. `relative` is infinite if the first is zero and the second is not, and NaN if it has
    changed and a value is not finite. `changed` of `count` elements differ; NaN does not differ from NaN.
    """

    name: str
    kind: Kind
    relative: float
    largest: float
    changed: int
    count: int


def measure_drifts(first: Checkpoint, second: Checkpoint, *, progress: Progress | None = None) -> list[Drift]:
    """Return the drift of each tensor of numbers that both checkpoints have in the same shape.

    Damaged tensors are left out. `progress(done, total)` is called after each tensor with numbers of tensors.
    """
    pairs = [(info, second.info(info.name)) for info in first.infos() if info.name in second.reader]
    kinds = find_kinds(first, [info for info, _ in pairs])
    names = [
        one.name
        for one, other in pairs
        if one.size and one.shape == other.shape and _is_number(one) and _is_number(other)
    ]
    drifts = []
    with first.reader.read_ahead(names, CONNECTIONS), second.reader.read_ahead(names, CONNECTIONS):
        for number, name in enumerate(names, 1):
            try:
                drifts.append(_measure(name, kinds[name], first.read(name), second.read(name)))
            except ResourceError:
                raise
            except CheckpointError:
                continue  # the comparison says so
            finally:
                if progress is not None:
                    progress(number, len(names))
    return drifts


def _is_number(info: TensorInfo) -> bool:
    return info.dtype.kind in "fiuV" and info.dtype.type is not np.void


def _measure(name: str, kind: Kind, before: Array, after: Array) -> Drift:
    moved = start = largest = 0.0
    changed = 0
    a, b = before.reshape(-1), after.reshape(-1)
    for at in range(0, a.size, _PIECE):
        x, y = a[at : at + _PIECE].astype(np.float64), b[at : at + _PIECE].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            delta = np.abs(y - x)
            moved += float(np.dot(delta, delta))
            start += float(np.dot(x, x))
        largest = float(np.maximum(largest, delta.max()))
        changed += int(np.count_nonzero((x != y) & ~(np.isnan(x) & np.isnan(y))))
    if not changed:
        return Drift(name, kind, 0.0, 0.0, 0, a.size)
    relative = math.sqrt(moved / start) if start else (math.inf if moved else 0.0)
    return Drift(name, kind, relative, largest, changed, a.size)


def render_page(comparison: Comparison, drifts: Sequence[Drift], names: tuple[str, str]) -> str:
    """Return the page; `names` are those of the two checkpoints."""
    first, second = names
    moved = [drift for drift in drifts if drift.changed]
    facts = [
        f"{pluralize(len(moved), 'tensor')} of {len(drifts):,} moved",
        *([f"{len(comparison.only_first):,} only in the first"] if comparison.only_first else []),
        *([f"{len(comparison.only_second):,} only in the second"] if comparison.only_second else []),
        *([f"{len(comparison.changed):,} with another type or shape"] if comparison.changed else []),
    ]
    return render_document(
        f"Drift: {first} to {second}",
        [
            f"<h1><code>{escape(first)}</code> to <code>{escape(second)}</code></h1>",
            f"<p>{escape('; '.join(facts))}.</p>",
            _render_names("Only in the first", comparison.only_first),
            _render_names("Only in the second", comparison.only_second),
            _render_names("Another type or shape", [info.name for info, _ in comparison.changed]),
            *_render_plots(drifts),
            _render_list(drifts) if drifts else "",
        ],
        style=_STYLE + search.STYLE + drawing.STYLE,
        script=search.SCRIPT if drifts else "",
    )


def _render_names(title: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f"<li>and {len(names) - _NAMED:,} more</li>" if len(names) > _NAMED else ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(name)}</li>' for name in names[:_NAMED])}{more}</ul>"


def _render_plots(drifts: Sequence[Drift]) -> list[str]:
    figures = []
    for kind in _KINDS:
        shown = [drift for drift in drifts if drift.kind == kind]
        if not any(drift.changed for drift in shown):
            continue
        largest = max((drift.relative for drift in shown if math.isfinite(drift.relative)), default=1.0)
        frame = make_log_frame(len(shown), math.log10(_LEAST), math.ceil(math.log10(max(largest, 10 * _LEAST))))
        marks = []
        for column, drift in enumerate(shown):
            is_odd = not math.isfinite(drift.relative)
            marks.append(draw_dot(frame.x(column), frame.y(drift.relative), "flag" if is_odd else kind))
            tip = f"{drift.name}\nmoved by {drift.relative:.3g} of its norm, at most {drift.largest:.3g}"
            marks.append(draw_tip(frame, column, tip))
        caption = f"{pluralize(len(shown), 'tensor')}: norm of the difference over that of the first, on a log scale"
        plot = frame.render(f"drift of {kind}", marks)
        figures.append(render_figure(kind.capitalize(), caption, plot))
    return ["<h2>Drift</h2>", *figures] if figures else []


def _render_list(drifts: Sequence[Drift]) -> str:
    ordered = sorted(drifts, key=lambda drift: (math.isfinite(drift.relative), -drift.relative))
    finite = [drift.relative for drift in drifts if math.isfinite(drift.relative)]
    largest = max(finite, default=0.0) or 1.0
    counts = [(kind, sum(drift.kind == kind for drift in drifts)) for kind in _KINDS]
    rows = []
    for drift in ordered:
        width = 100 * min(drift.relative, largest) / largest if math.isfinite(drift.relative) else 100
        name = escape(drift.name).replace("/", "/<wbr>")
        rows.append(
            f'<tr data-kind="{drift.kind}"><td class="name">{name}</td>'
            f'<td class="bar {drift.kind}"><i style="width:{width:.1f}%"></i></td>'
            f'<td class="number">{format_number(drift.relative)}</td>'
            f'<td class="number">{format_number(drift.largest)}</td>'
            f'<td class="number">{100 * drift.changed / drift.count:.1f} %</td></tr>'
        )
    heads = '<th>tensor</th><th></th><th class="number">relative</th><th class="number">largest</th>'
    heads += '<th class="number">changed</th>'
    return "\n".join(
        [
            "<h2>Tensors, those that moved most first</h2>",
            render_search([("all", len(drifts)), *((k, n) for k, n in counts if n)], "part of a name …"),
            f'<div class="scroll"><table id="listed"><thead><tr>{heads}</tr></thead><tbody>',
            *rows,
            "</tbody></table></div>",
        ]
    )
