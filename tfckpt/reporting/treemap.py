"""A treemap of bytes: a rectangle for each tensor or scope, whose area is its share of the checkpoint.

The squarified layout of Bruls, Huizing and van Wijk (2000): rows of rectangles that are as square as possible.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .pages import escape

STYLE = """\
.map { position: relative; height: 22rem; margin-top: .5rem; } .map div { position: absolute; overflow: hidden;
  border: 1px solid var(--page); border-radius: 3px; font-size: 11px; line-height: 1.2; color: #fff; }
.map span { display: block; padding: 2px 4px; white-space: nowrap; text-overflow: clip; }
.map .model { background: #0969da; } .map .average { background: #8250df; } .map .optimizer { background: #9a6700; }
.map .other { background: #59636e; }
"""
#: Height and width of the area in which squares are square: pages are about this wide.
_WIDTH, _HEIGHT = 100.0, 36.0
#: Scopes below this share of the whole are drawn as one rectangle, "and N more".
_LEAST_SHARE = 0.0008


class Tile(NamedTuple):
    """A rectangle: its name, its kind, its bytes, and its share of the whole."""

    name: str
    kind: str
    nbytes: int


class Rectangle(NamedTuple):
    """A place, in percent of the width and of the height."""

    x: float
    y: float
    width: float
    height: float


def render_treemap(tiles: Sequence[Tile], total: int, format_size: Mapping[str, str] | None = None) -> str:
    """Return the map of all tiles; `format_size` has the words for the size of each tile by name."""
    sizes = format_size or {}
    large = [tile for tile in tiles if tile.nbytes >= total * _LEAST_SHARE]
    small = [tile for tile in tiles if tile.nbytes < total * _LEAST_SHARE]
    if small:
        large.append(Tile(f"and {len(small):,} more", "other", sum(tile.nbytes for tile in small)))
    large = sorted((tile for tile in large if tile.nbytes), key=lambda tile: -tile.nbytes)
    common = _find_common_scope([tile.name for tile in tiles])
    parts = ['<div class="map" role="img" aria-label="bytes by scope">']
    for tile, place in zip(large, squarify([tile.nbytes for tile in large]), strict=True):
        share = 100 * tile.nbytes / total
        tip = f"{tile.name}\n{sizes.get(tile.name, f'{tile.nbytes:,} bytes')}, {share:.1f} %, {tile.kind}"
        label = f"<span>{escape(tile.name.removeprefix(common))}</span>" if place.width > 4 and place.height > 6 else ""
        style = f"left:{place.x:.3f}%;top:{place.y:.3f}%;width:{place.width:.3f}%;height:{place.height:.3f}%"
        parts.append(f'<div class="{escape(tile.kind)}" style="{style}" title="{escape(tip)}">{label}</div>')
    return "\n".join([*parts, "</div>"])


def _find_common_scope(names: Sequence[str]) -> str:
    """Return the scope that all names begin with, with its slash; a label does not repeat it."""
    common = os.path.commonprefix([f"{name.rpartition('/')[0]}/" for name in names if "/" in name])  # noqa: RUF071  # not paths
    return common[: common.rfind("/") + 1]


def squarify(sizes: Sequence[float]) -> list[Rectangle]:
    """Return a rectangle for each size, in order; the sizes are positive and fall."""
    total = sum(sizes)
    if not total:
        return []
    areas = [size / total * _WIDTH * _HEIGHT for size in sizes]
    placed: list[Rectangle] = []
    x, y, width, height = 0.0, 0.0, _WIDTH, _HEIGHT
    start = 0
    while start < len(areas):
        side = min(width, height)
        end = start + 1
        while end < len(areas) and _find_worst(areas[start : end + 1], side) <= _find_worst(areas[start:end], side):
            end += 1
        row = areas[start:end]
        thick = sum(row) / side
        placed += _place_row(row, (x, y), thick, is_column=width >= height)
        if width >= height:
            x, width = x + thick, max(width - thick, 1e-9)
        else:
            y, height = y + thick, max(height - thick, 1e-9)
        start = end
    return [_to_percent(each) for each in placed]


def _to_percent(place: Rectangle) -> Rectangle:
    """Return a rectangle in percent of the area, and inside it where rounding has moved it out."""
    x, y = min(100 * place.x / _WIDTH, 100.0), min(100 * place.y / _HEIGHT, 100.0)
    return Rectangle(x, y, min(100 * place.width / _WIDTH, 100 - x), min(100 * place.height / _HEIGHT, 100 - y))


def _find_worst(row: Sequence[float], side: float) -> float:
    """Return the worst ratio of sides in a row of rectangles along a side."""
    thick = sum(row) / side
    return max(max(area / thick**2, thick**2 / area) for area in row)


def _place_row(
    row: Sequence[float], corner: tuple[float, float], thick: float, *, is_column: bool
) -> Iterator[Rectangle]:
    x, y = corner
    for area in row:
        length = area / thick
        if is_column:
            yield Rectangle(x, y, thick, length)
            y += length
        else:
            yield Rectangle(x, y, length, thick)
            x += length


def group_by_scope(names: Mapping[str, tuple[str, int]], most: int = 60) -> list[Tile]:
    """Return tiles for the scopes of tensors, each name with its kind and bytes.

    A scope is divided into its inner scopes, the largest first, while there are at most `most` tiles.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, (kind, _) in names.items():
        groups.setdefault((name.split("/")[0], kind), []).append(name)
    depth = dict.fromkeys(groups, 1)

    def size(key: tuple[str, str]) -> int:
        return sum(names[name][1] for name in groups[key])

    whole = set()
    while len(groups) < most:
        candidates = [key for key in groups if key not in whole and len(groups[key]) > 1]
        if not candidates:
            break
        key = max(candidates, key=size)
        inner: dict[tuple[str, str], list[str]] = {}
        for name in groups[key]:
            inner.setdefault(("/".join(name.split("/")[: depth[key] + 1]), key[1]), []).append(name)
        if len(groups) - 1 + len(inner) > most or (len(inner) == 1 and key in inner):
            whole.add(key)
            continue
        members, level = groups.pop(key), depth.pop(key)
        del members
        groups |= inner
        depth |= dict.fromkeys(inner, level + 1)
    return [Tile(scope, kind, size((scope, kind))) for scope, kind in groups]
