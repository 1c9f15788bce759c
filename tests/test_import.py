"""Importing is cheap and quiet: no heavy package is loaded, and nothing of the process is changed."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from tests import builders

ROOT = pathlib.Path(__file__).parents[1]
HEAVY = {
    *("torch", "tensorflow", "snappy", "cramjam", "ml_dtypes", "google.protobuf", "crc32c", "fsspec", "safetensors"),
    *("rich", "aiohttp", "requests", "timm", "torchvision", "transformers"),
}


def run(program: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """What a program prints in a fresh process."""
    done = subprocess.run(
        [sys.executable, *options, "-c", program, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def loaded_after(program: str, *arguments: str) -> set[str]:
    """The heavy packages that a program loads."""
    printed = run(f"{program}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))", *arguments)
    modules = set(json.loads(printed.splitlines()[-1]))
    return HEAVY & modules


@pytest.mark.parametrize("package", ["tfckpt", "converter"])
def test_import_loads_no_heavy_package(package: str) -> None:
    """Programs that may never open a checkpoint pay nothing."""
    assert loaded_after(f"import {package}") == set()


def test_reading_an_uncompressed_checkpoint_loads_what_it_needs_and_no_more(tmp_path: pathlib.Path) -> None:
    """Neither Snappy nor ml_dtypes for floats in plain blocks."""
    prefix = builders.Bundle().add("w", builders.FLOAT, [1], bytes(4)).add_strings("s", [b"a"]).write(tmp_path)

    loaded = loaded_after("import sys, tfckpt\nc = tfckpt.open(sys.argv[1])\n[c[name] for name in c]", str(prefix))

    assert loaded == {"google.protobuf", "crc32c"}


def test_compressed_index_loads_snappy_and_bfloat16_loads_ml_dtypes(tmp_path: pathlib.Path) -> None:
    """Each when the first file needs it."""
    bundle = builders.Bundle().add("w", 14, [1], bytes(2))
    prefix = bundle.write(tmp_path, index=bundle.index(framer=builders.snappy_frame))

    loaded = loaded_after("import sys, tfckpt\nc = tfckpt.open(sys.argv[1])\n[c[name] for name in c]", str(prefix))

    assert loaded >= {"snappy", "ml_dtypes"}
    assert "torch" not in loaded


def test_conversion_loads_no_torch() -> None:
    """The rules, the engine and the exporter of safetensors are NumPy only."""
    program = "import converter\nconverter.convert\nconverter.export\nimport converter.exporters.safetensors"

    assert not loaded_after(program) & {"torch", "tensorflow"}


def test_conversion_of_local_files_loads_no_web_client() -> None:
    """Only a release that is asked for by name is fetched."""
    program = "import sys, converter.cli.convert\nassert not {'ssl', 'http.client'} & set(sys.modules)"

    assert run(program) == ""


@pytest.mark.parametrize(("package", "verb"), [("tfckpt", "ls"), ("converter", "convert")])
def test_command_imports_only_the_verb_that_is_asked_for(package: str, verb: str) -> None:
    """Starting is a good part of what a command on a small checkpoint takes; `--help` alone needs all verbs."""
    program = (
        f"import sys, {package}.cli as cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"verbs = [name for name in sys.modules if name.startswith('{package}.cli.')]\n"
        "print([name for name in verbs if hasattr(sys.modules[name], 'add_parser')])"
    )

    one, all_of_them = (run(program, *words).splitlines()[-1] for words in ([verb, "--help"], ["--help"]))

    assert one == f"['{package}.cli.{verb}']"
    assert f"'{package}.cli.completion'" in all_of_them


STATE = """
import json, logging, os, signal, sys, threading, warnings, locale, random
import numpy

def state():
    return {
        "logging": [str(logging.root.handlers), logging.root.level, logging.root.manager.disable,
                    logging.raiseExceptions, logging.lastResort.level],
        "warnings": [str(item) for item in warnings.filters],
        "showwarning": str(warnings.showwarning),
        "signals": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "hooks": [str(sys.excepthook), str(sys.displayhook), str(sys.meta_path), str(sys.path_hooks),
                  str(threading.excepthook), str(getattr(sys, "unraisablehook", None))],
        "path": list(sys.path),
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval()],
        "numpy": [str(numpy.geterr()), str(numpy.get_printoptions())],
        "random": str(random.getstate())[:200],
        "threads": threading.active_count(),
        "locale": str(locale.setlocale(locale.LC_ALL)),
        "streams": [str(sys.stdout), str(sys.stderr), str(sys.stdin)],
    }

before = state()
# action
after = state()
print(json.dumps({name: [before[name], after[name]] for name in before if before[name] != after[name]}))
"""


@pytest.mark.parametrize(
    "action",
    [
        "import tfckpt",
        "import converter",
        "from tfckpt import *",
        "import tfckpt, sys; c = tfckpt.open(sys.argv[1]); [c[name] for name in c]; c.close()",
    ],
    ids=["tfckpt", "converter", "every public name", "reading"],
)
def test_nothing_of_the_process_is_changed(tmp_path: pathlib.Path, action: str) -> None:
    """No logging, warning filters, signal handlers, environment, hooks, paths, limits, threads or streams."""
    prefix = builders.Bundle().add("w", 14, [1], bytes(2)).write(tmp_path)
    program = STATE.replace("# action", action)

    assert json.loads(run(program, str(prefix))) == {}


def test_a_change_of_the_process_would_be_seen() -> None:
    """The comparison above can fail."""
    program = STATE.replace("# action", "os.environ['A'] = 'b'")

    assert set(json.loads(run(program))) == {"environment"}


@pytest.mark.parametrize("package", ["tfckpt", "converter"])
def test_import_is_quiet_where_warnings_are_errors(package: str) -> None:
    """Also with bytes and encoding warnings on, and with isolation from the environment."""
    assert run(f"import {package}; dir({package})", options=("-W", "error", "-bb", "-X", "dev")) == ""


def test_importing_again_gives_the_same_module() -> None:
    """Reloading in a notebook does not break what is open."""
    program = "import importlib, tfckpt\nerror = tfckpt.CheckpointError\nimportlib.reload(tfckpt)\n"

    assert run(program + "print(error is tfckpt.CheckpointError)").strip() == "True"
