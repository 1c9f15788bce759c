"""`tfckpt completion`: a script that teaches a shell to complete the command."""

from __future__ import annotations

import argparse

from ..errors import MissingDependencyError

HELP = """\
Print a script that teaches your shell to complete tfckpt.

  tfckpt completion bash > ~/.local/share/bash-completion/completions/tfckpt
  tfckpt completion zsh > ~/.zfunc/_tfckpt
"""

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "completion",
        help="print a completion script for your shell",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from . import build_parser

    print(script(build_parser(), options.shell), end="")
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a parser; `MissingDependencyError` without the package shtab."""
    try:
        import shtab
    except ImportError:
        raise MissingDependencyError("shtab", extra="completion", purpose="printing a completion script") from None
    text: str = shtab.complete(parser, shell)
    return text if text.endswith("\n") else text + "\n"
