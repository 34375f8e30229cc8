"""What the sweep tries: of every minor release the newest that the index has for this machine, and the catalog's."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from packaging.version import Version

from neuropod_ope.environment.candidates import Candidate, candidates
from neuropod_ope.environment.catalog import Platform, load_catalog
from neuropod_ope.environment.interpreters import discover
from neuropod_ope.environment.listing import Listing
from neuropod_ope.environment.offered import offered_candidates, offered_versions
from neuropod_ope.environment.requirement import Requirement
from neuropod_ope.environment.store import Store
from neuropod_ope.environment.uv import Uv

_CATALOG = load_catalog()
# Keras is no platform of packages, and so not in the catalog.
_SOURCES = (*_CATALOG["tensorflow"].source, "keras-applications", "keras-preprocessing", "pyyaml")
FRAMEWORKS: dict[str, Platform] = {**_CATALOG, "keras": Platform(("keras",), (), ("keras",), _SOURCES)}


class Target(NamedTuple):
    framework: str
    version: str


def targets(uv: Uv, store: Store) -> list[Target]:
    """All versions to try, the newest of each framework first."""
    return [
        Target(framework, version)
        for framework, platform in FRAMEWORKS.items()
        for version in _versions(platform, Listing(platform.offered, uv, store))
    ]


def in_useful_order(found: Sequence[Target]) -> list[Target]:
    """Of all frameworks in turn, and over the whole range of versions first, so that half a sweep tells of all."""
    of_each: dict[str, list[Target]] = {}
    for target in found:
        of_each.setdefault(target.framework, []).append(target)
    spread = [
        sorted(targets, key=lambda one, all=targets: _bits_reversed(all.index(one))) for targets in of_each.values()
    ]
    return [target for turn in zip_longest(*spread) for target in turn if target]


def _bits_reversed(number: int) -> int:
    return int(f"{number:016b}"[::-1], 2)


def _versions(platform: Platform, listing: Listing) -> list[str]:
    newest: dict[tuple[int, ...], Version] = {}
    for version in map(Version, offered_versions(listing.asked())):
        if not version.is_prerelease:
            newest.setdefault(version.release[:2], version)
    known = {Version(entry.version) for entry in platform.entries}
    return [str(version) for version in sorted({*newest.values(), *known}, reverse=True)]


def candidates_for(target: Target, uv: Uv, store: Store) -> list[Candidate]:
    """As the library would choose them for a package that asks for exactly this version."""
    platform = FRAMEWORKS[target.framework]
    requirement = Requirement(target.framework, f"={target.version}", None)
    interpreters = discover(store)
    files = Listing(platform.offered, uv, store).remembered()
    offered = offered_candidates(requirement, platform, files, interpreters)
    if target.framework == "keras":
        return [one._replace(requirements=(*one.requirements, *_backend(target.version))) for one in offered]
    return candidates(requirement, None, _CATALOG, interpreters) or offered


def _backend(keras: str) -> tuple[str, ...]:
    # Of Keras 3 the first imports TensorFlow whatever the backend is, and TensorFlow asks for the newest of its day.
    if Version(keras) >= Version("3.4"):
        return ("jax", "jaxlib")
    return ("tensorflow-cpu",) if Version(keras) >= Version("2.4") else ("tensorflow",)
