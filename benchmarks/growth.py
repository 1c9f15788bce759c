"""Growth of times: of listing with the number of tensors, of converting with their size; two plots with a line fit."""

from __future__ import annotations

import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from . import checkpoints
from .measure import Result, best, process
from .reading import list_all

#: Numbers of tensors to list.
COUNTS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
#: Sizes of converted outputs in megabytes.
SIZES = (10, 30, 100, 300, 1000, 2000)


def growth(folder: pathlib.Path) -> Iterator[Result]:
    """Measure both, plot them into the folder, and compare the slope for large sizes with that for small ones."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = [best(lambda count=count: list_all(checkpoints.entries(count)), runs=5) for count in COUNTS]
    _plot(folder / "list.png", "open and list", COUNTS, [1000 * value for value in seconds], ("tensors", "ms"))
    yield _linear("growth of listing, 10,000 to 100,000 tensors", COUNTS, seconds, 10_000)
    seconds = [_convert(size) for size in SIZES]
    _plot(folder / "convert.png", "convert to safetensors, whole process", SIZES, seconds, ("MB", "s"))
    yield _linear("growth of converting, 100 MB to 2 GB", SIZES, seconds, 100)


def _linear(what: str, xs: Sequence[int], seconds: Sequence[float], begin: int) -> Result:
    """Return how much steeper the curve is after `begin` than before it."""
    at = xs.index(begin)
    before = (seconds[at] - seconds[0]) / (xs[at] - xs[0])
    after = (seconds[-1] - seconds[at]) / (xs[-1] - xs[at])
    return Result(what, after / before, 1.5, True, "x linear", f"{seconds[0]:.3g} s to {seconds[-1]:.3g} s")


def _convert(megabytes: int) -> float:
    """Return the seconds that `tf2torch convert` takes for kernels, which it has to transpose."""
    prefix = checkpoints.kernels(megabytes)
    with tempfile.TemporaryDirectory(dir=checkpoints.FOLDER) as folder:
        out = pathlib.Path(folder) / "out.safetensors"
        rules = pathlib.Path(folder) / "rules.toml"
        rules.write_text(checkpoints.KERNEL_RULES, encoding="utf-8")
        command = [sys.executable, "-m", "converter", "convert", str(prefix), "-o", str(out), "--rules", str(rules)]
        return best(process(command), runs=3, before=lambda: out.unlink(missing_ok=True))


def _plot(path: pathlib.Path, title: str, xs: Sequence[int], ys: Sequence[float], units: tuple[str, str]) -> None:
    unit, y_unit = units
    import matplotlib  # type: ignore[import-not-found, unused-ignore]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]

    slope, intercept = np.polyfit(xs, ys, 1)
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    axes.plot([0, max(xs)], [intercept, intercept + slope * max(xs)], color="0.6", linewidth=1, zorder=1)
    axes.scatter(xs, ys, zorder=2)
    axes.set(xlim=(0, None), ylim=(0, None), xlabel=unit, ylabel=y_unit)
    each, scale = ("1,000 tensors", 1000) if unit == "tensors" else ("100 MB", 100)
    start = f", from {intercept:.3g} {y_unit}" if intercept > 0 else ""
    axes.set_title(f"{title}\n{slope * scale:.3g} {y_unit} for each {each}{start}")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
