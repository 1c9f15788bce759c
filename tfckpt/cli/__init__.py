"""The command `tfckpt`: one module a verb, imported when it is asked for.

Data goes to standard output, talk and progress to standard error.
Exit codes: 0 done, 1 a check or comparison found a difference, 2 wrong usage or an output that cannot be written,
3 not found or not a checkpoint, 4 corrupt, 5 unsupported or beyond a limit.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    NameConflictError,
    StorageError,
    TensorNotFoundError,
    WriteError,
)
from ..stopping import EXIT_CODE, Stopped, stoppable
from .help import HelpFormatter
from .render import complain

_VERBS = (
    "ls",
    "show",
    "info",
    "tree",
    "graph",
    "verify",
    "doctor",
    "diff",
    "export",
    "cp",
    "merge",
    "set",
    "run",
)
_INTERRUPTED = 130

DESCRIPTION = """\
Read, check and write TensorFlow checkpoints without TensorFlow.

  tfckpt ls model.ckpt-322              list the tensors
  tfckpt show model.ckpt-322 NAME       print one of them
  tfckpt info model.ckpt-322            say in a few lines what it is
  tfckpt tree ckpt-7                    draw objects and shapes as a tree
  tfckpt graph model.ckpt-322           summarise the graph beside it
  tfckpt verify model.ckpt-322          compare every checksum
  tfckpt doctor whatever.you.have       say what is wrong with a file or folder, and what to do
  tfckpt diff A B                       compare two checkpoints
  tfckpt export model.ckpt-322 -o x.safetensors     write tensors as they are; also .npz, folders of .npy
  tfckpt cp model.ckpt-322 new/model    copy it, with changes; also: merge, set
  tfckpt run convert.py model.ckpt      run a script that reads it with TensorFlow's functions

PATH is a checkpoint's prefix, any of its files, or a folder that holds it.
"""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of all verbs, or of one alone, which starts quicker as the others are not imported."""
    parser = argparse.ArgumentParser(prog="tfckpt", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--version", action="version", version=f"tfckpt {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_verbs(verbs, __name__, (verb,) if verb in _VERBS else _VERBS)
    return parser


def add_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser], package: str, names: Sequence[str]) -> None:
    """Import the modules of these verbs from a package of them, and add their parsers."""
    for name in names:
        importlib.import_module(f"{package}.{name}").add_parser(verbs)
    for parser in verbs.choices.values():
        parser.formatter_class = HelpFormatter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Where the output's encoding lacks a character it is escaped, as Python does on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parse(arguments)
    try:
        with stoppable():
            code: int = options.run(options)
        sys.stdout.flush()
    except CheckpointError as error:
        complain(str(error))
        return exit_code(error)
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough; Python must not complain when it flushes at exit.
        _discard_output()
        return 0
    except OSError as error:
        # Standard output itself, such as a full disk; what happens to other files is an error of this package.
        _discard_output()
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return _INTERRUPTED
    except Stopped:
        complain("stopped by the system")
        return EXIT_CODE
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options as the parser finds them, with an optional last argument taken from behind options too.

    `argparse` of most versions settles on its absence as soon as an option follows PATH: `ls PATH --long PATTERN`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = build_parser(*arguments[:1])
    options, rest = parser.parse_known_args(arguments)
    last = getattr(options, "optional", None)
    if rest and last is not None and not rest[0].startswith("-") and not getattr(options, last):
        setattr(options, last, rest.pop(0))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: CheckpointError) -> int:
    """The exit code that an error gives."""
    if isinstance(error, CorruptionError):
        return 4
    if isinstance(error, WriteError):
        return 2
    if isinstance(error, NameConflictError):
        return 1
    if isinstance(error, CheckpointNotFoundError | TensorNotFoundError | StorageError):
        return 3
    if type(error) is CheckpointError:  # a file that is there and cannot be opened
        return 3
    return 5
