"""Say which names of TensorFlow the scripts of a folder need, and which of them the stand-in offers.

    python -m tests.census FOLDER

Every Python file below the folder that imports TensorFlow is a script; nothing is run.
The modules that a script imports from its own repository are scripts of their own.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from .names import find_names
from .offers import missing_names


def main() -> int:
    """Print a line for each script and the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.census", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder: pathlib.Path = parser.parse_args().folder
    covered = total = 0
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        try:
            names = find_names(path.read_text(encoding="utf-8", errors="replace"))
        except SyntaxError as error:
            print(f"{name}: not Python 3: {error}", file=sys.stderr)
            continue
        if names:
            missing = missing_names(names)
            total += 1
            covered += not missing
            print(f"{name}: {', '.join(missing) or 'all offered'}")
    print(f"{covered} of {total} scripts are covered" + (f", {covered / total:.0%}" if total else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
