"""`tf2torch completion`: a script that teaches a shell to complete the command."""

from __future__ import annotations

import argparse

from tfckpt.cli.completion import SHELLS, script

HELP = """\
Print a script that teaches your shell to complete tf2torch.

  tf2torch completion bash > ~/.local/share/bash-completion/completions/tf2torch
  tf2torch completion zsh > ~/.zfunc/_tf2torch
"""


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
