"""The agents of a run, one per virtualenv: started when they are first asked, ended together."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.environments import environment_with
from benchmarks.figures import NotPossible

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A measurement raised; the message is the traceback of its process."""


class Agents:
    """Runs measurements in the virtualenv that has their packages. Use as a context manager."""

    def __init__(self) -> None:
        self._agents: dict[tuple[str, ...], _Agent] = {}
        self._impossible: dict[tuple[str, ...], str] = {}

    def run(self, packages: tuple[str, ...], function: str, **arguments: Any) -> Any:
        """The value of a measurement. Raises NotPossible with the reason, Failed."""
        if packages in self._impossible:
            raise NotPossible(self._impossible[packages])
        agent = self._agents.get(packages)
        if agent is None:
            try:
                python = environment_with(packages) if packages else sys.executable
            except NotPossible as reason:
                self._impossible[packages] = str(reason)
                raise
            agent = self._agents[packages] = _Agent(python)
        try:
            return agent.run(function, arguments)
        except Failed:
            if agent.ended:
                del self._agents[packages]  # the next measurement starts another one
            raise

    def __enter__(self) -> "Agents":
        return self

    def __exit__(self, *exc: object) -> None:
        for agent in self._agents.values():
            agent.close()


class _Agent:
    def __init__(self, python: str) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "workers")])
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def run(self, function: str, arguments: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps([function, arguments]), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"the process that ran {function} ended with status {self._process.wait()}")
        kind, value = json.loads(line)
        if kind == "missing":
            raise NotPossible(value)
        if kind == "failed":
            raise Failed(value)
        return value

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
