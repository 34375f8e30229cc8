"""``neuropod-ope env``: list, build, register, show and prune the environments in the cache."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from neuropod_ope.environment import (
    EnvironmentPolicy,
    Requirement,
    default_cache_dir,
    ensure_environment,
    named_environment,
)
from neuropod_ope.environment.registry import Registry, without_dots
from neuropod_ope.environment.store import Store, StoredEnvironment
from neuropod_ope.platforms import check_platform_somewhere
from neuropod_worker.errors import NeuropodError
from neuropod_worker.package.fingerprint import sweep_hashes
from neuropod_worker.package.reader import open_package


class UsageError(NeuropodError):
    """The arguments do not go together, or name nothing."""


_DAY_S = 24 * 3600
_PRUNE_AFTER_DAYS = 30
_SHOWN_NAME_CHARS = 12
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the blocks of the file system


def add_env_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``env`` to a command line; its ``run(arguments)`` default gives the exit code."""
    env = subparsers.add_parser("env", help="list, build, register, show and prune environments")
    commands = env.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="environments in the cache, the last used first")
    listing.set_defaults(run=_list)

    build = commands.add_parser("build", help="build the environment that a package needs")
    build.add_argument("package", nargs="?", help="a package: folder or zip file")
    build.add_argument("--platform", help="instead of a package: python, torchscript, …")
    build.add_argument("--range", default="*", help="with --platform: npm range of versions (default: any)")
    build.add_argument("--lock", type=Path, help="with --platform python: a requirements.lock")
    build.add_argument("--python", type=Path, help="only the support packages for this existing interpreter")
    build.add_argument("--allow-source", action="append", default=[], metavar="NAME", help="may be compiled")
    build.add_argument("--prerelease", action="store_true", help="a nightly or other pre-release will do")
    build.add_argument("--python-downloads", action="store_true", help="let uv fetch an interpreter")
    build.add_argument("--offline", action="store_true", help="use nothing but what was downloaded before")
    build.add_argument("--refresh", action="store_true", help="resolve anew what was resolved before")
    build.set_defaults(run=_build)

    register = commands.add_parser("register", help="let an existing interpreter serve what it satisfies")
    register.add_argument("python", type=Path, help="an interpreter, or the folder of a virtualenv")
    register.set_defaults(run=_register)

    unregister = commands.add_parser("unregister", help="undo it")
    unregister.add_argument("python", type=Path)
    unregister.set_defaults(run=_unregister)

    show = commands.add_parser("show", help="what an environment is made of")
    show.add_argument("name", help="its name or the beginning of it")
    show.set_defaults(run=_show)

    prune = commands.add_parser("prune", help="remove environments that nobody uses")
    prune.add_argument("names", nargs="*", metavar="NAME", help="these, instead of those long unused")
    prune.add_argument(
        "--unused-days",
        type=float,
        default=_PRUNE_AFTER_DAYS,
        metavar="DAYS",
        help="remove what has not been used for so long (default: %(default)s)",
    )
    prune.add_argument("--all", action="store_true", help="remove all, and what is known of interpreters")
    prune.set_defaults(run=_prune)

    for command in (listing, build, register, show, prune):
        command.add_argument("--cache-dir", type=Path, default=default_cache_dir(), help="default: %(default)s")


def _list(arguments: argparse.Namespace) -> int:
    rows = [("NAME", "MADE OF", "PACKAGES", "SIZE", "LAST USED", "FIRST FOR")]
    for one in reversed(Store(arguments.cache_dir).environments()):
        size = f"{_size(one.path) / 1e6:,.0f} MB"
        packages, first_for = str(len(one.facts["pins"])), one.facts["for"]
        rows.append((one.name[:_SHOWN_NAME_CHARS], _made_of(one), packages, size, _ago(one), first_for))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for python in Registry().interpreters():
        print(f"registered: {python}")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    policy = EnvironmentPolicy(
        arguments.cache_dir.absolute(),
        offline=arguments.offline,
        allow_source=tuple(arguments.allow_source),
        python_downloads=arguments.python_downloads,
    )
    if sum(what is not None for what in (arguments.package, arguments.platform, arguments.python)) != 1:
        raise UsageError("name a package, or --platform with --range, or --python")
    if arguments.python is not None:
        environment = named_environment(arguments.python, policy)
    else:
        requirement = _requirement(arguments, policy)
        environment = ensure_environment(requirement, policy, arguments.package, arguments.refresh)
    print(f"interpreter  {environment.python}")
    for folder in environment.support:
        print(f"support      {folder}")
    if environment.name:
        print(f"name         {environment.name}")
    elif arguments.python is None:
        print("This interpreter has all that is needed; nothing was built.")
    return 0


def _register(arguments: argparse.Namespace) -> int:
    policy = EnvironmentPolicy(arguments.cache_dir.absolute())
    # That makes sure that it runs, and that a worker finds there what it needs.
    environment = named_environment(arguments.python, policy)
    Registry().add(environment.python)
    print(f"registered {environment.python} in {Registry().path}")
    return 0


def _unregister(arguments: argparse.Namespace) -> int:
    registry = Registry()
    given = without_dots(arguments.python)
    # One that is gone may be named, too, by its folder or by itself.
    if not any([registry.remove(given), registry.remove(given / "bin/python")]):
        known = ", ".join(map(str, registry.interpreters())) or "none"
        raise UsageError(f"{given} is not registered; registered are: {known}")
    print(f"unregistered {given}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    one = _find(Store(arguments.cache_dir), arguments.name)
    facts = one.facts
    print(f"name         {one.name}")
    print(f"first for    {facts['for']}")
    print(f"interpreter  {one.path / 'bin/python'}")
    print(f"based on     {facts['interpreter']['path']} ({facts['interpreter']['version']})")
    print(f"size         {_size(one.path) / 1e6:,.0f} MB, of which other environments may share most")
    print(f"last used    {_ago(one)}")
    print("packages     " + "\n             ".join(facts["pins"]))
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    store = Store(arguments.cache_dir)
    if arguments.names:
        doomed = [_find(store, name) for name in arguments.names]
    else:
        before = time.time() - (0 if arguments.all else arguments.unused_days * _DAY_S)
        doomed = [one for one in store.environments() if one.last_used <= before]
    for one in doomed:
        made_of = _made_of(one)
        done = "removed" if store.remove(one.name) else "kept, it is in use:"
        print(f"{done} {one.name[:_SHOWN_NAME_CHARS]}  {made_of}")
    swept = store.sweep()
    sweep_hashes(str(store.root))
    if swept:
        print(f"removed {swept} abandoned build(s)")
    if arguments.all:
        for folder in ("interpreters", "named", "paths", "listings", "resolutions", "support"):
            store.forget(folder)
    if not doomed and not swept:
        print("nothing to remove")
    return 0


def _find(store: Store, prefix: str) -> StoredEnvironment:
    found = [one for one in store.environments() if one.name.startswith(prefix)]
    if len(found) != 1:
        how_many = "no environment" if not found else f"{len(found)} environments"
        raise UsageError(f"{how_many} in {store.root} of a name that begins with {prefix!r}; see: env list")
    return found[0]


def _requirement(arguments: argparse.Namespace, policy: EnvironmentPolicy) -> Requirement:
    if arguments.package is None:
        lock = arguments.lock.read_text(encoding="utf-8") if arguments.lock else None
        return Requirement(arguments.platform, arguments.range, lock, arguments.prerelease)
    package = open_package(arguments.package, str(policy.cache_dir))
    check_platform_somewhere(package)
    return Requirement(package.platform, package.version_range, package.requirements_lock, arguments.prerelease)


def _made_of(one: StoredEnvironment) -> str:
    label: str = one.facts["label"]
    return label


def _ago(one: StoredEnvironment) -> str:
    days = (time.time() - one.last_used) / _DAY_S
    return "today" if days < 1 else f"{days:.0f} days ago"


def _size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * _BLOCK_BYTES for path in folder.rglob("*"))
