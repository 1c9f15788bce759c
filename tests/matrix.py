"""Run the tests with every supported interpreter, and the oldest and newest dependencies that setup.cfg allows.

    python -m tests.matrix                 all, one after the other; exit code 1 if one fails or is missing
    python -m tests.matrix 3.12 oldest     one interpreter, one set of dependencies
    python -m tests.matrix --workers 1     run the tests in one process instead of two
    python -m tests.matrix 3.11 oldest --tests tests/contracts      run only these tests

Interpreters are found on the path and in pyenv.
The environments stay in `.venv-matrix`, so that a second run only looks for newer releases.
They have no torch: tests that need it are skipped, which shows that nothing else needs it.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SETS = ("oldest", "newest")
#: The extras to install; fsspec's own extras for cloud storage, which `remote` asks for, are left out.
EXTRAS = ("convert", "remote")
TOOLS = ("pytest>=8", "pytest-xdist", "hypothesis>=6.100")
#: Early releases with a wheel for the interpreter, for packages whose lower bound has none.
WITH_WHEELS = {
    "3.13": {"crc32c": "2.7", "ml_dtypes": "0.5.0", "numpy": "2.1", "safetensors": "0.4.5"},
    "3.14": {"crc32c": "2.8", "ml_dtypes": "0.5.3", "numpy": "2.3.2", "safetensors": "0.5.3"},
}
#: Time limits in seconds for an installation, a run of all tests (also on a busy machine), and a single test.
INSTALL_TIMEOUT = 900
RUN_TIMEOUT = 3600
TEST_TIMEOUT = 120
#: The packages whose releases are in the table.
SHOWN_PACKAGES = ("numpy", "protobuf", "crc32c", "ml_dtypes", "python-snappy", "safetensors")


class Result(NamedTuple):
    """The result of one run: installed releases, counts of test outcomes, and why it was stopped early, if it was."""

    version: str
    releases: str
    installed: dict[str, str]
    counts: dict[str, int]
    seconds: float
    stopped: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the run was complete and no test failed."""
        return not self.stopped and self.counts["passed"] > 0 and self.counts["failed"] == 0


def find_interpreter(version: str) -> str | None:
    """Return the path of an interpreter, or None if there is none."""
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    paths = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(paths[-1]) if paths else shutil.which(f"python{version}")


def requirements(version: str, releases: str) -> list[str]:
    """Return the requirements in setup.cfg, or exactly their lower bounds for the oldest releases."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    lines = "\n".join([config["options"]["install_requires"], *(extras[name] for name in EXTRAS)]).strip().splitlines()
    lines = [re.sub(r"\[.*\]", "", line) for line in lines if line]
    if releases == "newest":
        return lines
    firsts = WITH_WHEELS.get(version, {})
    parts = [re.fullmatch(r"([\w-]+)>=([\d.]+)(;.*)?", line.replace("; ", ";")) for line in lines]
    assert all(parts), f"a requirement without a plain lower bound in {lines}"
    return [f"{part[1]}=={firsts.get(part[1], part[2])}{part[3] or ''}" for part in parts if part]


def install(version: str, releases: str, python: str) -> tuple[pathlib.Path, dict[str, str]]:
    """Create or update the environment, and return its interpreter and the release of each distribution."""
    folder = ROOT / ".venv-matrix" / f"{version}-{releases}"
    own = folder / "bin" / "python"
    pip = [str(own), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    for command in (
        [python, "-m", "venv", str(folder)],
        # Wheels only: building from source takes minutes, and the bounds promise releases that users can install.
        [*pip, "install", "--quiet", "--upgrade", "--only-binary=:all:", *requirements(version, releases), *TOOLS],
    ):
        subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT)
    listed = subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True, timeout=60)
    return own, {entry["name"].lower().replace("-", "_"): entry["version"] for entry in json.loads(listed.stdout)}


def run_tests(python: pathlib.Path, workers: int, tests: Sequence[str]) -> tuple[dict[str, int], str]:
    """Run all tests, or those named; return the counts of outcomes, and why the run was stopped early, if it was."""
    command = [str(python), "-m", "pytest", "--quiet", "-p", "no:cacheprovider"]
    command += ["-o", f"faulthandler_timeout={TEST_TIMEOUT}"]  # print the stack of a test that hangs
    command += ["--numprocesses", str(workers)] if workers > 1 else []
    command += tests
    # Tests also start commands in other folders, hence PYTHONPATH; the last line is parsed without colours.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    # A process group of its own, so that all its processes can be killed.
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=RUN_TIMEOUT)
        stopped = "" if process.returncode in (0, 1) else f"pytest ended with exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        stopped = f"not finished after {RUN_TIMEOUT} s"
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    # Show failures, but not the dots and the reasons for skips, which are the same in every run.
    lines = output.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("====")), 0)
    print("\n".join(line for line in lines[first:] if not line.startswith("SKIPPED")), flush=True)
    last_line = lines[-1] if lines else ""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last_line)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return {"passed": counts.get("passed", 0), "failed": failed, "skipped": counts.get("skipped", 0)}, stopped


def run(version: str, releases: str, workers: int, tests: Sequence[str]) -> Result:
    """Run all tests, or those named, with one interpreter and one set of releases."""
    nothing: dict[str, int] = {"passed": 0, "failed": 0, "skipped": 0}
    python = find_interpreter(version)
    if python is None:
        return Result(version, releases, {}, nothing, 0, "not on this machine")
    start = time.monotonic()
    try:
        own, installed = install(version, releases, python)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return Result(version, releases, {}, nothing, time.monotonic() - start, f"not installed: {error}")
    counts, stopped = run_tests(own, workers, tests)
    version_output = subprocess.run([own, "--version"], check=True, capture_output=True, text=True)
    return Result(version_output.stdout.split()[-1], releases, installed, counts, time.monotonic() - start, stopped)


def format_table(results: list[Result]) -> str:
    """Format the results as a Markdown table, which can be copied into the documentation."""
    rows = [["Python", "releases", *SHOWN_PACKAGES, "passed", "failed", "skipped", "seconds"]]
    rows += [
        [
            result.version,
            result.releases,
            *(result.installed.get(name.replace("-", "_"), "") for name in SHOWN_PACKAGES),
            *(str(result.counts[name]) for name in ("passed", "failed", "skipped")),
            f"{result.seconds:.0f}",
        ]
        for result in results
    ]
    rows.insert(1, ["---"] * len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows
    )


def main() -> int:
    """Run the chosen combinations, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("which", nargs="*", choices=[*VERSIONS, *SETS, []], metavar="3.10|...|oldest|newest")
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="number of processes for a run of the tests"
    )
    parser.add_argument("--tests", nargs="+", default=[], metavar="PATH", help="run only these tests (default: all)")
    options = parser.parse_args()
    results: list[Result] = []
    combinations = [
        (version, releases)
        for version in [name for name in VERSIONS if name in options.which] or VERSIONS
        for releases in [name for name in SETS if name in options.which] or SETS
    ]
    try:
        for version, releases in combinations:
            print(f"== Python {version}, {releases} releases", flush=True)
            results.append(run(version, releases, options.workers, options.tests))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print(format_table(results))
    for result in results:
        if not result.is_good:
            why = result.stopped or f"{result.counts['failed']} failed"
            print(f"Python {result.version}, {result.releases} releases: {why}")
    return 0 if len(results) == len(combinations) and all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
