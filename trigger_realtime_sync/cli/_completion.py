"""The command `completion`."""

from __future__ import annotations

import argparse
from functools import partial

from ._exits import CommandError, Exit
from ._output import write
from ._parser import Commands

SHELLS = ("bash", "zsh", "fish")

NO_SHTAB = "for completion: pip install 'trigger-realtime-sync[completion]'"


def add_to(commands: Commands) -> None:
    """Add `completion`."""
    completion = commands.add(
        "completion",
        "print what makes a shell complete these commands",
        partial(_print_script, commands.parser),
        'eval "$(trigger-realtime completion bash)"         # in ~/.bashrc',
        'eval "$(trigger-realtime completion zsh)"          # in ~/.zshrc, after compinit',
        "trigger-realtime completion fish > ~/.config/fish/completions/trigger-realtime.fish",
    )
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def _print_script(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        import shtab
    except ModuleNotFoundError:
        raise CommandError(NO_SHTAB, Exit.UNAVAILABLE) from None
    write(shtab.complete(parser, shell=options.shell) + "\n")
    return Exit.COMPLETED
