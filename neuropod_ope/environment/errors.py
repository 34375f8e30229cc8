"""What can go wrong between a package and the interpreter that runs it."""

from __future__ import annotations

from neuropod_worker.errors import NeuropodError


class NoMatchingEnvironment(NeuropodError):
    """Nothing here fits what the package declares, or policy forbids building what would.

    ``command`` is the shell command that builds the environment, if one would; ``lack`` says what has not been
    built, where policy alone forbids it.

    What to do: run the command that it names, change the policy, or name an interpreter with ``environment=``.
    """

    def __init__(
        self,
        message: str,
        platform: str | None = None,
        version_range: str | None = None,
        command: str | None = None,
        lack: str | None = None,
    ) -> None:
        super().__init__(message)
        self.platform = platform
        self.version_range = version_range
        self.command = command
        self.lack = lack


class EnvironmentBuildError(NeuropodError):
    """An environment could not be resolved or built; nothing of it was left behind.

    ``log`` holds the last lines of the tool that failed, ``command`` what it was told; both without
    credentials. ``log_shown``: stderr has them already.

    What to do: read the log; most often a version is not on the index, or has no wheel for this Python.
    """

    def __init__(
        self,
        message: str,
        command: str | None = None,
        returncode: int | None = None,
        log: tuple[str, ...] = (),
        log_shown: bool = False,
    ) -> None:
        super().__init__(message)
        self.command = command
        self.returncode = returncode
        self.log = log
        self.log_shown = log_shown
