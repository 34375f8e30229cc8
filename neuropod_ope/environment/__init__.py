"""What a package needs -> which interpreter -> which virtualenv.

Expects what a package declares and a policy; gives an interpreter to start, found or built. Knows nothing of
packages, workers or models. Its steps, each a module: ``candidates`` (pure), ``resolve``, ``build``; it keeps
what it makes in a ``store`` and runs all tools through ``uv``.
"""

from neuropod_ope.environment.ensure import ensure_environment, named_environment
from neuropod_ope.environment.errors import EnvironmentBuildError, NoMatchingEnvironment
from neuropod_ope.environment.frozen import frozen
from neuropod_ope.environment.installed import missing_in_this_interpreter
from neuropod_ope.environment.requirement import Environment, EnvironmentPolicy, Requirement, default_cache_dir

__all__ = [
    "Environment",
    "EnvironmentBuildError",
    "EnvironmentPolicy",
    "NoMatchingEnvironment",
    "Requirement",
    "default_cache_dir",
    "ensure_environment",
    "frozen",
    "missing_in_this_interpreter",
    "named_environment",
]
