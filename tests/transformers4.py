"""The last line of transformers with loaders for TensorFlow's checkpoints, in a folder of its own for their tests.

    python -m tests.transformers4

installs it, within a limit of time. The tests' own environment has release 5, which has no such loaders.
Everything else that the loaders need, such as torch, is that of the interpreter.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

#: The folder belongs to the environment of the interpreter, and goes with it.
FOLDER = pathlib.Path(sys.prefix) / "transformers-4"
REQUIREMENT = "transformers>=4.48,<5"
#: Longest installation in seconds; it takes about 15.
LIMIT = 180


def find_reason_to_skip() -> str:
    """Return why the loaders cannot be tested, or nothing if they can."""
    if FOLDER.is_dir():
        return ""
    return f"{REQUIREMENT} is not installed in {FOLDER.name}: python -m tests.transformers4"


def main() -> None:
    """Install the folder if it does not exist; if that fails, say why and leave nothing."""
    if FOLDER.is_dir():
        return
    pending = FOLDER.with_name(FOLDER.name + ".part")
    shutil.rmtree(pending, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        process = subprocess.run(
            [*command, "--target", str(pending), REQUIREMENT],
            check=False,
            timeout=LIMIT,
            capture_output=True,
            text=True,
        )
        reason = process.stderr.strip().rpartition("\n")[2] if process.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"not within {LIMIT} seconds"
    if reason:
        shutil.rmtree(pending, ignore_errors=True)
        print(f"{REQUIREMENT} cannot be installed, so the tests of its loaders are skipped: {reason}")
        return
    pending.rename(FOLDER)


if __name__ == "__main__":
    main()
