"""The only module that runs uv: with the user's package sources, and nothing else of where it is run."""

from __future__ import annotations

import os
import re
import shlex
from functools import cached_property
from pathlib import Path

import uv

from neuropod_ope.environment.errors import EnvironmentBuildError
from neuropod_ope.environment.progress import Finished, run_shown
from neuropod_ope.environment.requirement import EnvironmentPolicy
from neuropod_worker.package.index_options import IndexOptions, read_index_options
from neuropod_worker.package.redaction import redact

# These would make uv act on the environment in which the application happens to run.
_DROPPED = ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT", "UV_WORKING_DIR")
_SHOWN_LINES = 25
_OFFLINE = "network was disabled"
# uv is asked, so that its versions and ours cannot come from different indexes.
_DEFAULT_INDEX_IN_HELP = re.compile(r"--default-index\s.*?by default:\s+<([^>]+)>", re.DOTALL)
# One line for each file of an index that does not say when it was uploaded; they would fill the log.
_NOISE = "is missing an upload date"


class Uv:
    """uv under one policy."""

    def __init__(self, policy: EnvironmentPolicy) -> None:
        self._policy = policy

    @cached_property
    def index_options(self) -> IndexOptions:
        return read_index_options(os.environ)

    def run(
        self, *arguments: str | Path, show: bool = False, inherit: tuple[int, ...] = (), check: bool = True
    ) -> Finished:
        """Run uv. Raises EnvironmentBuildError if it fails, unless told not to check."""
        # The project is where uv looks for settings: ours has none, the application's folder may.
        self._policy.cache_dir.mkdir(parents=True, exist_ok=True)
        command = [uv.find_uv_bin(), *map(str, arguments), "--project", str(self._policy.cache_dir)]
        if self._policy.offline:
            command.append("--offline")
        environ = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        environ.update(self.index_options.environ)
        # Interpreters are downloaded by `uv python install` alone, which this does not forbid.
        environ["UV_PYTHON_DOWNLOADS"] = "manual"
        finished = run_shown(command, environ, show, self._cleaned, inherit)
        if check and finished.returncode:
            raise self.failure(finished, *arguments, shown=show)
        return finished

    def indexes(self) -> tuple[str, ...]:
        """The URLs of all indexes into which uv looks."""
        options = self.index_options
        if options.no_index:
            return ()
        return (*options.other_indexes, options.default_index or self._own_default_index)

    @cached_property
    def _own_default_index(self) -> str:
        said = _DEFAULT_INDEX_IN_HELP.search(self.run("pip", "compile", "--help").stdout)
        if said is None:
            raise EnvironmentBuildError("this uv does not name its default index; set UV_DEFAULT_INDEX")
        return said[1]

    def failure(self, finished: Finished, *arguments: str | Path, shown: bool = False) -> EnvironmentBuildError:
        command = self._redact(shlex.join(["uv", *map(str, arguments)]))
        code = finished.returncode
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        lines = "\n".join(f"  {line}" for line in finished.log[-_SHOWN_LINES:])
        message = f"{command} failed ({how}):\n{lines}"
        if self.lacked_network(finished):
            message += "\nWhat to do: run `neuropod-ope env build` once with the network, into the same cache folder"
        return EnvironmentBuildError(message, command, code, finished.log, shown)

    def lacked_network(self, finished: Finished) -> bool:
        """Whether something would have had to be downloaded, and must not be."""
        return _OFFLINE in " ".join(finished.log)

    def package_arguments(self, source: tuple[str, ...]) -> list[str]:
        """What every command that picks packages is told: wheels only, but for those named."""
        arguments = ["--only-binary", ":all:"]
        for name in source:
            arguments += ["--no-binary", name]
        # uv has a variable for every other setting that pip may have.
        return [*arguments, "--no-index"] if self.index_options.no_index else arguments

    def _cleaned(self, line: str) -> str:
        return "" if _NOISE in line else self._redact(line)

    def _redact(self, text: str) -> str:
        return redact(text, self.index_options.secrets)
