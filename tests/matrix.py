"""Run the tests with every interpreter that is there, and the oldest and newest releases that setup.cfg admits.

    python -m tests.matrix                 all, one after the other; a table, exit code 1 if one fails or is not there
    python -m tests.matrix 3.12 oldest     one interpreter, one set of releases
    python -m tests.matrix --workers 1     each run of the tests in one process, not in two

Interpreters are those on the path and those of pyenv.
The environments stay in `.venv-matrix`, so that a second run only looks for newer releases.
They are without torch: tests that need it are skipped, which shows that nothing else needs it.
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
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
SETS = ("oldest", "newest")
#: Extras beside what the packages always need; the cloud helpers that `remote` asks fsspec for are left out.
EXTRAS = ("convert", "remote")
TOOLS = ("pytest>=8", "pytest-xdist", "hypothesis>=6.100")
#: The lower bounds of these have no wheel for the interpreter; its oldest set begins with early releases that have one.
WITH_WHEELS = {"3.13": {"crc32c": "2.7", "numpy": "2.1", "safetensors": "0.4.5"}}
#: Seconds after which an installation, a run of the tests, or a single test is stuck rather than slow.
LONGEST_INSTALLATION = 300
LONGEST_RUN = 900
LONGEST_TEST = 120
#: What the closing table shows of the releases.
SHOWN = ("numpy", "protobuf", "crc32c", "ml_dtypes", "python-snappy", "safetensors")


class Result(NamedTuple):
    """One run: the releases that were installed, how many tests ended how, and what ended it before its end."""

    version: str
    releases: str
    installed: dict[str, str]
    counts: dict[str, int]
    seconds: float
    stopped: str = ""

    @property
    def good(self) -> bool:
        """Whether tests ran to their end and none failed."""
        return not self.stopped and self.counts["passed"] > 0 and self.counts["failed"] == 0


def interpreter(version: str) -> str | None:
    """The command of an interpreter; None where there is none."""
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


def requirements(version: str, releases: str) -> list[str]:
    """What setup.cfg asks for, as it stands there or exactly the lower bounds."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    lines = "\n".join([config["options"]["install_requires"], *(extras[name] for name in EXTRAS)]).strip().splitlines()
    wanted = [re.sub(r"\[.*\]", "", line) for line in lines if line]
    if releases == "newest":
        return wanted
    firsts = WITH_WHEELS.get(version, {})
    parts = [re.fullmatch(r"([\w-]+)>=([\d.]+)(;.*)?", line.replace("; ", ";")) for line in wanted]
    assert all(parts), f"a requirement without a plain lower bound in {wanted}"
    return [f"{part[1]}=={firsts.get(part[1], part[2])}{part[3] or ''}" for part in parts if part]


def install(version: str, releases: str, python: str) -> tuple[pathlib.Path, dict[str, str]]:
    """Make the environment or bring it up to date; its interpreter, and the release of each distribution in it."""
    folder = ROOT / ".venv-matrix" / f"{version}-{releases}"
    own = folder / "bin" / "python"
    pip = [str(own), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    for command in (
        [python, "-m", "venv", str(folder)],
        # Without a wheel there would be a build of minutes, and a release that nobody can install is not admitted.
        [*pip, "install", "--quiet", "--upgrade", "--only-binary=:all:", *requirements(version, releases), *TOOLS],
    ):
        subprocess.run(command, check=True, timeout=LONGEST_INSTALLATION)
    listed = subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True, timeout=60)
    return own, {entry["name"].lower(): entry["version"] for entry in json.loads(listed.stdout)}


def run_tests(python: pathlib.Path, workers: int) -> tuple[dict[str, int], str]:
    """Run the tests to their end or the end of the time; how many ended how, and what ended the run before."""
    command = [str(python), "-m", "pytest", "--quiet", "-p", "no:cacheprovider"]
    command += ["-o", f"faulthandler_timeout={LONGEST_TEST}"]  # where a test hangs, its stack is shown
    command += ["--numprocesses", str(workers)] if workers > 1 else []
    # Tests also start commands in other folders; without colours the closing line can be read.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    # A group of its own, so that all of it can be ended.
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=LONGEST_RUN)
        stopped = "" if process.returncode in (0, 1) else f"pytest ended with exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        stopped = f"not done after {LONGEST_RUN} s"
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    # What is wrong is shown; the dots and the reasons for skips are the same eight times.
    lines = output.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("====")), 0)
    print("\n".join(line for line in lines[first:] if not line.startswith("SKIPPED")), flush=True)
    closing = lines[-1] if lines else ""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", closing)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return {"passed": counts.get("passed", 0), "failed": failed, "skipped": counts.get("skipped", 0)}, stopped


def run(version: str, releases: str, workers: int) -> Result:
    """One interpreter with one set of releases."""
    nothing: dict[str, int] = {"passed": 0, "failed": 0, "skipped": 0}
    python = interpreter(version)
    if python is None:
        return Result(version, releases, {}, nothing, 0, "not on this machine")
    begun = time.monotonic()
    try:
        own, installed = install(version, releases, python)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return Result(version, releases, {}, nothing, time.monotonic() - begun, f"not installed: {error}")
    counts, stopped = run_tests(own, workers)
    told = subprocess.run([own, "--version"], check=True, capture_output=True, text=True)
    return Result(told.stdout.split()[-1], releases, installed, counts, time.monotonic() - begun, stopped)


def table(results: list[Result]) -> str:
    """The closing table, in Markdown, so that it can go into the documentation as it is."""
    rows = [["Python", "releases", *SHOWN, "passed", "failed", "skipped", "seconds"]]
    rows += [
        [
            result.version,
            result.releases,
            *(result.installed.get(name, "") for name in SHOWN),
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
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("which", nargs="*", choices=[*VERSIONS, *SETS, []], metavar="3.10|...|oldest|newest")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that share the tests of a run")
    options = parser.parse_args()
    results: list[Result] = []
    wanted = [
        (version, releases)
        for version in [name for name in VERSIONS if name in options.which] or VERSIONS
        for releases in [name for name in SETS if name in options.which] or SETS
    ]
    try:
        for version, releases in wanted:
            print(f"== Python {version}, {releases} releases", flush=True)
            results.append(run(version, releases, options.workers))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print(table(results))
    for result in results:
        if not result.good:
            why = result.stopped or f"{result.counts['failed']} failed"
            print(f"Python {result.version}, {result.releases} releases: {why}")
    return 0 if len(results) == len(wanted) and all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
