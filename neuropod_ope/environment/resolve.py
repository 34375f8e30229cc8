"""From candidates to one resolved list of pins; remembered by everything that went into it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neuropod_ope.environment.candidates import Candidate
from neuropod_ope.environment.interpreters import Interpreter
from neuropod_ope.environment.progress import Finished
from neuropod_ope.environment.store import Store, content_name
from neuropod_ope.environment.uv import Uv

# uv's exit code when a request cannot be met; 2 means that uv itself failed, for example at the network.
_NO_SOLUTION = 1


class Resolution(NamedTuple):
    """What an environment is made of: an interpreter and exact pins, ``source`` of which may be built."""

    interpreter: Interpreter
    pins: tuple[str, ...]
    source: tuple[str, ...]
    label: str


class Attempt(NamedTuple):
    """A candidate that cannot be resolved: its label, and what uv said."""

    label: str
    log: tuple[str, ...]


class NothingResolves(Exception):
    """No candidate can be resolved."""

    def __init__(self, attempts: list[Attempt]) -> None:
        super().__init__(attempts)
        self.attempts = attempts


def remembered(candidates: Sequence[Candidate], uv: Uv, store: Store) -> Resolution | None:
    """The resolution made earlier from the same candidates and package sources."""
    found = store.read("resolutions", _key(candidates, uv))
    if found is None:
        return None
    candidate = candidates[found["candidate"]]
    return Resolution(candidate.interpreter, tuple(found["pins"]), tuple(found["source"]), candidate.label)


def resolve(candidates: Sequence[Candidate], allow_source: tuple[str, ...], uv: Uv, store: Store) -> Resolution:
    """Resolve the first candidate that can be. Raises NothingResolves, or EnvironmentBuildError.

    A resolution that needed ``allow_source`` is remembered like any other: who then finds it need not allow
    that once more.
    """
    attempts = []
    for number, candidate in enumerate(candidates):
        # A package is built from source only where wheels alone do not do.
        allowed = tuple(dict.fromkeys((*candidate.source, *allow_source)))
        for source in ((), allowed) if allowed else ((),):
            finished = _compile(candidate, source, uv)
            if finished.returncode == 0:
                pins = tuple(line.strip() for line in finished.stdout.splitlines() if "==" in line)
                facts = {"candidate": number, "pins": pins, "source": source}
                store.write("resolutions", _key(candidates, uv), facts)
                return Resolution(candidate.interpreter, pins, source, candidate.label)
            if finished.returncode != _NO_SOLUTION or uv.lacked_network(finished):
                # Going on to the next one would make the result depend on the weather.
                raise uv.failure(finished, "pip", "compile", *candidate.requirements)
        attempts.append(Attempt(candidate.label, finished.log))
    raise NothingResolves(attempts)


def _key(candidates: Sequence[Candidate], uv: Uv) -> str:
    # Where an interpreter lies does not matter to what is resolved for it.
    facts = [one._replace(interpreter=one.interpreter._replace(path="")) for one in candidates]
    return content_name([facts, uv.index_options.facts])


def _compile(candidate: Candidate, source: tuple[str, ...], uv: Uv) -> Finished:
    with tempfile.TemporaryDirectory(prefix="neuropod-ope-") as folder:
        requirements, constraints = Path(folder) / "requirements.in", Path(folder) / "constraints.txt"
        requirements.write_text("\n".join(candidate.requirements), encoding="utf-8")
        constraints.write_text("\n".join(candidate.constraints), encoding="utf-8")
        options: list[str | Path] = ["--python", candidate.interpreter.path, "--no-header", "--no-annotate"]
        if candidate.constraints:
            options += ["--constraints", constraints]
        if candidate.exclude_newer and not uv.index_options.sources.get("UV_EXCLUDE_NEWER"):  # the user's own wins
            options += ["--exclude-newer", candidate.exclude_newer]
        return uv.run("pip", "compile", requirements, *options, *uv.package_arguments(source), check=False)
