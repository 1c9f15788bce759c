"""A seeded, bounded run of mutated files through every target.

    python -m tests.fuzz.mutate --count 100000 --seed 1

Prints, for each target, how many inputs ended how, the slowest, and the largest growth of memory; `--json` as JSON.
A finding is printed with the bytes that led to it, in hexadecimal, and ends the run with exit code 1.
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

#: Shares of the inputs; converting takes a hundred times as long as the rest.
SHARES = {"index": 22, "sealed-index": 22, "data": 14, "v1": 6, "sealed-v1": 8, "object-graph": 8, "state": 4}
SHARES |= {"archive": 6, "meta": 3, "saved-model": 4, "frozen-graph": 2, "convert": 1}
SHARES |= {"report": 1, "record": 3, "preprocessing": 3, "labels": 3, "rules": 2, "safetensors": 4, "npz": 3, "pth": 3}


@dataclasses.dataclass
class Outcome:
    """What became of the inputs of one target; times in seconds, memory in bytes."""

    inputs: int = 0
    clean: int = 0
    errors: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    slowest: float = 0.0
    largest: int = 0
    findings: list[str] = dataclasses.field(default_factory=list)


def run(target: Target, count: int, seed: int) -> Outcome:
    """Try so many mutations of the target's seeds; `inputs` are counted once under each class of error they met."""
    draw = random.Random(f"{target.name} {seed}")
    sound = list(target.seeds())
    outcome = Outcome()
    for data in sound:  # also warms up
        target.run(data)
    for _ in range(count):
        data = draw.choice((mutate, nudge))(draw.choice(sound), draw)
        before, start = _reset_peak(), time.perf_counter()
        try:
            met = target.run(data)
        except Exception:
            outcome.findings.append(f"{target.name}: {traceback.format_exc()}\n{data.hex()}")
            met = ["a finding"]
        outcome.slowest = max(outcome.slowest, time.perf_counter() - start)
        outcome.largest = max(outcome.largest, _peak() - before)
        outcome.inputs += 1
        outcome.clean += not met
        outcome.errors.update(set(met))
    return outcome


def _reset_peak() -> int:
    """Resident memory now, in bytes, from which the peak counts; 0 where the system does not tell."""
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
    """Run all targets or some, and print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mutate", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="inputs of all targets together (default: 2000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this; may be repeated")
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
                f"{name}: {outcome.inputs} inputs, {outcome.clean} read whole, {errors}; "
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
