"""The errors that both sides know. The client adds its own in ``neuropod_ope.errors``.

Every error carries its facts as attributes and survives pickling: facts are keyword arguments with
defaults, so that ``Exception.__reduce__`` can rebuild the object from its message and its ``__dict__``.
"""

from typing import Optional


class NeuropodError(Exception):
    """Root of all errors of this library. ``retryable``: the same call may succeed when made again.

    What to do: catch it where any failure of a model is handled alike; make the call again if ``retryable``.
    """

    retryable = False


class PackageError(NeuropodError, ValueError):
    """A package cannot be read or written: a missing or wrong file, a bad argument of a packager.

    What to do: repair the package, or package the model again; the message names the file.
    """

    def __init__(self, message: str, path: Optional[str] = None) -> None:
        super().__init__(message)
        self.path = path


class SpecError(NeuropodError, ValueError):
    """A tensor does not fit the problem definition: its name, dtype, rank, a dimension or a symbol.

    What to do: give what the problem definition asks for (``neuropod-ope inspect`` shows it); if it is an output,
    mend the model.
    """

    def __init__(self, message: str, tensor: Optional[str] = None) -> None:
        super().__init__(message)
        self.tensor = tensor


class LoadError(NeuropodError):
    """A model could not be loaded: its framework, its custom ops or its own code failed.

    ``remote_type`` and ``remote_traceback`` describe the exception that the model's code raised, if any.

    What to do: read the remote traceback; most often a package is missing from the requirements, or a custom op was
    built for another version.
    """

    def __init__(
        self, message: str, remote_type: Optional[str] = None, remote_traceback: Optional[str] = None
    ) -> None:
        super().__init__(message)
        self.remote_type = remote_type
        self.remote_traceback = remote_traceback
