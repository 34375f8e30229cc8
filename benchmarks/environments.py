"""Virtualenvs of the suite's own, one for each set of packages, built when first asked for and kept in the user's
cache. Their interpreter and numpy are those of the virtualenv that runs the suite, so that contenders differ in
nothing else.
"""

import hashlib
import sys
from importlib.metadata import version

from benchmarks.figures import NotPossible
from neuropod_ope.environment import EnvironmentBuildError, EnvironmentPolicy, default_cache_dir
from neuropod_ope.environment.uv import Uv


def environment_with(packages: tuple[str, ...]) -> str:
    """The Python of a virtualenv that has these. Raises NotPossible with the reason if they do not install."""
    wanted = "\n".join([sys.executable, f"numpy=={version('numpy')}", *packages])
    folder = default_cache_dir() / "benchmarks" / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    done = folder / "built-from.txt"
    if done.exists():
        return str(python)
    print(f"building a virtualenv with {', '.join(packages)} ...", file=sys.stderr, flush=True)
    uv = Uv(EnvironmentPolicy(cache_dir=default_cache_dir()))
    try:
        uv.run("venv", "--clear", "--python", sys.executable, folder)
        uv.run("pip", "install", "--python", python, *uv.package_arguments(()), *wanted.splitlines()[1:])
    except EnvironmentBuildError as error:
        last = (error.log or (str(error),))[-1].strip()
        raise NotPossible(f"{', '.join(packages)} does not install here: {last}") from error
    done.write_text(wanted)
    return str(python)
