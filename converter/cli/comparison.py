"""`tf2torch bench A B …`: compare weights and programs of one network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfckpt.cli.render import format_table, say, to_json
from tfckpt.files.atomic import atomic_file
from tfckpt.reporting.words import format_size

from .._typing import Array
from ..errors import ConversionError, ExportError, FeedError

if TYPE_CHECKING:
    from ..programs.comparing import Measured

#: Random images, if there are none.
_RANDOM = 16


def add_comparison_options(parser: argparse._ActionsContainer) -> None:
    """Add the options of a comparison."""
    parser.add_argument(
        "--data", metavar="FOLDER|FILE.npz", help="labelled images, as for tf2torch evaluate (default: random ones)"
    )
    parser.add_argument("--report", metavar="FILE", help="also write a page with a picture, in .html")


def compare(options: argparse.Namespace) -> int:
    """Measure every output and print one table."""
    for name in ("against", "compile", "channels_last", "fuse_bn"):
        if getattr(options, name):
            raise ConversionError(f"--{name.replace('_', '-')} belongs to a measurement of one output")
    if options.device != "cpu" or options.dtype != "float32":
        raise ConversionError("several outputs are compared on the CPU, in the precision of their files")
    if options.report is not None and not options.report.lower().endswith(".html"):
        raise ExportError("a report has to end in .html", path=options.report)
    from ..programs.comparing import compare_outputs

    images, labels = _read_images(options)
    threads = options.threads or 1
    results = compare_outputs(
        options.outputs,
        images,
        labels,
        runs=options.runs,
        threads=threads,
        options={} if options.key is None else {"key": options.key},
        progress=lambda path: say(f"measuring {path}"),
    )
    where = f"{len(images):,} {'random inputs' if labels is None else 'labelled images'}, {threads} " + (
        "thread" if threads == 1 else "threads"
    )
    if options.report is not None:
        from ..reporting.comparison_page import render_page

        with atomic_file(options.report, overwrite=True) as file:
            file.write(render_page([result.to_dict() for result in results], where).encode())
        say(f"report: {options.report}")
    if options.json:
        print(to_json({"where": where, "outputs": [result.to_dict() for result in results]}))
    else:
        print(where)
        print(_format_table(results))
    return 0


def _read_images(options: argparse.Namespace) -> tuple[Array, Array | None]:
    """Return images as inputs (N, channels, height, width) and their class numbers, or random ones."""
    from ..formats.files import read_network
    from ..loading import load_model
    from ..programs.comparing import find_runtime
    from ..verification.evaluation import open_arrays, open_folder
    from .evaluate import Settings

    weights = next((path for path in options.outputs if find_runtime(path) == "weights"), None)
    config = None if weights is None else load_model(weights, key=options.key).config
    if options.data is None:
        size = options.size or (None if config is None else config.eval_size)
        if size is None:
            raise ConversionError("the size of the images is not known; give it with --size, or images with --data")
        channels = 3 if config is None else config.in_channels
        return np.random.default_rng(0).standard_normal((_RANDOM, channels, size, size)).astype(np.float32), None
    if weights is None or config is None:
        raise FeedError("the preprocessing of images is not known: give converted weights among the outputs")
    metadata = read_network(weights, options.key).metadata
    settings = Settings(weights, metadata, preprocessing=None, labels=None)
    if options.data.lower().endswith(".npz"):
        data: Any = open_arrays(
            options.data, channels=config.in_channels, preprocessing=settings.preprocessing, size=options.size
        )
    else:
        data = open_folder(
            options.data,
            classes=config.num_classes,
            labels=settings.labels(config.num_classes),
            preprocessing=settings.preprocessing(),
            size=options.size,
        )
    batches = list(data.batches(64))
    images = np.concatenate([batch.images for batch in batches]).transpose(0, 3, 1, 2)
    return images, np.concatenate([batch.labels for batch in batches])


def _format_table(results: Sequence[Measured]) -> str:
    """Return a row for each figure and a column for each output, in blocks that fit the terminal."""
    columns = [_format_column(result, is_first=number == 0) for number, result in enumerate(results)]
    blocks, width = [[columns[0]]], _LABEL_WIDTH + 2 + max(map(len, columns[0]))
    for column in columns[1:]:
        width += 2 + max(map(len, column))
        if width > _WIDTH:
            blocks.append([])
            width = _LABEL_WIDTH + 2 + max(map(len, column))
        blocks[-1].append(column)
    tables = []
    for block in blocks:
        head, *rows = zip(_LABELS, *block, strict=True)
        tables.append(format_table(list(head), [list(row) for row in rows], right="l" + "r" * len(block)))
    return "\n\n".join(tables)


#: The width of a terminal, and the labels of the rows.
_WIDTH = 80
_LABELS = (
    *("", "accuracy", "ms, 1 image", "  90 % below", "ms, 8 images", "  90 % below"),
    *("file", "peak memory", "apart", "changed"),
)
_LABEL_WIDTH = max(map(len, _LABELS))


def _format_column(result: Measured, *, is_first: bool) -> tuple[str, ...]:
    return (
        result.name,
        "" if result.accuracy is None else f"{result.accuracy:.2%}",
        *(_format_time(times.get(batch)) for batch in (1, 8) for times in (result.median, result.p90)),
        format_size(result.nbytes),
        "" if result.peak_memory is None else format_size(result.peak_memory),
        "" if is_first else f"{result.difference:.1e}",
        "" if is_first else f"{result.changed:,}",
    )


def _format_time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.3g}"
