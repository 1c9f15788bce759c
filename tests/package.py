"""Build the distribution and try its wheel in an empty environment, as a user installs it.

    python -m tests.package

One distribution has both packages; what a user does not need stays out by the extras, not by separate wheels.
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
PACKAGES = {"tfckpt", "converter"}
#: Bytes of the wheel.
LARGEST = 1_000_000
NEEDED = {"tfckpt/py.typed", "tfckpt/descriptors.binpb", "converter/py.typed"}
#: What a build of the packages needs; the folder is copied so that nothing of a build stays in the source.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tfckpt", "converter")
BUILD = """
import sys
from setuptools import build_meta
target = sys.argv[1]  # setuptools sets its own arguments
print("built", *[getattr(build_meta, f"build_{kind}")(target) for kind in sys.argv[2].split(",")])
"""


def run(*command: str | os.PathLike[str], cwd: pathlib.Path) -> str:
    """Run a command and return its output; end this program with the output if the command fails."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_sources(folder: pathlib.Path) -> pathlib.Path:
    """Copy what a build needs, and return the folder."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=ignored)
        else:
            shutil.copy(path, folder)
    return folder


def build(source: pathlib.Path, target: pathlib.Path, kinds: str = "sdist,wheel") -> list[pathlib.Path]:
    """Build distributions of these kinds from a source folder, and return their paths in the same order."""
    target.mkdir(exist_ok=True)
    _, *names = run(sys.executable, "-c", BUILD, target, kinds, cwd=source).splitlines()[-1].split()
    return [target / name for name in names]


def check_wheel(wheel: pathlib.Path) -> None:
    """Check that the wheel is pure Python, complete, small, and holds nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.endswith("-py3-none-any.whl"), f"{wheel.name} is for one kind of machine"
    assert names >= NEEDED, f"{wheel.name} lacks {sorted(NEEDED - names)}"
    compiled = [name for name in names if name.endswith((".so", ".pyd", ".dll", ".dylib", ".pyc"))]
    assert not compiled, f"compiled parts in {wheel.name}: {compiled}"
    strays = {name.split("/")[0] for name in names} - PACKAGES
    assert all(name.endswith(".dist-info") for name in strays), f"strays in {wheel.name}: {sorted(strays)}"
    assert wheel.stat().st_size < LARGEST, f"{wheel.name} has {wheel.stat().st_size} bytes, the limit is {LARGEST}"


def modules(wheel: pathlib.Path) -> set[str]:
    """Return the names of the packages' files in a wheel."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def check_installed(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Install the wheel in an empty environment; both packages are imported from there, and both commands run."""
    venv.create(folder, with_pip=False, clear=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    where = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=ROOT).strip())
    # The dependencies, but not this source tree, which an editable install would put on the path.
    (where / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    example = ROOT / "examples" / "efficientnetv2-digits.tgz"
    program = "import converter, tfckpt; print(converter.__file__, tfckpt.__file__, sep='\\n')"
    for path in run(python, "-I", "-c", program, cwd=folder).splitlines():
        assert pathlib.Path(path).is_relative_to(folder), f"a package was imported from {path}"
    assert "efficientnetv2-digits/stem/conv2d/kernel" in run(scripts / "tfckpt", "ls", example, cwd=folder)
    run(scripts / "tfckpt", "verify", example, cwd=folder)
    run(scripts / "tf2torch", "convert", example, "-o", folder / "digits.safetensors", cwd=folder)
    assert (folder / "digits.safetensors").stat().st_size > 250_000


def main() -> None:
    """Build and try the wheel, and build it again from the source distribution."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sdist, wheel = build(copy_sources(folder / "source"), folder / "dist")
        check_wheel(wheel)
        check_installed(wheel, folder / "environment")
        shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        (again,) = build(unpacked, folder / "again", "wheel")
        assert modules(again) == modules(wheel)
        print(f"{wheel.name}, {wheel.stat().st_size:,} bytes; {sdist.name}, {sdist.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
