"""`tfckpt run`: run a script that reads TensorFlow checkpoints on a machine without TensorFlow."""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import sys
import types
from collections.abc import Iterator

from ..errors import ReportedError
from ..tensorflow_stub import stand_in
from . import render

HELP = """\
Run a Python script that reads TensorFlow checkpoints, without TensorFlow.

  tfckpt run convert.py bert_model.ckpt out.bin      as: python convert.py bert_model.ckpt out.bin
  tfckpt run -m package.convert bert_model.ckpt      as: python -m package.convert bert_model.ckpt

In the script, `import tensorflow` imports a stand-in that offers what reads checkpoints: tf.train.load_checkpoint and
the like, tf.train.import_meta_graph, Saver and Session to restore the variables of a graph, tf.saved_model.load,
tf.io.gfile, and the settings that scripts begin with. Using anything else is an error that names the attribute and the
line. Tensors of a restored graph are computed in PyTorch, if tfckpt[torch] is installed.

Options of this command go before SCRIPT; everything after SCRIPT is passed to the script.

The exit code is the script's own, but 3 if it fails because a checkpoint or tensor is not found, 4 because a file is
corrupt, and 5 because it needs something that the stand-in does not offer or that is not supported.
"""

_NO_SCRIPT = 2
_SCRIPT_FAILED = 1
#: Modules whose frames come before the script's own in a traceback, and do not interest its author.
_OURS = (__name__, "contextlib", "runpy")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "run",
        help="run a script that reads checkpoints with TensorFlow's functions",
        description=HELP,
        usage="tfckpt run [-h] [-m] [--seem-installed] SCRIPT [ARGUMENT ...]",
    )
    parser.add_argument("-m", action="store_true", dest="is_module", help="SCRIPT is a module name, as with python -m")
    parser.add_argument(
        "--seem-installed",
        action="store_true",
        help="answer libraries that ask whether TensorFlow is installed that it is; by default it is not",
    )
    parser.add_argument("script", metavar="SCRIPT", help="path of a Python script")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER, help="arguments of the script")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the script as Python would, with the stand-in installed, and return the exit code."""
    if not options.is_module and not os.path.exists(options.script):
        render.complain(f"{options.script}: no such script")
        return _NO_SCRIPT
    folder = os.getcwd() if options.is_module else os.path.dirname(os.path.abspath(options.script))
    with stand_in(seem_installed=options.seem_installed), _set_arguments([options.script, *options.arguments], folder):
        try:
            if options.is_module:
                runpy.run_module(options.script, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(options.script, run_name="__main__")
        except Exception as error:
            error.__traceback__ = _cut_traceback(error.__traceback__)
            sys.excepthook(type(error), error, error.__traceback__)
            return error.exit_code if isinstance(error, ReportedError) else _SCRIPT_FAILED
    return 0


@contextlib.contextmanager
def _set_arguments(arguments: list[str], folder: str) -> Iterator[None]:
    """Set `sys.argv` for the script and let it import from its folder first; restore both afterwards."""
    before = sys.argv, list(sys.path)
    sys.argv = arguments
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before


def _cut_traceback(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the part of a traceback that begins in the script."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in _OURS:
        trace = trace.tb_next
    return trace
