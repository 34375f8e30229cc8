"""``neuropod-ope replay``: make the call of a crash capsule again."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuropod_ope.capsule import Capsule, read_capsule
from neuropod_ope.cli.arguments import seconds
from neuropod_ope.environment import default_cache_dir
from neuropod_ope.replay import replay_capsule
from neuropod_ope.runtime import Runtime


def add_replay_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subparsers.add_parser(
        "replay",
        help="make the call of a crash capsule again, out of process",
        epilog="Exit status: 0 if the call ended well this time, 1 if it failed again or could not be made.",
    )
    command.add_argument("capsule", help="the file")
    command.add_argument("--package", metavar="PATH", help="where the model lies now; default: where it was")
    command.add_argument("--show", action="store_true", help="only tell what is in it")
    command.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="seconds that the call may take (default: %(default)s)",
    )
    command.add_argument("--cache-dir", type=Path, default=default_cache_dir(), help="default: %(default)s")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    capsule = read_capsule(arguments.capsule)
    _show(capsule)
    if arguments.show:
        return 0
    print("\nRunning it again:")
    with Runtime(cache_dir=arguments.cache_dir) as runtime:
        outputs = replay_capsule(arguments.capsule, arguments.package, runtime=runtime, timeout=arguments.timeout)
    for name, array in outputs.items():
        print(f"{name}: {array.dtype} {array.shape}")
    print("This time the call ended well.")
    return 0


def _show(capsule: Capsule) -> None:
    print(f"{capsule.model} of {capsule.package}, {capsule.when}: {capsule.error_type}: {capsule.error}")
    for name, array in capsule.inputs.items():
        print(f"input {name}: {array.dtype} {array.shape}")
    for name in capsule.left_out:
        print(f"input {name}: left out by the redaction hook")
    print(f"It ran with {capsule.python}, {len(capsule.environment_lock.splitlines())} distributions installed.")
