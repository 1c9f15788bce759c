"""The page of any checkpoint: what it is, where its bytes are, how its values are spread, and every tensor."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterable, Sequence

from ..errors import pluralize
from . import drawing, search, treemap
from .drawing import clip, draw_dot, draw_ranges, draw_tip, make_value_frame, render_figure
from .pages import escape, render_document
from .search import render_search
from .survey import Survey, TensorRecord
from .treemap import group_by_scope, render_treemap
from .words import format_number, format_size

_STYLE = """\
dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .2rem 1.25rem; margin: 1rem 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; } li { overflow-wrap: anywhere; }
.model { --hue: var(--blue); } .average { --hue: var(--violet); } .optimizer { --hue: var(--amber); }
.other { --hue: var(--soft); } .vector { --hue: var(--good); }
path.whole { stroke: var(--hue); opacity: .3; } path.most { stroke: var(--hue); opacity: .75; }
path.middle { stroke: var(--page); } svg.bars { width: 6rem; height: 1.4em; vertical-align: middle; }
svg.bars path { fill: var(--hue); } td .bad { color: var(--bad); }
"""
#: A page lists so many tensors; a plot has so many columns.
_MOST_ROWS, _MOST_COLUMNS = 5_000, 1_500
_NAMED = 20


def render_page(survey: Survey, name: str) -> str:
    """Return the page; `name` is shown as the title."""
    return render_document(
        f"Checkpoint: {name}",
        [
            f"<h1>Checkpoint: <code>{escape(name)}</code></h1>",
            _render_facts(survey),
            _render_findings(survey),
            _render_map(survey),
            *_render_plots(survey),
            _render_list(survey),
        ],
        style=_STYLE + search.STYLE + drawing.STYLE + treemap.STYLE,
        script=search.SCRIPT,
    )


def _render_facts(survey: Survey) -> str:
    summary = survey.summary
    kinds = collections.Counter(dict.fromkeys(("model", "average", "optimizer", "other"), 0))
    for tensor in survey.tensors:
        kinds[tensor.kind] += tensor.info.nbytes
    version = f"TensorFlow {summary.tensorflow_version}" if summary.tensorflow_version else ""
    version = version or (f"Keras {summary.keras_version}" if summary.keras_version else "")
    facts = [
        ("format", f"{summary.format}, {summary.style}{', in a SavedModel' if summary.saved_model else ''}"),
        ("written by", version),
        ("tensors", f"{summary.tensors:,}, {format_size(summary.nbytes)} in {pluralize(summary.files, 'file')}"),
        ("parameters", f"{summary.parameters:,}"),
        ("moving averages", _share(summary.average_tensors, summary.average_nbytes)),
        ("optimizer", _share(summary.optimizer_tensors, summary.optimizer_nbytes)),
        (
            "types",
            ", ".join(f"{count:,} {dtype.removeprefix('DT_').lower()}" for dtype, count in summary.dtypes.items()),
        ),
    ]
    rows = "\n".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in facts if value)
    return f"<dl>{rows}</dl>"


def _share(tensors: int, nbytes: int) -> str:
    return f"{pluralize(tensors, 'tensor')}, {format_size(nbytes)}" if tensors else ""


def _render_findings(survey: Survey) -> str:
    errors = [tensor.error or "" for tensor in survey.damaged]
    errors += [f"{os.path.basename(path)}: missing" for path in survey.summary.missing_files]
    odd = [
        f"{tensor.info.name}: {', '.join(tensor.remarks)}"
        for tensor in survey.tensors
        if tensor.remarks and (tensor.kind != "optimizer" or not _is_finite(tensor))
    ]
    return "\n".join(
        [
            _render_items("Damaged", errors, "bad"),
            _render_items("Unusual", odd, ""),
        ]
    )


def _is_finite(tensor: TensorRecord) -> bool:
    return tensor.statistics is None or tensor.statistics.is_finite


def _render_items(title: str, items: Sequence[str], mark: str) -> str:
    if not items:
        return ""
    lines = [f"<li>{escape(item)}</li>" for item in items[:_NAMED]]
    more = f"<li>and {len(items) - _NAMED:,} more, marked in the list below</li>" if len(items) > _NAMED else ""
    return f'<h2>{title}</h2><ul class="{mark}">{"".join(lines)}{more}</ul>'


def _render_map(survey: Survey) -> str:
    names = {tensor.info.name: (tensor.kind, tensor.info.nbytes) for tensor in survey.tensors if tensor.info.nbytes}
    total = sum(nbytes for _, nbytes in names.values())
    if not total:
        return ""
    tiles = group_by_scope(dict(names))
    shown = dict.fromkeys(tile.kind for tile in sorted(tiles, key=lambda tile: -tile.nbytes))
    keys = "".join(f'<span class="key {kind}">{kind}</span>' for kind in shown)
    sizes = {tile.name: format_size(tile.nbytes) for tile in tiles}
    caption = f"<p>Each area is a scope or a tensor.{keys if len(shown) > 1 else ''}</p>"
    return f"<h2>Bytes</h2>{caption}{render_treemap(tiles, total, sizes)}"


def _render_plots(survey: Survey) -> list[str]:
    figures = []
    for kind, title in (("model", "Model"), ("average", "Moving averages"), ("optimizer", "Optimizer")):
        tensors = [tensor for tensor in survey.tensors if tensor.kind == kind and tensor.statistics is not None]
        tensors.sort(key=lambda tensor: _natural_order(tensor.info.name))
        matrices = [tensor for tensor in tensors if len(tensor.info.shape) > 1]
        vectors = [tensor for tensor in tensors if len(tensor.info.shape) <= 1 and tensor.info.size > 1]
        for part, words, hue in ((matrices, "kernels and tables", kind), (vectors, "vectors", "vector")):
            if any(tensor.statistics is not None and not _is_all_zero(tensor) for tensor in part):
                figures.append(_render_plot(part, f"{title}, {words}", hue))
    return (
        ["<h2>Values</h2><p>Smallest to largest, middle 90 %, and median of each tensor.</p>", *figures]
        if figures
        else []
    )


def _is_all_zero(tensor: TensorRecord) -> bool:
    return tensor.statistics is not None and tensor.statistics.zeros == tensor.statistics.count


def _render_plot(tensors: Sequence[TensorRecord], title: str, hue: str) -> str:
    shown = list(tensors)
    note = ""
    if len(shown) > _MOST_COLUMNS:
        largest = sorted(shown, key=lambda tensor: -tensor.info.nbytes)[:_MOST_COLUMNS]
        kept = {tensor.info.name for tensor in largest}
        note = f", the largest {_MOST_COLUMNS:,} of {len(shown):,}"
        shown = [tensor for tensor in shown if tensor.info.name in kept]
    five = [_five_numbers(tensor) for tensor in shown]
    usual = sorted(max(abs(clip(values[1])), abs(clip(values[3]))) for values in five)
    low, high = min(clip(values[0]) for values in five), max(clip(values[4]) for values in five)
    frame, scale = make_value_frame(len(shown), low, high, usual[len(usual) // 2])
    marks = [*draw_ranges(frame, enumerate(five), hue)]
    for column, tensor in enumerate(shown):
        if tensor.remarks:
            marks.append(draw_dot(frame.x(column), 4, "flag", size=7))
        marks.append(draw_tip(frame, column, f"{tensor.info.name}\n{_describe(tensor)}"))
    places = [_find_place(tensor.info.name, shown) for tensor in shown]
    return render_figure(
        title, f"{pluralize(len(tensors), 'tensor')}{scale}{note}", frame.render(title, marks, places=places)
    )


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts `blocks_10` after `blocks_9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _find_place(name: str, tensors: Sequence[TensorRecord]) -> str:
    """Return the first scope that differs between tensors, such as `blocks_3`."""
    parts = name.split("/")
    depth = 0
    first = tensors[0].info.name.split("/")
    while depth < min(len(parts), len(first)) - 1 and all(
        tensor.info.name.split("/")[depth : depth + 1] == first[depth : depth + 1]
        for tensor in (tensors[0], tensors[-1])
    ):
        depth += 1
    return parts[min(depth, len(parts) - 1)]


def _five_numbers(tensor: TensorRecord) -> tuple[float | None, ...]:
    measured = tensor.statistics
    assert measured is not None, "only tensors with statistics are drawn"
    return measured.minimum, measured.p5, measured.median, measured.p95, measured.maximum


def _describe(tensor: TensorRecord) -> str:
    measured = tensor.statistics
    if measured is None:
        return ""
    numbers = (
        f"mean {format_number(measured.mean)}, std {format_number(measured.std)}\n"
        f"{format_number(measured.minimum)} to {format_number(measured.maximum)}"
    )
    return "\n".join([numbers, *tensor.remarks])


def _render_list(survey: Survey) -> str:
    counts = collections.Counter(tensor.kind for tensor in survey.tensors)
    kinds = [
        ("all", len(survey.tensors)),
        *((kind, counts[kind]) for kind in ("model", "average", "optimizer", "other")),
    ]
    heads = "".join(f"<th>{head}</th>" for head in ("tensor", "type and shape", "values"))
    heads += "".join(f'<th class="number">{head}</th>' for head in ("size", "mean", "std", "min", "max"))
    rows = [_render_row(tensor) for tensor in survey.tensors[:_MOST_ROWS]]
    note = ""
    if len(survey.tensors) > _MOST_ROWS:
        note = f"<p>The first {_MOST_ROWS:,} of {len(survey.tensors):,}; tfckpt ls lists all.</p>"
    return "\n".join(
        [
            f"<h2>Tensors</h2>{note}",
            render_search([(kind, count) for kind, count in kinds if count], "part of a name, type, shape …"),
            f'<div class="scroll"><table id="listed"><thead><tr>{heads}</tr></thead><tbody>',
            *rows,
            "</tbody></table></div>",
        ]
    )


def _render_row(tensor: TensorRecord) -> str:
    info, measured = tensor.info, tensor.statistics
    shape = "×".join(map(str, info.shape)) or "scalar"
    name = escape(info.name).replace("/", "/<wbr>")
    name += "".join(
        f'<small class="bad">{escape(text)}</small>' for text in (*tensor.remarks, tensor.error or "") if text
    )
    values = (None,) * 4 if measured is None else (measured.mean, measured.std, measured.minimum, measured.maximum)
    numbers = "".join(f'<td class="number">{format_number(value)}</td>' for value in values)
    dtype = info.tf_dtype.removeprefix("DT_").lower()
    return (
        f'<tr data-kind="{tensor.kind}"{" class=bad" if tensor.error else ""}><td class="name">{name}</td>'
        f'<td>{escape(dtype)} {shape}</td><td class="{tensor.kind}">{draw_bars(tensor.bars)}</td>'
        f'<td class="number">{format_size(info.nbytes)}</td>{numbers}</tr>'
    )


def draw_bars(bars: Iterable[float]) -> str:
    """Return a small histogram; empty if there are no bars."""
    heights = [round(20 * height, 1) for height in bars]
    if not heights:
        return ""
    steps = "".join(f"V{20 - height:g}h1" for height in heights)
    return (
        f'<svg class="bars" viewBox="0 0 {len(heights)} 20" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="M0,20{steps}V20z"/></svg>'
    )
