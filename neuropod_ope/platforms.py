"""Whether there is any place in which the models of a platform can run."""

from __future__ import annotations

from neuropod_ope.environment.registry import Registry
from neuropod_worker.backends import check_platform
from neuropod_worker.package import Package


def check_platform_somewhere(package: Package) -> None:
    """Raise PackageError if nothing here knows the platform, and nobody could.

    A registered interpreter may have what adds it; which one does is looked up when an environment is wanted.
    """
    if not Registry().interpreters():
        check_platform(package)
