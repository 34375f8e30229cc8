"""The catalog of framework versions (``envs/catalog.toml``); that file's head says what its keys mean."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Entry(NamedTuple):
    """One framework version: what to install, under which Pythons (none: any), with which pins and additions."""

    distribution: str
    version: str
    pythons: tuple[str, ...]
    constraints: tuple[str, ...]
    requires: tuple[str, ...]
    source: tuple[str, ...]

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"


class Platform(NamedTuple):
    """The versions of one platform's framework: the default first, then newest first.

    ``offered`` and ``source`` are for versions that an index offers beyond these.
    """

    distributions: tuple[str, ...]
    entries: tuple[Entry, ...]
    offered: tuple[str, ...]
    source: tuple[str, ...]


Catalog = dict[str, Platform]


def parse_catalog(text: str) -> Catalog:
    catalog = {}
    for platform, table in tomllib.loads(text).items():
        distributions = tuple(table["distributions"])
        entries = [
            Entry(
                row.get("distribution", distributions[0]),
                version,
                tuple(row["pythons"]),
                tuple(row.get("constraints", ())),
                tuple(row.get("requires", ())),
                tuple(row.get("source", ())),
            )
            for version, row in table["versions"].items()
        ]
        default = table.get("default")
        entries.sort(key=lambda entry: (entry.version == default, Version(entry.version)), reverse=True)
        catalog[platform] = Platform(
            distributions, tuple(entries), tuple(table.get("offered", distributions)), tuple(table.get("source", ()))
        )
    return catalog


@cache
def load_catalog() -> Catalog:
    """The catalog that ships with this library: inside the wheel, or at the root of a checkout."""
    package = Path(__file__).resolve().parent.parent
    folders = (package / "envs", package.parent / "envs")
    for folder in folders:
        path = folder / "catalog.toml"
        if path.is_file():
            return parse_catalog(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"catalog.toml lies in none of {', '.join(map(str, folders))}")


def entry_pinned_by(catalog: Catalog, distribution: str, version: str) -> Entry | None:
    """The entry of a framework version that a lock pins, whichever of the distributions provides it."""
    for platform in catalog.values():
        if canonicalize_name(distribution) in platform.distributions:
            for entry in platform.entries:
                if Version(entry.version).public == Version(version).public:
                    return entry
    return None
