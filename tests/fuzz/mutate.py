"""Run a seeded, limited number of mutated files through every target.

    python -m tests.fuzz.mutate --count 100000 --seed 1

Prints, for each target, the counts of outcomes, the slowest input and the largest growth of memory.
A finding is printed with its input in hexadecimal, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import random
import sys
import time
import traceback

from tests.fuzz.targets import TARGETS, Target
from tests.hostile.sealing import mutate, nudge

#: Relative numbers of inputs; converting is a hundred times slower than the other targets.
SHARES = {"index": 22, "sealed-index": 22, "data": 14, "v1": 6, "sealed-v1": 8, "object-graph": 8, "state": 4}
SHARES |= {"archive": 6, "keras": 12, "meta": 3, "saved-model": 4, "frozen-graph": 2, "convert": 1}
SHARES |= {"report": 1, "record": 3, "preprocessing": 3, "labels": 3, "rules": 2, "safetensors": 4, "npz": 3, "pth": 3}


@dataclasses.dataclass
class Outcome:
    """The outcome of all inputs of one target; times in seconds, memory in bytes."""

    inputs: int = 0
    clean: int = 0
    errors: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    slowest: float = 0.0
    largest: int = 0
    findings: list[str] = dataclasses.field(default_factory=list)


def run(target: Target, count: int, seed: int) -> Outcome:
    """Run `count` mutations of the target's seeds; an input counts once for each class of error it leads to."""
    draw = random.Random(f"{target.name} {seed}")
    seeds = list(target.seeds())
    outcome = Outcome()
    for data in seeds:  # must be accepted; also warms up
        target.run(data)
    for _ in range(count):
        data = draw.choice((mutate, nudge))(draw.choice(seeds), draw)
        before, start = _reset_peak(), time.perf_counter()
        try:
            errors = target.run(data)
        except Exception:
            outcome.findings.append(f"{target.name}: {traceback.format_exc()}\n{data.hex()}")
            errors = ["a finding"]
        outcome.slowest = max(outcome.slowest, time.perf_counter() - start)
        outcome.largest = max(outcome.largest, _peak() - before)
        outcome.inputs += 1
        outcome.clean += not errors
        outcome.errors.update(set(errors))
    return outcome


def _reset_peak() -> int:
    """Reset the peak of resident memory and return it, in bytes; 0 if the system does not provide it."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _peak()


def _peak() -> int:
    try:
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM"))
    except OSError:
        return 0


def main() -> int:
    """Run all or the chosen targets, and print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mutate", description=__doc__)
    parser.add_argument(
        "--count", type=int, default=2000, help="number of inputs for all targets together (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--target", choices=sorted(TARGETS), action="append", help="run only this target; may be repeated"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.target or list(SHARES)
    total = sum(SHARES[name] for name in chosen)
    outcomes = {}
    for name in chosen:
        outcomes[name] = outcome = run(TARGETS[name], max(1, round(options.count * SHARES[name] / total)), options.seed)
        if not options.json:
            errors = ", ".join(f"{kind} {number}" for kind, number in outcome.errors.most_common())
            print(
                f"{name}: {outcome.inputs} inputs, {outcome.clean} without an error, {errors}; "
                f"slowest {outcome.slowest:.3f} s, largest {outcome.largest / 2**20:.1f} MiB",
                flush=True,
            )
        for finding in outcome.findings[:5]:
            print(finding, file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({name: dataclasses.asdict(outcome) for name, outcome in outcomes.items()}, indent=1))
    inputs = sum(outcome.inputs for outcome in outcomes.values())
    findings = sum(len(outcome.findings) for outcome in outcomes.values())
    print(f"{inputs} inputs, {findings} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
