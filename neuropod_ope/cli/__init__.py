"""The command line ``neuropod-ope``. Each module of a command adds it to the parser and sets its ``run``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import neuropod_ope
from neuropod_ope.cli.env import add_env_commands
from neuropod_ope.cli.inspect import add_inspect_command
from neuropod_ope.cli.replay import add_replay_command
from neuropod_ope.cli.run import add_run_command
from neuropod_ope.errors import EnvironmentBuildError, NeuropodError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status; an error of the library is one message on stderr and 1."""
    parser = argparse.ArgumentParser(
        prog="neuropod-ope", description="Look at model packages, run them, and manage their environments."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {neuropod_ope.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_inspect_command(commands)
    add_run_command(commands)
    add_replay_command(commands)
    add_env_commands(commands)
    arguments = parser.parse_args(argv)
    # What is being built and why, and what a model prints.
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        status: int = arguments.run(arguments)
    except (NeuropodError, OSError) as error:
        print(f"neuropod-ope: {_text(error)}", file=sys.stderr)
        return 1
    return status


def _text(error: Exception) -> str:
    if isinstance(error, EnvironmentBuildError) and error.log_shown:
        return str(error).partition("\n")[0] + " see above"
    return str(error)
