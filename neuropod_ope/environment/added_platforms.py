"""Platforms that a distribution installed here adds, as entries of the catalog."""

from __future__ import annotations

import sys

from packaging.version import Version

from neuropod_ope.environment.catalog import Catalog, Entry, Platform, load_catalog
from neuropod_worker.backends.entry_points import providers


def catalog_for(platform: str) -> Catalog:
    """The catalog in which ``platform`` is, if it ships with this library or an installed distribution adds it.

    The framework of such a platform is the distribution itself, which asks for what it needs by its own metadata;
    the version that is installed here is the one that is known to work. Raises LoadError as `providers` does.
    """
    catalog = load_catalog()
    if platform == "python" or platform in catalog:
        return catalog
    provider = providers(sys.path).get(platform)
    if provider is None:
        return catalog
    # A local build is not what an index has.
    entry = Entry(provider.distribution, Version(provider.version).public, (), (), (), ())
    names = (provider.distribution,)
    return {**catalog, platform: Platform(names, (entry,), names, ())}
