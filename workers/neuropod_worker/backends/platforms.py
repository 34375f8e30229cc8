"""Which backend loads the models of a platform: one of ours, or one that an installed distribution adds."""

import importlib
import sys
from typing import Any, Callable

from neuropod_worker.backends.backend import Backend, LoadOptions, load_error
from neuropod_worker.backends.entry_points import GROUP, Provider, providers
from neuropod_worker.errors import LoadError, NeuropodError, PackageError
from neuropod_worker.package.package import Package

Loader = Callable[[Package, LoadOptions], Backend]

# Imported on first use: only a model of the platform pays for its framework.
_OWN_MODULES = {
    "python": ".python_backend",
    "tensorflow": ".tensorflow_backend",
    "torchscript": ".torchscript_backend",
}


def check_platform(package: Package) -> None:
    """Raise ``PackageError`` if nothing that is installed here knows the package's platform."""
    if package.platform not in _OWN_MODULES:
        _provider(package)


def _provider(package: Package) -> Provider:
    added = providers(sys.path)
    if package.platform not in added:
        message = (
            "platform {!r} is not supported; supported are {}. Is it in the interpreter of a worker? Then name that "
            "(environment=); else install what adds it (entry points {})"
        )
        supported = ", ".join(sorted({*_OWN_MODULES, *added}))
        raise PackageError(message.format(package.platform, supported, GROUP), package.path)
    return added[package.platform]


def import_backend(package: Package) -> Loader:
    """Import what loads models of the package's platform, and with it the framework.

    Raises ``PackageError`` where the package is at fault, else ``LoadError``.
    """
    own = _OWN_MODULES.get(package.platform)
    if own is not None:
        loader: Loader = importlib.import_module(own, __package__).load
        return loader
    return _import_added(_provider(package))


def _import_added(provider: Provider) -> Loader:
    who = "{} {}, which adds the platform {!r},".format(provider.distribution, provider.version, provider.platform)
    module, _, function = provider.loader.partition(":")
    try:
        load: Any = getattr(importlib.import_module(module), function)
    except Exception as error:  # its code, or its framework's, may raise anything
        raise load_error("{} has no {} that can be imported".format(who, provider.loader), error) from error
    return lambda package, options: _load_added(who, provider.loader, load, package, options)


def _load_added(who: str, loader: str, load: Any, package: Package, options: LoadOptions) -> Backend:
    try:
        backend = load(package, options)
    except NeuropodError:
        raise
    except Exception as error:  # as above
        raise load_error("{} cannot load it".format(who), error) from error
    if not isinstance(backend, Backend):
        message = "{} must return a neuropod_worker.backends.Backend from {}, but returned {}"
        raise LoadError(message.format(who, loader, type(backend).__name__))
    return backend
