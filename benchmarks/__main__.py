"""`python -m benchmarks`: measure, print a table, and write it as Markdown and JSON, and plots.

Run it from the top of the repository, on an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from . import converting, graphs, growth, jobs, machine, models, programs, reading, remote, writing
from .measure import Result

RESULTS = pathlib.Path(__file__).parent / "results"

Measurement = Callable[[argparse.Namespace], Iterator[Result]]

MEASUREMENTS: dict[str, Measurement] = {
    "importing": lambda options: reading.importing(),
    "listing": lambda options: reading.listing(),
    "reading": lambda options: reading.reading(options.tensorflow),
    "remote": lambda options: remote.remote(),
    "converting": lambda options: converting.converting(options.tensorflow),
    "models": lambda options: models.models(options.tensorflow),
    "programs": lambda options: programs.programs(),
    "graphs": lambda options: graphs.graphs(options.tensorflow),
    "writing": lambda options: writing.writing(options.tensorflow),
    "jobs": lambda options: jobs.scaling(),
    "growth": lambda options: growth.growth(options.plots),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks; a missed target does not change the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--tensorflow", metavar="PYTHON", help="Python interpreter that has TensorFlow, to compare with it"
    )
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=MEASUREMENTS, help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, default=RESULTS / "results.json")
    parser.add_argument("--plots", metavar="FOLDER", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args(arguments)
    facts = machine.facts()
    print("\n".join(f"{name:12} {value}" for name, value in facts.items() if value is not None), flush=True)
    if options.tensorflow is None:
        print("no comparison with TensorFlow: name a Python interpreter that has it with --tensorflow")
    print(f"\n{'':54} {'measured':>12} {'target':>12}")
    results: list[Result] = []
    for name in options.only or MEASUREMENTS:
        for result in MEASUREMENTS[name](options):
            results.append(result)
            print(_line(result), flush=True)
    missed = [result for result in results if not result.met]
    print(f"\n{len(results) - len(missed)} of {len(results)} targets met")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    rows = [dataclasses.asdict(result) | {"met": result.met} for result in results]
    options.json.write_text(json.dumps({"machine": facts, "results": rows}, indent=2) + "\n", encoding="utf-8")
    table = options.json.with_suffix(".md")
    table.write_text(_format_markdown(results), encoding="utf-8")
    print(f"written to {options.json} and {table}")
    return 0


def _line(result: Result) -> str:
    sign = "≤" if result.at_most else "≥"
    detail = f"  ({result.detail})" if result.detail else ""
    verdict = "met" if result.met else "MISSED"
    return (
        f"{result.what:54} {_number(result.measured):>12} {sign + ' ' + _number(result.target):>12} "
        f"{verdict:7} {result.unit}{detail}"
    )


def _format_markdown(results: Sequence[Result]) -> str:
    """Return the table as docs/performance.md has it."""
    rows = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    for result in results:
        bound = "at most" if result.at_most else "at least"
        detail = f" ({result.detail})" if result.detail else ""
        cells = [
            result.what,
            f"{bound} {_number(result.target)} {result.unit}",
            f"{_number(result.measured)}{detail}",
            "met" if result.met else "missed",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _number(value: float) -> str:
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.2f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
