"""Platforms that an installed distribution adds, as entries of the catalog."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from packaging.version import Version

from neuropod_ope.environment.catalog import Catalog, Entry, Platform, load_catalog
from neuropod_worker.backends.entry_points import providers


def catalog_for(platform: str, path: Sequence[str] | None = None) -> Catalog:
    """The catalog in which ``platform`` is, if it ships with this library or a distribution in ``path`` adds it.

    ``path``: where an interpreter finds packages; this process's `sys.path` if it is not given. The framework of
    such a platform is the distribution itself, which asks for what it needs by its own metadata; the version that
    is installed is the one that is known to work. Raises LoadError as `providers` does.
    """
    catalog = load_catalog()
    if platform == "python" or platform in catalog:
        return catalog
    provider = providers(sys.path if path is None else path).get(platform)
    if provider is None:
        return catalog
    # A local build is not what an index has.
    entry = Entry(provider.distribution, Version(provider.version).public, (), (), (), ())
    names = (provider.distribution,)
    return {**catalog, platform: Platform(names, (entry,), names, ())}
