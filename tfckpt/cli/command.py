"""The main loop of both commands: parse the arguments, run one verb, and turn the outcome into an exit code.

Data goes to standard output; messages and progress go to standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from .. import __version__
from ..addresses import hide_secrets, plain_address
from ..errors import CheckpointError, ChecksumError, ReportedError, WriteError
from .help import HelpFormatter
from .render import complain, say
from .sigterm import EXIT_CODE as STOPPED
from .sigterm import Stopped, stoppable
from .streams import discard, replace_closed, write_message

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_WRONG_USAGE = 2
_INTERRUPTED = 130

#: The exit codes, for the help of both commands; each class of errors has its own in `exit_code`.
EXIT_CODES = """\
exit codes:
  0      done
  1      a check or a comparison found a difference, or names conflict
  2      wrong usage, or an output that cannot be written
  3      not found, not reached, or not a checkpoint
  4      corrupt
  5      not supported, beyond a limit, or an optional package is missing
  130    interrupted (Ctrl-C)
  143    stopped by the system (SIGTERM)
"""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command whose verbs are the modules of a package, each imported when it is used."""

    name: str
    #: The package of the verbs; each module has `add_parser`, which sets the option `run` to the function to call.
    package: str
    verbs: tuple[str, ...]
    description: str
    #: Appended to messages about a wrong checksum.
    checksum_hint: str = ""
    #: Appended when a run is interrupted, unless the exception has a message of its own.
    interrupted_note: str = ""

    def build_parser(self, verb: str | None = None) -> argparse.ArgumentParser:
        """Build the parser for all verbs, or for one alone: that starts faster because the others are not imported."""
        parser = _Parser(prog=self.name, description=self.description, epilog=EXIT_CODES, formatter_class=HelpFormatter)
        parser.add_argument("--version", action="version", version=f"{self.name} {__version__}")
        verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for name in (verb,) if verb in self.verbs else self.verbs:
            module = name.replace("-", "_")
            importlib.import_module(f"{self.package}.{module}").add_parser(verbs)
        for verb_parser in verbs.choices.values():
            verb_parser.formatter_class = HelpFormatter
        return parser

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run one verb and return its exit code; on wrong usage the parser exits with 2."""
        replace_closed()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Escape characters that the output's encoding lacks, as Python does on standard error.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            code = self._run(sys.argv[1:] if arguments is None else arguments)
        except SystemExit as leaving:
            failure = self._flush()
            if failure and not leaving.code:
                raise SystemExit(failure) from None
            raise
        failure = self._flush()
        return code or failure

    def _run(self, arguments: Sequence[str]) -> int:
        """Run one verb and return its exit code."""
        try:
            options = self._parse(arguments)
            with stoppable():
                code: int = options.run(options)
        except ReportedError as error:
            self._complain(f"{error}{self.checksum_hint}" if isinstance(error, ChecksumError) else str(error))
            return error.exit_code
        except BrokenPipeError:
            # The reader of the pipe, such as `head`, has closed it.
            discard(sys.stdout)
            return 0
        except OSError as error:
            # Writing to standard output failed, for example on a full disk; for other files it is a ReportedError.
            discard(sys.stdout)
            self._complain(str(error))
            return WriteError.exit_code
        except KeyboardInterrupt as error:
            self._complain(f"interrupted{self._note(error)}")
            return _INTERRUPTED
        except Stopped as error:
            self._complain(f"stopped by the system{self._note(error)}")
            return STOPPED
        return code

    def _flush(self) -> int:
        """Write what is buffered, and return the exit code of a failure, or 0."""
        write_message("", end="")
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            discard(sys.stdout)
        except OSError as error:
            discard(sys.stdout)
            self._complain(str(error))
            return WriteError.exit_code
        return 0

    def _parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments, and accept a verb's optional last argument after options too: `ls PATH --long PATTERN`.

        Most versions of `argparse` treat it as absent as soon as an option follows PATH.
        """
        parser = self.build_parser(*arguments[:1])
        options, rest = parser.parse_known_args(arguments)
        last = getattr(options, "optional", None)
        if rest and last is not None and not rest[0].startswith("-") and not getattr(options, last):
            setattr(options, last, rest.pop(0))
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(map(plain_address, rest))}")
        return options

    def _complain(self, message: str) -> None:
        """Print an error message, whose control characters are escaped already; it may have several lines."""
        first, *others = message.split("\n")
        complain(first, command=self.name)
        for line in others:
            say(line)

    def _note(self, error: BaseException) -> str:
        return f"; {error}" if str(error) else self.interrupted_note


class _Parser(argparse.ArgumentParser):
    """A parser whose messages do not contain the secrets of addresses."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        super().error(hide_secrets(message))

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print help and errors; unlike the method of `argparse`, raise `OSError` if standard output is full."""
        if file is None or file is sys.stderr:
            write_message(message, end="")
        else:
            file.write(message)


def report_misuse(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Decorate a verb: a `TypeError` or `ValueError` while it runs is wrong usage, one line and exit code 2."""

    @functools.wraps(run)
    def checked(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except CheckpointError:
            raise
        except (TypeError, ValueError) as error:
            complain(str(error))
            return _WRONG_USAGE

    return checked


def choose_exit_code(errors: Iterable[CheckpointError]) -> int:
    """Return the exit code for a list of findings: damage comes before missing files, and those before the rest.

    It is 0 if there are no findings.
    """
    codes = {error.exit_code for error in errors}
    return next((code for code in (4, 3, 5) if code in codes), 0)
