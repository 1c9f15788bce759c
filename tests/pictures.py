"""Draw the pictures of docs/guide.md: the blocks of the networks, and the published accuracy of the family.

    python -m tests.pictures

They are SVG files without a background, in colors that are readable on white and on black.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from converter.model.published import PUBLISHED
from tfckpt.reporting.pages import escape

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "pictures"
_GRAY, _BLUE, _AMBER, _VIOLET = "#7d838b", "#3b6fb6", "#b5701a", "#7f5bb0"

#: Boxes from top to bottom: text and color.
_Boxes = Sequence[tuple[str, str]]
#: Title, boxes, and how the result is joined with the input.
_CHAINS: tuple[tuple[str, _Boxes, str], ...] = (
    (
        "fused MBConv",
        (("k×k conv, stride s", _BLUE), ("BN, SiLU", _GRAY), ("1×1 conv", _BLUE), ("BN", _GRAY)),
        "+",
    ),
    (
        "MBConv",
        (
            ("1×1 conv", _BLUE),
            ("BN, SiLU", _GRAY),
            ("k×k depthwise, stride s", _VIOLET),
            ("BN, SiLU", _GRAY),
            ("SE", _AMBER),
            ("1×1 conv", _BLUE),
            ("BN", _GRAY),
        ),
        "+",
    ),
    (
        "SE",
        (
            ("mean of H×W", _AMBER),
            ("1×1 conv, bias", _BLUE),
            ("SiLU", _GRAY),
            ("1×1 conv, bias", _BLUE),
            ("sigmoid", _GRAY),
        ),
        "×",
    ),
)
#: The channels between the boxes of each chain: c in, e·c expanded, c' out.
_CHANNELS = (
    ("c", "", "e·c", "", "c′"),
    ("c", "", "e·c", "", "", "e·c", "", "c′"),
    ("e·c", "e·c", "", "c/4", "", "e·c"),
)
_COLUMN, _BOX, _HIGH, _STEP, _TOP = 234, 182, 28, 48, 62

#: Lines of the family: title, start of the names, color, and where the labels are.
_LINES = (
    ("EfficientNetV2", "efficientnetv2-", "#4a82d0", ("start", 9, 14)),
    ("EfficientNet", "efficientnet-b", "#c27f22", ("end", -8, -7)),
    ("EfficientNet-Lite", "efficientnet-lite", "#3c9455", ("start", 9, 14)),
)
#: Labels that would be over others elsewhere.
_OTHERWISE = {
    "efficientnetv2-b1": ("middle", 2, -9),
    "efficientnetv2-b2": ("middle", 0, -10),
    "efficientnetv2-s": ("middle", -2, -10),
    "efficientnet-b5": ("start", 2, 19),
}


class _Point(NamedTuple):
    name: str
    x: float
    y: float


def draw_blocks() -> str:
    """Return the drawing of a fused MBConv block, an MBConv block, and squeeze and excitation."""
    parts = list[str]()
    for number, ((title, boxes, join), channels) in enumerate(zip(_CHAINS, _CHANNELS, strict=True)):
        parts += _draw_chain(_COLUMN * number + 34, title, boxes, join, channels)
    height = _TOP + _STEP * max(len(boxes) for _, boxes, _ in _CHAINS) + 84
    return _render(_COLUMN * len(_CHAINS) + 6, height, "Fused MBConv, MBConv, and squeeze and excitation", parts)


def _draw_chain(left: int, title: str, boxes: _Boxes, join: str, channels: Sequence[str]) -> Iterator[str]:
    middle = left + _BOX // 2
    yield _text(middle, 18, title, size=17, weight=700)
    y = _TOP
    yield _line((middle, 28), (middle, y), arrow=True)
    for (text, color), before in zip(boxes, channels, strict=False):
        yield from _channels(middle, y, before)
        yield f'<rect x="{left}" y="{y}" width="{_BOX}" height="{_HIGH}" rx="6" fill="{color}"/>'
        yield _text(middle, y + 19, text, fill="#fff")
        yield _line((middle, y + _HIGH), (middle, y + _STEP), arrow=True)
        y += _STEP
    yield from _channels(middle, y, channels[-1])
    yield f'<circle cx="{middle}" cy="{y + 12}" r="11" fill="none" stroke="{_GRAY}" stroke-width="1.5"/>'
    yield _text(middle, y + 18, join, size=17)
    yield _line((middle, y + 23), (middle, y + 46), arrow=True)
    yield _line(
        (middle, 40), (left - 16, 40), (left - 16, y + 12), (middle - 12, y + 12), arrow=True, dashed=join == "+"
    )
    if join == "+":
        yield _text(middle, y + 64, "added if s = 1 and c = c′", size=13)


def _channels(middle: int, y: int, text: str) -> Iterator[str]:
    if text:
        yield _text(middle + 8, y - 6, text, size=13, anchor="start")


def draw_family() -> str:
    """Return the plot of published accuracy against work, from `converter.model.published`."""
    width, height, left, bottom, top = 700, 430, 52, 384, 14
    low_x, high_x, low_y, high_y = math.log10(0.3), math.log10(90), 74.0, 87.0

    def place(multiply_adds: float, top1: float) -> tuple[float, float]:
        share = (math.log10(multiply_adds) - low_x) / (high_x - low_x)
        return left + share * (width - left - 10), bottom - (top1 - low_y) / (high_y - low_y) * (bottom - top)

    parts = list[str]()
    for tick in range(76, 87, 2):
        _, y = place(1, tick)
        parts.append(_line((left, y), (width - 10, y), opacity=0.25))
        parts.append(_text(left - 8, y + 5, f"{tick}", size=13, anchor="end"))
    for tick in (0.5, 1, 2, 5, 10, 20, 50):
        x, _ = place(tick, low_y)
        parts.append(_line((x, top), (x, bottom), opacity=0.25))
        parts.append(_text(x, bottom + 18, f"{tick:g}", size=13))
    parts.append(_text((left + width) / 2, height - 6, "multiply-adds for one image, in billions", size=13))
    parts.append(_text(left + 6, top + 8, "ImageNet top-1, %", size=13, anchor="start"))
    for number, (title, start, color, usual) in enumerate(_LINES):
        points = [
            _Point(name, *place(figures.multiply_adds, figures.top1))
            for name, figures in PUBLISHED.items()
            if name.startswith(start) and figures.top1 is not None
        ]
        points.sort(key=lambda point: point.x)
        parts.append(_line(*((point.x, point.y) for point in points), color=color))
        for point in points:
            anchor, x, y = _OTHERWISE.get(point.name, usual)
            name = point.name.rpartition("-")[2]
            parts.append(f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="5" fill="{color}"/>')
            parts.append(
                _text(point.x + x, point.y + y, name[0].upper() + name[1:], fill=color, size=13, anchor=anchor)
            )
        y = bottom - 62 + 21 * number
        parts.append(f'<circle cx="{width - 175}" cy="{y - 5}" r="5" fill="{color}"/>')
        parts.append(_text(width - 162, y, title, fill=color, anchor="start"))
    return _render(width, height, "Published accuracy and work of the EfficientNet family", parts)


def _line(
    *points: tuple[float, float],
    color: str = _GRAY,
    arrow: bool = False,
    dashed: bool = False,
    opacity: float = 1.0,
) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = ' marker-end="url(#arrow)"' if arrow else ""
    marks += ' stroke-dasharray="5 4"' if dashed else ""
    marks += f' opacity="{opacity:g}"' if opacity < 1 else ""
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"{marks}/>'


def _text(
    x: float, y: float, text: str, *, size: int = 14, weight: int = 400, fill: str = _GRAY, anchor: str = "middle"
) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{bold} fill="{fill}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _render(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(label)}" font-family="system-ui, sans-serif">'
    )
    arrow = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0,0L8,4L0,8z" fill="{_GRAY}"/></marker>'
    )
    return "\n".join([head, f"<defs>{arrow}</defs>", *parts, "</svg>\n"])


#: The pictures by file name.
PICTURES: Mapping[str, str] = {"blocks.svg": draw_blocks(), "family.svg": draw_family()}


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in PICTURES.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
