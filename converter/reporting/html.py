"""The report as one page: facts, remarks, preprocessing, pictures of the weights, the family, and every tensor.

The list of tensors is whole without the script, which adds a search, a choice of kinds, and `#q=stem&kind=used`.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable

from . import plots
from .pages import document, text
from .record import FullReport, PreprocessingCard
from .words import ALL_WELL, Row, facts, megabytes, notes, number, remark_lines, rows

_STYLE = """\
dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .2rem 1.25rem; margin: 1rem 0 0; }
dt { color: var(--soft); overflow-wrap: anywhere; } dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: .25rem 0; padding-left: 1.25rem; }
li { overflow-wrap: anywhere; } pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
td.number, th.number { text-align: right; } tr.this td { font-weight: 700; } .doubt { color: var(--amber); }
.bar { min-width: 8rem; width: 40%; } .bar i { display: block; height: .8em; min-width: 1px; border-radius: 2px;
  background: var(--line); } .this .bar i { background: var(--blue); }
.find { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .75rem 0; position: sticky; top: 0;
  padding: .5rem 0; background: var(--page); } .find[hidden] { display: none; }
.find input, .find button { font: inherit; color: inherit; background: var(--band); border: 1px solid var(--line);
  border-radius: 6px; padding: .25rem .7rem; } .find input { flex: 1 1 14rem; min-width: 0; }
.find button[aria-pressed=true] { border-color: var(--blue); color: var(--blue); } .find output { color: var(--soft); }
#tensors td { vertical-align: top; padding-top: .35rem; padding-bottom: .35rem; }
#tensors td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 15rem; width: 45%; }
#tensors small { display: block; font-size: 12px; color: var(--soft); }
"""

_SCRIPT = """
(function () {
  "use strict";
  var bar = document.getElementById("find"), box = bar.querySelector("input"), said = bar.querySelector("output");
  var buttons = Array.from(bar.querySelectorAll("button")), kind = "all";
  var list = Array.from(document.querySelectorAll("#tensors tbody tr")).map(function (row) {
    return { row: row, kind: row.dataset.kind, text: row.textContent.toLowerCase() };
  });
  function show() {
    var words = box.value.toLowerCase().split(/\\s+/).filter(Boolean), count = 0;
    list.forEach(function (one) {
      var fits = (kind === "all" || one.kind === kind) && words.every(function (w) { return one.text.includes(w); });
      one.row.hidden = !fits;
      count += fits ? 1 : 0;
    });
    buttons.forEach(function (b) { b.setAttribute("aria-pressed", String(b.dataset.kind === kind)); });
    said.textContent = count === list.length ? "" :
      count.toLocaleString("en") + " of " + list.length.toLocaleString("en") + " shown";
  }
  function keep() {
    var parts = new URLSearchParams();
    if (box.value) parts.set("q", box.value);
    if (kind !== "all") parts.set("kind", kind);
    history.replaceState(null, "", "#" + parts);
  }
  function take() {
    var parts = new URLSearchParams(location.hash.slice(1)), wanted = parts.get("kind");
    box.value = parts.get("q") || "";
    kind = buttons.some(function (b) { return b.dataset.kind === wanted; }) ? wanted : "all";
    show();
  }
  box.addEventListener("input", function () { show(); keep(); });
  buttons.forEach(function (b) {
    b.addEventListener("click", function () { kind = b.dataset.kind; show(); keep(); });
  });
  addEventListener("hashchange", take);
  bar.hidden = false;
  take();
})();
"""


def page(report: FullReport) -> str:
    """Give the whole page."""
    return document(
        f"Converted: {report.output.name}",
        [
            f"<h1>Converted: <code>{text(report.output.name)}</code></h1>",
            f"<p>From the checkpoint <code>{text(report.conversion.source)}</code>.</p>",
            _facts(facts(report)),
            "<h2>To repeat it</h2>",
            "<p>From Python.</p>" if report.command is None else f'<pre class="command">{text(report.command)}</pre>',
            _sentences("Changed after the conversion", report.output.changes),
            _sentences("Notes", notes(report)),
            _remarks(report),
            "" if report.preprocessing is None else _preprocessing(report.preprocessing),
            _weights(report),
            _variants(report) if report.variants else "",
            _tensors(report),
            _provenance(report),
        ],
        style=_STYLE + plots.STYLE,
        script=_SCRIPT,
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "\n".join(f"<dt>{text(word)}</dt><dd>{text(said)}</dd>" for word, said in pairs) + "</dl>"


def _sentences(title: str, sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _remarks(report: FullReport) -> str:
    if not report.remarks:
        return f"<h2>What the numbers show</h2><p>{ALL_WELL}</p>"
    items = (
        f"<li{' class=bad' if remark.serious else ''}>{text(remark_lines(remark))}</li>" for remark in report.remarks
    )
    return f"<h2>What the numbers show</h2><ul>{''.join(items)}</ul>"


def _preprocessing(card: PreprocessingCard) -> str:
    parts = [f"<h2>Preprocessing</h2><p{' class=doubt' if card.doubtful else ''}>{text(card.sentence)}</p>"]
    pairs = [(name, said) for name, said in card.others]
    if card.settings is not None:
        pairs.insert(0, (f"kept ({card.settings.recipe})", card.settings.describe()))
    if pairs:
        parts.append(_facts(pairs))
    if card.settings is not None:
        settings = json.dumps(card.settings.to_dict(), indent=2)
        parts.append(f"<details><summary>As JSON</summary><pre>{text(settings)}</pre></details>")
    return "\n".join(parts)


def _weights(report: FullReport) -> str:
    drawn = plots.plots(report)
    if not drawn:
        return ""
    changed = ", before the changes above" if report.output.changes else ""
    return "\n".join(
        [f"<h2>Weights along the network</h2><p>Of the values as they were converted{changed}.</p>", *drawn]
    )


def _variants(report: FullReport) -> str:
    most = max(variant.parameters for variant in report.variants)
    lines = []
    for variant in report.variants:
        published = ("", "") if variant.published is None else tuple(f"{value:g}" for value in variant.published)
        cells = (f"{variant.classes:,}", f"{variant.parameters:,}", megabytes(variant.nbytes), *published)
        numbers = "".join(f'<td class="number">{text(cell)}</td>' for cell in cells)
        own = " (this one)" if variant.converted else ""
        width = 100 * variant.parameters / most
        lines.append(
            f"<tr{' class=this' if variant.converted else ''}><td>{text(variant.name)}{own}</td>"
            f'<td class="bar"><i style="width:{width:.2f}%"></i></td>{numbers}</tr>'
        )
    heads = ("classes", "parameters", "tensors", "published, M", "multiply-adds, G")
    head = "<th>network</th><th></th>" + "".join(f'<th class="number">{heading}</th>' for heading in heads)
    return "\n".join(
        [
            "<h2>Among its family</h2><p>Tensors of this network are as written, of the others in float32.</p>",
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>',
            *lines,
            "</tbody></table></div>",
        ]
    )


def _tensors(report: FullReport) -> str:
    listed = list(rows(report))
    counts = collections.Counter(row.kind for row in listed)
    serious = {target for remark in report.remarks if remark.serious for target in remark.targets}
    choices = [
        ("all", len(listed)),
        *((kind, counts[kind]) for kind in ("used", "constant", "ignored") if counts[kind]),
    ]
    buttons = "".join(
        f'<button type="button" data-kind="{kind}" aria-pressed="false">{kind} {count:,}</button>'
        for kind, count in choices
    )
    heads = ("shape", "layout", "dtype", "crc32c")
    numbers = ("mean", "std", "min", "max")
    head = "<th>tensor, and its source</th>" + "".join(f"<th>{heading}</th>" for heading in heads)
    head += "".join(f'<th class="number">{heading}</th>' for heading in numbers)
    return "\n".join(
        [
            "<h2>Tensors</h2>",
            '<div class="find" id="find" hidden><input type="search" placeholder="part of a name, shape, checksum …" '
            f'aria-label="search the tensors">{buttons}<output aria-live="polite"></output></div>',
            f'<div class="scroll"><table id="tensors"><thead><tr>{head}</tr></thead><tbody>',
            *(_row(report, row, row.target in serious) for row in listed),
            "</tbody></table></div>",
        ]
    )


def _row(report: FullReport, row: Row, serious: bool) -> str:
    begin = f'<tr data-kind="{row.kind}"{" class=bad" if serious else ""}>'
    how = {"used": f"← {row.source}", "constant": f"constant {row.how}", "ignored": f"ignored: {row.how}"}[row.kind]
    name = _name(row.target or row.source) + "".join(
        f"<small>{_name(said)}</small>" for said in (row.written, how) if said
    )
    if row.kind != "used":
        return f'{begin}<td>{name}</td><td colspan="8"></td></tr>'
    found = report.statistics.get(row.target)
    values = (None,) * 4 if found is None else (found.mean, found.std, found.minimum, found.maximum)
    cells = "".join(f"<td>{text(cell)}</td>" for cell in (row.shape, row.how, row.dtype, row.checksum))
    cells += "".join(f'<td class="number">{number(value)}</td>' for value in values)
    return f"{begin}<td>{name}</td>{cells}</tr>"


def _name(name: str) -> str:
    """Let a long name end its line after a slash rather than anywhere."""
    return text(name).replace("/", "/<wbr>")


def _provenance(report: FullReport) -> str:
    conversion = report.conversion
    files = [
        (
            file.name,
            ("size not known" if file.nbytes is None else f"{file.nbytes:,} bytes")
            + (f", SHA-256 {file.sha256}" if file.sha256 is not None else ""),
        )
        for file in conversion.files
    ]
    versions = ", ".join(f"{package} {version}" for package, version in conversion.versions.items())
    return f"<h2>Provenance</h2>{_facts([*files, ('versions', versions)])}"
