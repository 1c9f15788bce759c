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
    program = "import converter\nconverter.convert\nconverter.export\nimport converter.formats.safetensors"

    assert not loaded_after(program) & {"torch", "tensorflow"}


def test_ready_family_without_a_graph_loads_no_torch(tmp_path: pathlib.Path) -> None:
    """Nor transformers, whose folder is written; only the proof of the module needs them."""
    program = (
        "import sys\nfrom converter.cli import main\nassert main(['convert', sys.argv[1], '-o', sys.argv[2]]) == 0"
    )
    source = ROOT / "tests" / "data" / "families" / "t5.tar.xz"

    assert not loaded_after(program, str(source), str(tmp_path / "t5")) & {"torch", "transformers", "safetensors"}


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
    assert f"'{package}.cli.verify'" in all_of_them


#: What a process has one of, before and after an action.
STATE = """
import atexit, copyreg, decimal, gc, json, locale, logging, os, random, signal, socket, sys, threading, warnings
import numpy

def loggers():
    # New ones are made by asking for them, which configures nothing.
    named = {name: logger for name, logger in logging.root.manager.loggerDict.items() if hasattr(logger, "handlers")}
    return {name: [str(logger.handlers), str(logger.filters), logger.level, logger.propagate, logger.disabled]
            for name, logger in named.items() if logger.handlers or logger.filters or logger.level or logger.disabled
            or not logger.propagate}

def descriptors():
    found = []
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found

def mask():
    now = os.umask(0o22)
    os.umask(now)
    return now

def limits_of_the_system():
    try:
        import resource
    except ImportError:
        return None
    return {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT")}

def state():
    return {
        "logging": [str(logging.root.handlers), str(logging.root.filters), logging.root.level,
                    logging.root.manager.disable, logging.raiseExceptions, str(logging.lastResort),
                    str(logging.getLoggerClass()), str(logging.getLogRecordFactory()), logging.getLevelName(5)],
        "loggers": loggers(),
        "warnings": [[str(item) for item in warnings.filters], sys.warnoptions, warnings.onceregistry],
        "signals": [{str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
                    str(getattr(signal, "getitimer", lambda which: None)(0))],
        "environment": dict(os.environ),
        "folder": [os.getcwd(), mask()],
        "hooks": [str(sys.excepthook), str(sys.displayhook), str(sys.breakpointhook), str(sys.unraisablehook),
                  str(sys.meta_path), str(sys.path_hooks), str(threading.excepthook), str(sys.gettrace()),
                  str(sys.getprofile()), str(gc.callbacks)],
        "path": [sys.path, sys.argv, sys.dont_write_bytecode],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), threading.stack_size(),
                   getattr(sys, "get_int_max_str_digits", lambda: None)(), limits_of_the_system()],
        "garbage": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()],
        "numpy": [numpy.geterr(), str(numpy.geterrcall()), str(numpy.get_printoptions())],
        "random": [str(random.getstate()), str(numpy.random.get_state(legacy=False))],
        "threads": [str(thread) for thread in threading.enumerate()],
        "at exit": getattr(atexit, "_ncallbacks", lambda: None)(),
        "descriptors": descriptors(),
        "locale": [locale.setlocale(locale.LC_ALL), str(decimal.getcontext())],
        "network": socket.getdefaulttimeout(),
        "pickling": sorted(map(str, copyreg.dispatch_table)),
        "streams": [[str(stream), getattr(stream, "errors", None)] for stream in (sys.stdin, sys.stdout, sys.stderr)],
    }

def functions():
    # Those of every module that is there: none may be another one afterwards.
    return {(module, name): value for module, members in
            [(name, dict(vars(module))) for name, module in list(sys.modules.items()) if hasattr(module, "__dict__")]
            for name, value in members.items() if callable(value)}

numpy.set_printoptions()  # NumPy makes its own record at the first call
before, functions_before = json.loads(json.dumps(state())), functions()
# action
after, functions_after = json.loads(json.dumps(state())), functions()
changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
patched = [".".join(name) for name, value in functions_before.items() if functions_after.get(name) is not value]
print(json.dumps({**changed, **({"functions": patched} if patched else {})}))
"""

READING = "import tfckpt, sys; c = tfckpt.open(sys.argv[1]); [c[name] for name in c]; "
ACTIONS = {
    "tfckpt": "import tfckpt",
    "converter": "import converter",
    "every public name": "from tfckpt import *",
    "tf.train's functions": "import tfckpt.train",
    "reading": READING + "c.close()",
    "reading with threads": READING + "list(c.read_many()); tfckpt.verify(c); c.close()",
    "reading without a map": READING.replace("[1])", "[1], mmap=False)") + "c.close()",
    "writing": READING + "tfckpt.save(dict(c), sys.argv[1] + '-copy'); c.close()",
    "an error": (
        "import tfckpt, sys\n"
        "try: tfckpt.open(sys.argv[1] + '-missing')\n"
        "except tfckpt.CheckpointNotFoundError: pass\n"
        "else: raise AssertionError"
    ),
    "converting": (
        "import converter, sys\n"
        "converter.export(converter.convert(sys.argv[2]), sys.argv[1] + '.safetensors', proof='none')"
    ),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_of_the_process_is_changed(tmp_path: pathlib.Path, digits: pathlib.Path, action: str) -> None:
    """Everything a process has one of stays: logging, warnings, signals, environment, hooks, threads, random state."""
    bundle = builders.Bundle()
    for number in range(8):
        bundle.add(f"w{number}", 14, [1], bytes(2))
    prefix = bundle.write(tmp_path, index=bundle.index(framer=builders.snappy_frame))
    program = STATE.replace("# action", ACTIONS[action])

    assert json.loads(run(program, str(prefix), str(digits))) == {}


CHANGES = {
    "logging": "logging.basicConfig(level=logging.ERROR)",
    "loggers": "logging.getLogger('a').addHandler(logging.NullHandler())",
    "warnings": "warnings.simplefilter('ignore')",
    "signals": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "environment": "os.environ['A'] = 'b'",
    "folder": "os.chdir('/')",
    "hooks": "sys.excepthook = print",
    "path": "sys.path.append('a')",
    "limits": "sys.setrecursionlimit(3000)",
    "garbage": "gc.disable()",
    "numpy": "numpy.seterr(all='ignore')",
    "random": "random.random()",
    "threads": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "at exit": "atexit.register(int)",
    "descriptors": "os.dup(0)",
    "locale": "decimal.getcontext().prec = 5",
    "network": "socket.setdefaulttimeout(5)",
    "pickling": "copyreg.pickle(threading.Thread, str)",
    "streams": "sys.stdout.reconfigure(errors='replace')",
    "functions": "os.path.exists = bool",
}


def test_any_change_of_the_process_would_be_seen() -> None:
    """The comparison above can fail, for each kind of thing that it looks at."""
    program = STATE.replace("# action", "\n".join(CHANGES.values()))

    assert json.loads(run(program)).keys() == CHANGES.keys()


def test_another_draw_of_numpys_random_numbers_would_be_seen() -> None:
    """NumPy's generator has a state of its own."""
    assert set(json.loads(run(STATE.replace("# action", "numpy.random.random()")))) == {"random"}


@pytest.mark.parametrize("package", ["tfckpt", "converter"])
@pytest.mark.parametrize(
    "setting",
    [
        "import threading\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()",
        "import sys\nkept = sys.stdout\nsys.stdin = sys.stdout = sys.stderr = None\nwork()\nsys.stdout = kept",
        "import sys\ndel sys.argv\nwork()",
        "import os\nos.environ.clear()\nwork()",
    ],
    ids=["in a thread", "without streams", "without arguments", "without environment"],
)
def test_import_works_inside_other_programs(package: str, setting: str) -> None:
    """Where programs embed an interpreter, some of what a script has is not there."""
    program = (
        f"def work():\n    import {package}\n    done.append(dir({package}))\ndone = []\n{setting}\nprint(len(done))"
    )

    assert run(program) == "1\n"


@pytest.mark.parametrize("module", ["tfckpt", "converter"])
def test_commands_work_where_docstrings_are_left_out(module: str) -> None:
    """`python -OO` drops docstrings and assertions; help texts stay, with what they say."""
    program = f"import sys; from {module}.cli import main; sys.exit(main(['--help']))"

    assert run(program, options=("-OO",)) == run(program)


@pytest.mark.parametrize("package", ["tfckpt", "converter"])
def test_import_is_quiet_where_warnings_are_errors(package: str) -> None:
    """Also with bytes and encoding warnings on, and with isolation from the environment."""
    assert run(f"import {package}; dir({package})", options=("-W", "error", "-bb", "-X", "dev")) == ""


def test_importing_again_gives_the_same_module() -> None:
    """Reloading in a notebook does not break what is open."""
    program = "import importlib, tfckpt\nerror = tfckpt.CheckpointError\nimportlib.reload(tfckpt)\n"

    assert run(program + "print(error is tfckpt.CheckpointError)").strip() == "True"
