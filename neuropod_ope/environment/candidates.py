"""Which environments would serve a package, best first; pure: nothing is run or looked up here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from packaging.requirements import Requirement as Pin
from packaging.utils import canonicalize_name

from neuropod_ope.environment.catalog import Catalog, Entry, entry_pinned_by
from neuropod_ope.environment.interpreters import Interpreter, newest_of_each_minor
from neuropod_ope.environment.lockfile import Lock
from neuropod_ope.environment.requirement import Requirement


class Candidate(NamedTuple):
    """Something to resolve: requirements for one interpreter. ``label`` tells a person what it is.

    ``exclude_newer`` is the day (ISO 8601) up to which packages count, or "".
    """

    interpreter: Interpreter
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    source: tuple[str, ...]
    label: str
    exclude_newer: str = ""


def candidates(
    requirement: Requirement, lock: Lock | None, catalog: Catalog, interpreters: Sequence[Interpreter]
) -> list[Candidate]:
    """All that fit, in the order in which to try them; ``interpreters`` come newest first."""
    fitting = [one for one in interpreters if _python_fits(requirement, lock, one.version, one.minor)]
    newest = {one.minor: one for one in newest_of_each_minor(fitting)}
    if requirement.platform == "python":
        return [_of_lock(interpreter, lock, catalog) for interpreter in newest.values()]
    return [
        _of_entry(newest[minor], entry)
        for entry in entries_in_range(requirement, catalog)
        for minor in entry.pythons or newest
        if minor in newest
    ]


def entries_in_range(requirement: Requirement, catalog: Catalog) -> list[Entry]:
    platform = catalog.get(requirement.platform)
    if platform is None:
        return []
    return [entry for entry in platform.entries if requirement.accepts(entry.version)]


def python_wanted(requirement: Requirement, lock: Lock | None, catalog: Catalog, version: str, minor: str) -> bool:
    """Whether an interpreter of that version, were it here, would serve the first choice."""
    if requirement.platform == "python":
        return _python_fits(requirement, lock, version, minor)
    first = entries_in_range(requirement, catalog)[:1]
    return any(minor in entry.pythons or not entry.pythons for entry in first)


def _python_fits(requirement: Requirement, lock: Lock | None, version: str, minor: str) -> bool:
    if requirement.platform != "python":
        return True
    named = lock.python if lock else None
    return requirement.accepts(version) and named in (None, minor)


def _of_entry(interpreter: Interpreter, entry: Entry) -> Candidate:
    return Candidate(
        interpreter,
        (entry.requirement, *entry.requires, "numpy"),
        entry.constraints,
        entry.source,
        f"{entry.requirement} on Python {interpreter.version}",
    )


def _of_lock(interpreter: Interpreter, lock: Lock | None, catalog: Catalog) -> Candidate:
    label = f"Python {interpreter.version}"
    if lock is None:
        return Candidate(interpreter, ("numpy",), (), (), label)
    entries = [entry for pin in lock.requirements for entry in [_catalog_entry(pin, interpreter, catalog)] if entry]
    constraints = _not_in(lock, (text for entry in entries for text in entry.constraints))
    added = _not_in(lock, (*(text for entry in entries for text in entry.requires), "numpy"))
    requirements = (*map(str, lock.requirements), *added)
    source = tuple(name for entry in entries for name in entry.source)
    return Candidate(interpreter, requirements, constraints, source, f"requirements.lock on {label}")


def _not_in(lock: Lock, requirements: Iterable[str]) -> tuple[str, ...]:
    # The author's own pin wins over what the catalog would put in its place.
    return tuple(text for text in requirements if canonicalize_name(Pin(text).name) not in lock.names())


def _catalog_entry(pin: Pin, interpreter: Interpreter, catalog: Catalog) -> Entry | None:
    facts = {"python_version": interpreter.minor, "python_full_version": interpreter.version}
    if pin.marker is not None and not pin.marker.evaluate(facts):
        return None
    for specifier in pin.specifier:
        if specifier.operator == "==" and not specifier.version.endswith("*"):
            return entry_pinned_by(catalog, pin.name, specifier.version)
    return None
