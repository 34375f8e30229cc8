"""A machine for tests: an index, a cache folder, and real processes that ask for an environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .local_index import LocalIndex

# Logs to stdout, so that a test can wait for what a process says; ends with a line of JSON.
ASK = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
import json, logging, sys
from pathlib import Path
from neuropod_ope.environment import *
arguments = json.loads(sys.argv[1])
if arguments["log"]:
    logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
policy = EnvironmentPolicy(Path(arguments.pop("cache_dir")), **arguments.pop("policy", {}))
try:
    requirement = policy.requirement(*arguments["what"])
    environment = ensure_environment(requirement, policy, refresh=arguments["refresh"])
    answer = {"python": str(environment.python), "support": list(map(str, environment.support))}
except (NoMatchingEnvironment, EnvironmentBuildError) as error:
    answer = {"error": type(error).__name__, "message": str(error), **error.__dict__}
print(json.dumps(answer))
"""
LOCK = "# made with Python {}.{}\ntiny==1.0\n".format(*sys.version_info[:2])


class Machine:
    """A cache folder, an index, and processes that ask for an environment."""

    def __init__(self, index: LocalIndex, root: Path) -> None:
        self.index = index
        self.cache = root / "cache"
        self.environ = index.environ(dict(os.environ), str(root / "uv"))
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, lock: str = LOCK, **policy: object) -> "subprocess.Popen[str]":
        return self._start(("python", "*", lock), False, policy)

    def ask_for(
        self, platform: str, version_range: str, refresh: bool = False, **policy: object
    ) -> dict[str, object]:
        """An environment for a framework."""
        return answer(self._start((platform, version_range, None), refresh, policy))

    def ask_without_a_log(self) -> dict[str, object]:
        return answer(self._start(("python", "*", LOCK), False, {}, log=False))

    def _start(
        self, what: object, refresh: bool, policy: dict[str, object], log: bool = True
    ) -> "subprocess.Popen[str]":
        asked = {"cache_dir": str(self.cache), "what": what, "refresh": refresh, "policy": policy, "log": log}
        arguments = json.dumps(asked)
        process = subprocess.Popen(
            [sys.executable, "-c", ASK, arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def ask(self, lock: str = LOCK, **policy: object) -> dict[str, object]:
        return answer(self.start(lock, **policy))

    def staged(self) -> list[Path]:
        folder = self.cache / "staging"
        return list(folder.iterdir()) if folder.exists() else []

    def built(self) -> list[Path]:
        folder = self.cache / "environments"
        return list(folder.iterdir()) if folder.exists() else []

    def end(self) -> None:
        self.index.gate.set()
        for process in self._processes:
            process.kill()
            process.communicate()


def answer(process: "subprocess.Popen[str]") -> dict[str, object]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found: dict[str, object] = json.loads(out.splitlines()[-1])
    return {**found, "out": out, "err": err}


def wait_until_it_says(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text!r}")
