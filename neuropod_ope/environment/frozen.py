"""What is installed in an environment, as a lock. Reads metadata; runs an interpreter that was never asked."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from packaging.utils import canonicalize_name

from neuropod_ope.environment.installed import this_interpreter
from neuropod_ope.environment.interpreters import named, package_folders
from neuropod_ope.environment.requirement import Environment, EnvironmentPolicy
from neuropod_ope.environment.store import Store


def frozen(environment: Environment, policy: EnvironmentPolicy) -> str:
    """One line ``name==version`` for each distribution, after one that names the Python; the overlay is left out."""
    if str(environment.python) == sys.executable:
        version, folders = platform.python_version(), this_interpreter().path
    else:
        store = Store(policy.cache_dir)
        version = named(environment.python, store).version
        folders = package_folders(environment.python, store)
    pins: dict[str, str] = {}
    for found in importlib.metadata.distributions(path=list(folders)):
        name = found.metadata["Name"]
        if name:  # else what is left of one that was removed
            pins.setdefault(canonicalize_name(name), found.version)  # the first on the path is the one that counts
    return f"# frozen with python {version}\n" + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins))
