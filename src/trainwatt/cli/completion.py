"""``trainwatt completion``."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainwatt.cli.shared import command, show

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands

SHELLS = ("bash", "zsh", "fish")
_NO_SHTAB = 'shell completion needs the package shtab: pip install "trainwatt[completion]"'


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "completion",
        run,
        "print the completion script for a shell",
        "trainwatt completion bash > ~/.local/share/bash-completion/completions/trainwatt",
        "trainwatt completion zsh > ~/.zfunc/_trainwatt",
        "trainwatt completion fish > ~/.config/fish/completions/trainwatt.fish",
    )
    parser.add_argument("shell", choices=SHELLS, help="shell to print the script for")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    try:
        shtab: Any = import_module("shtab")
    except ImportError:
        raise ValueError(_NO_SHTAB) from None
    script: str = shtab.complete(options.parser, options.shell)
    return show(options, script.rstrip(), {"shell": options.shell, "script": script})
