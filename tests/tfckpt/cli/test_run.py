"""Test that `tfckpt run` runs scripts as Python does, with the stand-in in place of TensorFlow."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import types

import pytest

from tfckpt.cli import main

PRINT_ALL = """\
import sys
import tensorflow as tf
print(__name__, sys.argv)
for name, shape in tf.train.list_variables(sys.argv[1])[:2]:
    print(name, shape)
"""


def write_script(folder: pathlib.Path, text: str) -> str:
    """Write a script into a folder and return its path."""
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_script_runs_with_its_own_arguments(
    tmp_path: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments that look like our own options are passed on too."""
    path, prefix = write_script(tmp_path, PRINT_ALL), str(data / "tensorflow" / "sharded" / "three")
    before = list(sys.argv), list(sys.path), set(sys.modules)

    assert main(["run", path, prefix, "--help", "-m"]) == 0

    out = capsys.readouterr().out.splitlines()
    assert out == [f"__main__ {[path, prefix, '--help', '-m']}", "a/kernel [5]", "b/kernel [3, 4]"]
    assert (sys.argv, sys.path) == before[:2]
    assert "tensorflow" not in set(sys.modules) - before[2]


def test_script_imports_modules_from_its_own_folder(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The current folder does not matter."""
    (tmp_path / "run_helper_beside.py").write_text("WORD = 'helper'\n", encoding="utf-8")

    assert main(["run", write_script(tmp_path, "import run_helper_beside\nprint(run_helper_beside.WORD)\n")]) == 0

    assert capsys.readouterr().out == "helper\n"


def test_module_runs_by_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found in the current folder, as with `python -m`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run_converter.py").write_text(
        "import sys, tensorflow as tf\nprint(__name__, sys.argv[1:], tf.__version__)\n", encoding="utf-8"
    )

    assert main(["run", "-m", "run_converter", "--model", "x"]) == 0

    assert capsys.readouterr().out == "__main__ ['--model', 'x'] 2.21.0\n"


@pytest.mark.parametrize(("text", "code"), [("raise SystemExit(7)", 7), ("raise SystemExit", None), ("exit(0)", 0)])
def test_exit_code_is_the_scripts_own(tmp_path: pathlib.Path, text: str, code: int | None) -> None:
    """`SystemExit` is passed on."""
    with pytest.raises(SystemExit) as caught:
        main(["run", write_script(tmp_path, text)])

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import nothing_of_this_name", 1, "ModuleNotFoundError"),
        ("import tensorflow as tf; tf.keras", 5, "NotOfferedError"),
        ("import tensorflow.keras", 5, "ModuleNotOfferedError"),
        ("import tensorflow as tf; tf.train.load_checkpoint('nowhere')", 3, "NotFoundError"),
        ("import tensorflow as tf; tf.train.load_checkpoint(__file__)", 4, "DataLossError"),
        ("import tensorflow as tf; tf.io.gfile.GFile('.').read()", 5, "FailedPreconditionError"),
        ("import tfckpt; tfckpt.open('nowhere')", 3, "CheckpointNotFoundError"),
        ("import converter; converter.convert('nowhere')", 3, "CheckpointNotFoundError"),
        ("import converter.errors as e; raise e.ConversionError('x')", 5, "ConversionError"),
        ("import converter.errors as e; raise e.VerificationError('x', report=None)", 1, "VerificationError"),
        ("def", 1, "SyntaxError"),
    ],
)
def test_traceback_begins_in_the_script(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], text: str, code: int, error: str
) -> None:
    """The exit code distinguishes our errors from the script's."""
    path = write_script(tmp_path, text)

    assert main(["run", path]) == code

    shown = capsys.readouterr().err
    assert shown.splitlines()[-1].partition(":")[0].rpartition(".")[2] == error
    assert f'File "{path}", line 1' in shown
    assert "runpy" not in shown


def test_script_can_catch_tensorflow_errors(tmp_path: pathlib.Path) -> None:
    """The stand-in has TensorFlow's error classes."""
    text = (
        "import tensorflow as tf\ntry:\n tf.train.load_checkpoint('nowhere')\nexcept tf.errors.NotFoundError:\n pass\n"
    )

    assert main(["run", write_script(tmp_path, text)]) == 0


def test_missing_script_is_wrong_usage(tmp_path: pathlib.Path) -> None:
    """The exit code is the one Python uses."""
    assert main(["run", str(tmp_path / "gone.py")]) == 2


def test_run_stops_if_tensorflow_is_already_imported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script is not started."""
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))

    assert main(["run", write_script(tmp_path, "print('begun')")]) == 5

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_command_runs_in_a_process_of_its_own(tmp_path: pathlib.Path, digits: pathlib.Path) -> None:
    """The exit code of the process is the script's."""
    path = write_script(tmp_path, f"{PRINT_ALL}raise SystemExit(3)\n")

    done = subprocess.run(
        [sys.executable, "-m", "tfckpt", "run", path, str(digits)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.splitlines()[0] == f"__main__ {[path, str(digits)]}"
