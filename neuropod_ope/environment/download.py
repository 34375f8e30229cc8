"""Letting uv fetch an interpreter, where policy allows it."""

from __future__ import annotations

import json
from collections.abc import Callable

from neuropod_ope.environment.uv import Uv
from neuropod_ope.environment.versions import parse_version


def download_python(is_wanted: Callable[[str, str], bool], uv: Uv) -> bool:
    """Install the newest CPython for which ``is_wanted(version, minor)``; False if uv offers none.

    Raises EnvironmentBuildError.
    """
    listed = uv.run("python", "list", "--only-downloads", "--all-versions", "--output-format", "json")
    offered = {
        one["version"]: "{major}.{minor}".format(**one["version_parts"])
        for one in json.loads(listed.stdout)
        if one["implementation"] == "cpython" and one["variant"] == "default"
    }
    fitting = [version for version, minor in offered.items() if is_wanted(version, minor)]
    if not fitting:
        return False
    uv.run("python", "install", max(fitting, key=parse_version), show=True)
    return True
