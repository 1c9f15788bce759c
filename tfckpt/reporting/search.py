"""A table with a search and buttons for kinds of rows; without the script the table is complete.

A link such as `#q=stem&kind=used` opens the page with a search.
"""

from __future__ import annotations

from collections.abc import Iterable

from .pages import escape

STYLE = """\
.find { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .75rem 0; position: sticky; top: 0;
  padding: .5rem 0; background: var(--page); } .find[hidden] { display: none; }
.find input, .find button { font: inherit; color: inherit; background: var(--band); border: 1px solid var(--line);
  border-radius: 6px; padding: .25rem .7rem; } .find input { flex: 1 1 14rem; min-width: 0; }
.find button[aria-pressed=true] { border-color: var(--blue); color: var(--blue); } .find output { color: var(--soft); }
.find + .scroll tr[hidden] { display: none; }
td.number, th.number { text-align: right; } td small { display: block; font-size: 12px; color: var(--soft); }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
"""

SCRIPT = """
(function () {
  "use strict";
  var bar = document.getElementById("find"), box = bar.querySelector("input"), counter = bar.querySelector("output");
  var buttons = Array.from(bar.querySelectorAll("button")), kind = "all";
  var list = Array.from(document.querySelectorAll("#listed tbody tr")).map(function (row) {
    return { row: row, kind: row.dataset.kind, text: row.textContent.toLowerCase() };
  });
  function show() {
    var words = box.value.toLowerCase().split(/\\s+/).filter(Boolean), count = 0;
    list.forEach(function (item) {
      var visible = (kind === "all" || item.kind === kind) &&
        words.every(function (word) { return item.text.includes(word); });
      item.row.hidden = !visible;
      count += visible ? 1 : 0;
    });
    buttons.forEach(function (b) { b.setAttribute("aria-pressed", String(b.dataset.kind === kind)); });
    counter.textContent = count === list.length ? "" :
      count.toLocaleString("en") + " of " + list.length.toLocaleString("en") + " shown";
  }
  function save() {
    var parts = new URLSearchParams();
    if (box.value) parts.set("q", box.value);
    if (kind !== "all") parts.set("kind", kind);
    history.replaceState(null, "", "#" + parts);
  }
  function restore() {
    var parts = new URLSearchParams(location.hash.slice(1)), wanted = parts.get("kind");
    box.value = parts.get("q") || "";
    kind = buttons.some(function (b) { return b.dataset.kind === wanted; }) ? wanted : "all";
    show();
  }
  box.addEventListener("input", function () { show(); save(); });
  buttons.forEach(function (b) {
    b.addEventListener("click", function () { kind = b.dataset.kind; show(); save(); });
  });
  addEventListener("hashchange", restore);
  bar.hidden = false;
  restore();
})();
"""


def render_search(kinds: Iterable[tuple[str, int]], placeholder: str) -> str:
    """Return the search for the table with the id `listed` below it; `kinds` are kinds of rows and their numbers.

    Rows have their kind in `data-kind`; the kind `all` shows every row.
    """
    buttons = "".join(
        f'<button type="button" data-kind="{escape(kind)}" aria-pressed="false">{escape(kind)} {count:,}</button>'
        for kind, count in kinds
    )
    return (
        f'<div class="find" id="find" hidden><input type="search" placeholder="{escape(placeholder)}" '
        f'aria-label="search the tensors">{buttons}<output aria-live="polite"></output></div>'
    )
