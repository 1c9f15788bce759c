"""The command `tf2torch`: one module a verb, imported when it is asked for.

Results go to standard output, talk and progress to standard error.
Exit codes: 0 done, 1 the output does not agree with its source, 2 wrong usage or an output that cannot be written,
3 not found, not reached or not a checkpoint, 4 corrupt, 5 a network or a feature that is not supported.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

import tfckpt
from tfckpt.cli import add_verbs
from tfckpt.cli.help import HelpFormatter
from tfckpt.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    StorageError,
    TensorNotFoundError,
    WriteError,
)
from tfckpt.stopping import EXIT_CODE, Stopped, stoppable

from ..errors import ConversionError, ExportError, RulesError, VerificationError
from .render import complain

_VERBS = ("convert", "plan", "verify", "evaluate", "bench", "revert", "models", "ops")
_INTERRUPTED = 130

DESCRIPTION = """\
Convert TensorFlow checkpoints of EfficientNet and EfficientNetV2 to PyTorch, without TensorFlow.

  tf2torch convert efficientnetv2-s -o s.safetensors      write PyTorch weights
  tf2torch plan efficientnetv2-s                          show what becomes what, without writing
  tf2torch verify efficientnetv2-s s.safetensors          show that they are the checkpoint's
  tf2torch evaluate s.safetensors --data FOLDER           count right answers on labelled images
  tf2torch bench s.safetensors                            time the network on this machine
  tf2torch revert s.pth --like efficientnetv2-s -o ckpt   go back to TensorFlow

A checkpoint is given by its prefix, any of its files, a folder or an archive that holds it, or as the name of a
release, which is fetched once and kept.
"""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of all verbs, or of one alone, which starts quicker as the others are not imported."""
    parser = argparse.ArgumentParser(prog="tf2torch", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--version", action="version", version=f"tf2torch {tfckpt.__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_verbs(verbs, __name__, (verb,) if verb in _VERBS else _VERBS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; wrong usage exits from the parser, with 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Where the output's encoding lacks a character it is escaped, as Python does on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser(*arguments[:1]).parse_args(arguments)
    try:
        with stoppable():
            code: int = options.run(options)
        sys.stdout.flush()
    except (ConversionError, CheckpointError) as error:
        complain(f"{error}; tfckpt verify lists all damage" if isinstance(error, ChecksumError) else str(error))
        return exit_code(error)
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Standard output itself, such as a full disk; what happens to other files is an error of these packages.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(str(error))
        return 2
    except KeyboardInterrupt as error:
        complain(f"interrupted; {_left_behind(error)}")
        return _INTERRUPTED
    except Stopped as error:
        complain(f"stopped by the system; {_left_behind(error)}")
        return EXIT_CODE
    return code


def _left_behind(error: KeyboardInterrupt | Stopped) -> str:
    """Say what an interrupted command leaves, which a download tells in the exception."""
    return str(error) or "no output was left behind"


def exit_code(error: ConversionError | CheckpointError) -> int:
    """Give the exit code of an error."""
    if isinstance(error, VerificationError):
        return 1
    if isinstance(error, ExportError | RulesError | WriteError):
        return 2
    if (
        isinstance(error, CheckpointNotFoundError | TensorNotFoundError | StorageError)
        or type(error) is CheckpointError
    ):
        return 3
    if isinstance(error, CorruptionError):
        return 4
    return 5
