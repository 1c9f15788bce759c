"""Build the wheel and the sdist and try each in an empty environment, as a user installs it.

    python -m tests.package

The wheel has no compiled part, holds what the packages need, and is small; the example is listed with it.
Dependencies are taken from this interpreter's environment, so that nothing is fetched.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).parents[1]
#: Bytes of a whole wheel, and of what `tfckpt` takes in it, which is what programs embed.
LARGEST = 600_000
LARGEST_READER = 300_000
NEEDED = {"tfckpt/py.typed", "tfckpt/descriptors.binpb", "converter/py.typed"}
#: What a build of the packages needs; the folder is copied so that nothing of a build stays in the source.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tfckpt", "converter")
BUILD = """
import sys
from setuptools import build_meta
target = sys.argv[1]  # setuptools sets its own arguments
sdist = build_meta.build_sdist(target)
print("built", sdist, build_meta.build_wheel(target))
"""


def run(*command: str | os.PathLike[str], cwd: pathlib.Path) -> str:
    """Run a command; what it printed, or an end of this program with what it complained of."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(source: pathlib.Path, target: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The sdist and the wheel of a source folder."""
    target.mkdir(exist_ok=True)
    _, sdist, wheel = run(sys.executable, "-c", BUILD, str(target), cwd=source).splitlines()[-1].split()
    return target / sdist, target / wheel


def check_wheel(wheel: pathlib.Path) -> None:
    """Pure Python, complete, small."""
    members = zipfile.ZipFile(wheel).infolist()
    names = {member.filename for member in members}
    reader = sum(member.compress_size for member in members if member.filename.startswith("tfckpt/"))
    assert reader < LARGEST_READER, f"tfckpt takes {reader} bytes, at most {LARGEST_READER} are wanted"
    assert wheel.name.endswith("-py3-none-any.whl"), f"{wheel.name} is for one kind of machine"
    assert names >= NEEDED, f"the wheel lacks {sorted(NEEDED - names)}"
    compiled = [name for name in names if name.endswith((".so", ".pyd", ".dll", ".dylib", ".pyc"))]
    assert not compiled, f"compiled parts in the wheel: {compiled}"
    strays = {name.split("/")[0] for name in names} - {"tfckpt", "converter"}
    assert all(name.endswith(".dist-info") for name in strays), f"strays in the wheel: {sorted(strays)}"
    assert wheel.stat().st_size < LARGEST, f"the wheel has {wheel.stat().st_size} bytes, at most {LARGEST} are wanted"


def check_installed(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Installed in an empty environment, the package imports and its command lists the example."""
    venv.create(folder, with_pip=False, clear=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=ROOT).strip())
    zipfile.ZipFile(wheel).extractall(where)
    # The dependencies, but not this source tree, which an editable install would put on the path.
    (where / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    example = ROOT / "examples" / "efficientnetv2-digits.tgz"
    program = "import tfckpt, sys; print(tfckpt.__file__)"
    found = run(python, "-P" if sys.version_info >= (3, 11) else "-I", "-c", program, cwd=folder).strip()
    assert pathlib.Path(found).is_relative_to(folder), f"tfckpt was imported from {found}"
    listed = run(python, "-I", "-m", "tfckpt", "ls", str(example), cwd=folder)
    assert "efficientnetv2-digits/stem/conv2d/kernel" in listed
    assert "tf2torch" in run(python, "-I", "-m", "converter", "--version", cwd=folder)


def main() -> None:
    """Build, look into the wheel, install it; then build the wheel again from the sdist."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        source = folder / "source"
        source.mkdir()
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in SOURCES:
            path = ROOT / name
            if path.is_dir():
                shutil.copytree(path, source / name, ignore=ignored)
            else:
                shutil.copy(path, source)
        sdist, wheel = build(source, folder / "dist")
        check_wheel(wheel)
        check_installed(wheel, folder / "environment")
        shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        _, again = build(unpacked, folder / "again")
        check_wheel(again)
        assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; {sdist.name}: {sdist.stat().st_size:,} bytes; both work")


if __name__ == "__main__":
    main()
