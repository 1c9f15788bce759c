"""Run tfckpt's tests with every interpreter that is there, and the oldest and newest releases that setup.cfg admits.

    python -m tests.matrix                 all; a line each, exit code 1 if one fails
    python -m tests.matrix 3.12 oldest     one interpreter, one set of releases

Interpreters are those on the path and those of pyenv.
Environments are made in `.venv-matrix`, without torch: what needs it is not part of this run.
"""

from __future__ import annotations

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
SETS = ("oldest", "newest")
TOOLS = ("pytest", "hypothesis", "fsspec", "shtab", "safetensors", "rich", "tomli")
#: Releases older than these have no wheel for the interpreter, so that its oldest set begins there.
FIRST_WHEELS = {"3.13": {"crc32c": "2.7", "numpy": "2.1", "ml_dtypes": "0.5"}}
PATHS = ("tests/tfckpt", "tests/contracts", "tests/test_import.py", "tests/converter/mapping")
NEEDS_TORCH = (
    "tests/tfckpt/test_stand_in_transformers.py",
    "tests/tfckpt/test_tensorflow_check.py",
)


def interpreter(version: str) -> str | None:
    """The command of an interpreter; None where there is none."""
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


def requirements(version: str, releases: str) -> list[str]:
    """What setup.cfg asks for, as it stands there or at the lower bounds."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"].split()
    if releases == "newest":
        return wanted
    firsts = FIRST_WHEELS.get(version, {})
    bounds = dict(re.split(">=", line) for line in wanted)
    return [
        f"{name}~={firsts.get(name, bound)}.0" if name != "protobuf" else f"{name}=={bound}.*"
        for name, bound in bounds.items()
    ]


def run(version: str, releases: str, python: str) -> int:
    """Make the environment and run the tests in it; pytest's exit code."""
    folder = ROOT / ".venv-matrix" / f"{version}-{releases}"
    if not folder.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements(version, releases), *TOOLS], check=True)
    ignored = [f"--ignore={path}" for path in NEEDS_TORCH]
    command = [folder / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *PATHS, *ignored]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Run what was asked for."""
    failed = []
    for version in [name for name in VERSIONS if name in sys.argv[1:]] or VERSIONS:
        python = interpreter(version)
        if python is None:
            print(f"== Python {version}: not on this machine", flush=True)
            continue
        for releases in [name for name in SETS if name in sys.argv[1:]] or SETS:
            print(f"== Python {version}, {releases} releases", flush=True)
            if run(version, releases, python) != 0:
                failed.append(f"{version} {releases}")
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
