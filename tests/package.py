"""Build the distributions and try each in an empty environment, as a user installs it.

    python -m tests.package            build and try
    python -m tests.package FOLDER     also keep the two wheels there, once they have passed

A clone installs as one distribution with both packages: that is what setup.cfg describes.
The wheels are two, each under 300 kB, so that a program that embeds the reader gets the reader alone:
`tfckpt`, and `tf2torch`, which has the package `converter` and depends on the `tfckpt` of its own version.
Their metadata are derived from setup.cfg here.
Dependencies are taken from this interpreter's environment, so that nothing is fetched.
"""

from __future__ import annotations

import configparser
import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).parents[1]
#: Bytes of each of the two wheels, and of the one that a clone makes of both packages.
LARGEST = 300_000
LARGEST_OF_BOTH = 600_000
NEEDED = {"tfckpt": {"tfckpt/py.typed", "tfckpt/descriptors.binpb"}, "converter": {"converter/py.typed"}}
#: The two wheels by name: their package, and what they say of themselves.
WHEELS = {
    "tfckpt": ("tfckpt", "Read TensorFlow checkpoints without TensorFlow"),
    "tf2torch": ("converter", "Convert EfficientNetV2 checkpoints of TensorFlow to PyTorch, with proof"),
}
#: The extras of users, and the wheel that each belongs to; the other wheel hands it on.
EXTRAS = {
    "bench": "tf2torch",
    "convert": "tf2torch",
    "images": "tf2torch",
    "remote": "tfckpt",
    "torch": "tf2torch",
}
#: What a build of the packages needs; the folder is copied so that nothing of a build stays in the source.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tfckpt", "converter")
BUILD = """
import sys
from setuptools import build_meta
target = sys.argv[1]  # setuptools sets its own arguments
print("built", *[getattr(build_meta, f"build_{kind}")(target) for kind in sys.argv[2].split(",")])
"""


def run(*command: str | os.PathLike[str], cwd: pathlib.Path) -> str:
    """Run a command; what it printed, or an end of this program with what it complained of."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_sources(folder: pathlib.Path, *leave_out: str) -> pathlib.Path:
    """Copy what a build needs, without some of it."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        path = ROOT / name
        if name in leave_out:
            continue
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=ignored)
        else:
            shutil.copy(path, folder)
    return folder


def version() -> str:
    """The release, as setup.cfg takes it from the source."""
    (found,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "tfckpt" / "_version.py").read_text(), re.MULTILINE)
    return str(found)


def derived(name: str) -> configparser.ConfigParser:
    """The setup.cfg of one of the two wheels."""
    package, description = WHEELS[name]
    config = configparser.ConfigParser(interpolation=None)
    config.optionxform = str  # type: ignore[assignment,method-assign]  # names of packages keep their case
    config.read(ROOT / "setup.cfg")
    same = f"=={version()}"
    config["metadata"].update({"name": name, "version": version(), "description": description})
    if name == "tf2torch":
        # The README is both packages', and stands in the other wheel.
        config["metadata"]["long_description"] = f"{description}: the command tf2torch, described with tfckpt."
        config["options"]["install_requires"] = f"tfckpt{same}"  # which brings all that the converter needs itself
    config["options.packages.find"]["include"] = f"{package}*"
    extras = config["options.extras_require"]
    for extra in list(extras):
        if extra not in EXTRAS:
            del extras[extra]  # what tests and development need is of the clone
        elif EXTRAS[extra] != name:
            extras[extra] = f"{EXTRAS[extra]}[{extra}]{same}"
    (script,) = [
        line for line in config["options.entry_points"]["console_scripts"].splitlines() if f"= {package}." in line
    ]
    config["options.entry_points"]["console_scripts"] = f"\n{script}"
    for other in [key for key in config["options.package_data"] if key != package]:
        del config["options.package_data"][other]
    return config


def build(source: pathlib.Path, target: pathlib.Path, kinds: str = "sdist,wheel") -> list[pathlib.Path]:
    """What was built of a source folder, in the order asked for."""
    target.mkdir(exist_ok=True)
    _, *names = run(sys.executable, "-c", BUILD, target, kinds, cwd=source).splitlines()[-1].split()
    return [target / name for name in names]


def check_wheel(wheel: pathlib.Path, packages: set[str], largest: int) -> None:
    """Pure Python, complete, with nothing else, small."""
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = set().union(*(NEEDED[package] for package in packages))
    assert wheel.name.endswith("-py3-none-any.whl"), f"{wheel.name} is for one kind of machine"
    assert names >= needed, f"{wheel.name} lacks {sorted(needed - names)}"
    compiled = [name for name in names if name.endswith((".so", ".pyd", ".dll", ".dylib", ".pyc"))]
    assert not compiled, f"compiled parts in {wheel.name}: {compiled}"
    strays = {name.split("/")[0] for name in names} - packages
    assert all(name.endswith(".dist-info") for name in strays), f"strays in {wheel.name}: {sorted(strays)}"
    assert wheel.stat().st_size < largest, f"{wheel.name} has {wheel.stat().st_size} bytes, under {largest} are wanted"


def modules(wheel: pathlib.Path) -> set[str]:
    """The files of the packages in a wheel."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def check_metadata(reader: pathlib.Path, converter: pathlib.Path) -> None:
    """The converter needs the reader of its own version, and either wheel knows every extra of a user."""
    told = {}
    for wheel in (reader, converter):
        with zipfile.ZipFile(wheel) as archive:
            (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            told[wheel] = email.message_from_bytes(archive.read(path))
        assert told[wheel]["Version"] == version()
        assert set(told[wheel].get_all("Provides-Extra", [])) == set(EXTRAS)
    wanted = [line for line in told[converter].get_all("Requires-Dist", []) if "extra ==" not in line]
    assert f"tfckpt=={version()}" in wanted, wanted
    assert not [
        line for line in told[reader].get_all("Requires-Dist", []) if "tf2torch" in line and "extra" not in line
    ]


def check_installed(wheels: list[pathlib.Path], folder: pathlib.Path) -> None:
    """Installed in an empty environment, the reader imports and its command lists the example.

    With the converter among the wheels its command runs as well; without, there is no trace of it.
    """
    venv.create(folder, with_pip=False, clear=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", *wheels, cwd=folder)
    where = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=ROOT).strip())
    # The dependencies, but not this source tree, which an editable install would put on the path.
    (where / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    example = ROOT / "examples" / "efficientnetv2-digits.tgz"
    program = "import tfckpt, sys; print(tfckpt.__file__)"
    found = run(python, "-I", "-c", program, cwd=folder).strip()
    assert pathlib.Path(found).is_relative_to(folder), f"tfckpt was imported from {found}"
    assert "efficientnetv2-digits/stem/conv2d/kernel" in run(scripts / "tfckpt", "ls", example, cwd=folder)
    run(scripts / "tfckpt", "verify", example, cwd=folder)
    if any("converter/__init__.py" in modules(wheel) for wheel in wheels):
        run(scripts / "tf2torch", "convert", example, "-o", folder / "digits.safetensors", cwd=folder)
        assert (folder / "digits.safetensors").stat().st_size > 250_000
        return
    assert not (scripts / "tf2torch").exists()
    run(python, "-I", "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('converter'))", cwd=folder)


def main() -> None:
    """Build and try what a clone installs, again from its sdist, and the two wheels."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sdist, both = build(copy_sources(folder / "source"), folder / "dist")
        check_wheel(both, {"tfckpt", "converter"}, LARGEST_OF_BOTH)
        check_installed([both], folder / "environment")
        shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        (again,) = build(unpacked, folder / "again", "wheel")
        assert modules(again) == modules(both)
        print(f"a clone: {both.name}, {both.stat().st_size:,} bytes; {sdist.name}, {sdist.stat().st_size:,} bytes")

        wheels = []
        for name, (package, _) in WHEELS.items():
            source = copy_sources(folder / name, *({"tfckpt", "converter"} - {package}))
            with (source / "setup.cfg").open("w") as file:
                derived(name).write(file)
            wheels += build(source, folder / "wheels", "wheel")
            check_wheel(wheels[-1], {package}, LARGEST)
        assert modules(wheels[0]) | modules(wheels[1]) == modules(both)
        check_metadata(*wheels)
        check_installed(wheels[:1], folder / "reader")
        check_installed(wheels, folder / "two")
        for wheel in wheels:
            print(f"wheel: {wheel.name}, {wheel.stat().st_size:,} bytes")
            for target in sys.argv[1:]:
                pathlib.Path(target).mkdir(exist_ok=True)
                shutil.copy(wheel, target)


if __name__ == "__main__":
    main()
