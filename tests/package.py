"""Build the distribution and test its wheel in an empty environment, as a user would install it.

    python -m tests.package
    python -m tests.package dist

One distribution has both packages; extras, not separate wheels, keep optional dependencies out.
Dependencies come from this interpreter's environment, so that nothing is downloaded.

With a folder, as in `make release`, twine also checks the metadata, and the wheel and the source distribution are each
installed in an empty environment with the dependencies that pip finds for them; what passes is put into the folder.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = {"tfckpt", "converter"}
REQUIRED_FILES = {"tfckpt/py.typed", "tfckpt/descriptors.binpb", "converter/py.typed"}
#: The files that a build needs; it runs in a copy, so that it leaves nothing in the source tree.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tfckpt", "converter")
BUILD = """
import sys
from setuptools import build_meta
target = sys.argv[1]  # setuptools sets its own arguments
print("built", *[getattr(build_meta, f"build_{kind}")(target) for kind in sys.argv[2].split(",")])
"""


def run(*command: str | os.PathLike[str], cwd: pathlib.Path) -> str:
    """Run a command and return its output; if it fails, exit with its output."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_sources(folder: pathlib.Path) -> pathlib.Path:
    """Copy the files that a build needs, and return the folder."""
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
    """Build these kinds of distributions from a source folder, and return their paths in the same order."""
    target.mkdir(exist_ok=True)
    _, *names = run(sys.executable, "-c", BUILD, target, kinds, cwd=source).splitlines()[-1].split()
    return [target / name for name in names]


def check_wheel(wheel: pathlib.Path) -> None:
    """Check that the wheel is pure Python, complete and small, and contains nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.endswith("-py3-none-any.whl"), f"{wheel.name} is specific to one platform"
    assert names >= REQUIRED_FILES, f"{wheel.name} lacks {sorted(REQUIRED_FILES - names)}"
    compiled = [name for name in names if name.endswith((".so", ".pyd", ".dll", ".dylib", ".pyc"))]
    assert not compiled, f"compiled files in {wheel.name}: {compiled}"
    others = {name.split("/")[0] for name in names} - PACKAGES
    assert all(name.endswith(".dist-info") for name in others), f"unexpected files in {wheel.name}: {sorted(others)}"


def package_files(wheel: pathlib.Path) -> set[str]:
    """Return the names of all files in a wheel except its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def check_sdist(sdist: pathlib.Path, wheel: pathlib.Path) -> None:
    """Check that the source distribution has all that a build needs, and every file of the wheel."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {name for name in SOURCES if "." in name or name.isupper()} | package_files(wheel)
    assert names >= expected, f"{sdist.name} lacks {sorted(expected - names)}"


def create_environment(folder: pathlib.Path) -> tuple[pathlib.Path, list[str]]:
    """Create an empty environment; return the folder of its programs, and the command of pip for it."""
    venv.create(folder, with_pip=False, clear=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    return scripts, [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(scripts / "python")]


def check_installed(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Install the wheel in an empty environment, import both packages and run both commands."""
    scripts, pip = create_environment(folder)
    python = scripts / "python"
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    site_packages = pathlib.Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=ROOT).strip()
    )
    # A .pth file adds the dependencies, but does not run those of an editable install of this source tree.
    (site_packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    try_commands(scripts, folder)


def try_commands(scripts: pathlib.Path, folder: pathlib.Path) -> None:
    """Import both packages from the environment, list, verify and convert."""
    example = ROOT / "examples" / "efficientnetv2-digits.tgz"
    program = "import converter, tfckpt; print(converter.__file__, tfckpt.__file__, sep='\\n')"
    for path in run(scripts / "python", "-I", "-c", program, cwd=folder).splitlines():
        assert pathlib.Path(path).is_relative_to(folder), f"a package was imported from {path}"
    assert "efficientnetv2-digits/stem/conv2d/kernel" in run(scripts / "tfckpt", "ls", example, cwd=folder)
    run(scripts / "tfckpt", "verify", example, cwd=folder)
    run(scripts / "tf2torch", "convert", example, "-o", folder / "digits.safetensors", cwd=folder)
    assert (folder / "digits.safetensors").stat().st_size > 250_000


def check_release(distributions: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Check the metadata with twine, and install each distribution with its dependencies in an empty environment."""
    scripts, pip = create_environment(folder / "twine")
    run(*pip, "install", "--quiet", "twine", cwd=folder)
    run(scripts / "twine", "check", "--strict", *distributions, cwd=folder)
    for number, path in enumerate(distributions):
        environment = folder / f"environment-{number}"
        scripts, pip = create_environment(environment)
        run(*pip, "install", "--quiet", f"{path}[convert]", cwd=folder)
        try_commands(scripts, environment)
        print(f"{path.name} works in an empty environment", flush=True)
    version = distributions[0].name.split("-")[1].removesuffix(".tar.gz")
    if f"## {version} (unreleased)" in (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8"):
        print(f"note: docs/changelog.md calls {version} unreleased; give it its date before you publish it")


def main() -> None:
    """Build and test the wheel, and build it again from the source distribution."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sdist, wheel = build(copy_sources(folder / "source"), folder / "dist")
        check_wheel(wheel)
        check_sdist(sdist, wheel)
        check_installed(wheel, folder / "environment")
        shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        (again,) = build(unpacked, folder / "again", "wheel")
        assert package_files(again) == package_files(wheel)
        if len(sys.argv) > 1:
            check_release([sdist, wheel], folder)
            target = pathlib.Path(sys.argv[1])
            shutil.copytree(folder / "dist", target, dirs_exist_ok=True)
        print(f"{wheel.name}, {wheel.stat().st_size:,} bytes; {sdist.name}, {sdist.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
