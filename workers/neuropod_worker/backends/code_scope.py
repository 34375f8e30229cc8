"""Code of several packages in one process, each seeing its own modules under their plain names.

A ``CodeScope`` owns the modules below its folders. While it is *shown*, the process looks to everybody as if
only this package existed: its folders lead ``sys.path``, its modules are in ``sys.modules``. It is shown
during the load, and for as long as an import statement in the package's own code takes that has something to
load. Between times its modules find each other through the ``__import__`` in the ``__builtins__`` that they
were given.

An extension module that several packages bring with equal content is loaded into the process once, from the
file of the first, which its ``__file__`` then names; each package has a module object of its own.

``importlib.import_module`` and pickles of the package's own classes find nothing while the scope is hidden. A
*lingering* scope therefore stays shown until another one wants to be, and is shown again before each call of its
model; that is for processes whose models are called one after the other. Left unsolved: in an application's
process they find nothing at run time. And while a scope is shown, other threads that import a module of an equal
name get the package's.
"""

import builtins
import importlib
import importlib.util
import os
import sys
import threading
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader
from inspect import getmodulename
from types import ModuleType
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

from neuropod_worker.backends.custom_ops import first_copy


class CodeScope:
    """The modules of one package, found in ``folders``. Loading never writes into the folders."""

    def __init__(self, folders: Sequence[str], lingers: bool = False) -> None:
        self.folders = [os.path.abspath(folder) for folder in folders if os.path.isdir(folder)]
        self.lingers = lingers
        self.builtins = dict(vars(builtins), __import__=self._import)
        self._names = _top_level_names(self.folders)
        self._modules: Dict[str, ModuleType] = {}
        self._modules_of_all = 0  # their number while this scope is shown, as it was when it was installed

    def import_module(self, name: str) -> ModuleType:
        with self.shown():
            return importlib.import_module(name)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the scope, waiting while another scope is shown by another thread."""
        _enter(self)
        try:
            yield
        finally:
            _leave(self)

    def show_again(self) -> None:
        """Show a lingering scope, where another one has been shown since."""
        if self.lingers and not (_showings and _showings[-1].scope is self):
            with self.shown():
                pass

    def owns(self, module_name: str) -> bool:
        return module_name.partition(".")[0] in self._names

    def close(self) -> None:
        """Hide the modules, if they linger. Code of theirs that is running still finds them."""
        self.lingers = False
        with _turn:
            if _showings and _showings[-1].scope is self:
                _hide_unneeded()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        """The finder protocol of ``sys.meta_path``, for own modules."""
        if not self.owns(name):
            return None
        spec = PathFinder.find_spec(name, path if "." in name else self.folders, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _OwnSource(spec.loader.name, spec.loader.path, self)
        elif spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            spec = _of_library(spec.name, first_copy(spec.loader.path))
        elif spec is not None and spec.origin in (None, "namespace"):
            # A plain list: the import system would recompute a namespace's path from today's sys.path.
            spec.submodule_search_locations = list(spec.submodule_search_locations or ())
        return spec

    def install(self) -> Dict[str, ModuleType]:
        """Make the process see this scope; return the modules that had to give way."""
        displaced: Dict[str, ModuleType] = {}
        if not sys.modules.keys().isdisjoint(self._names):  # a submodule does not come without its package
            displaced = {name: sys.modules.pop(name) for name in list(sys.modules) if self.owns(name)}
        sys.modules.update(self._modules)
        self._modules_of_all = len(sys.modules)
        sys.path[:0] = self.folders
        sys.meta_path.insert(0, self)
        return displaced

    def uninstall(self, displaced: Dict[str, ModuleType]) -> None:
        """Undo ``install`` and keep the modules that were loaded meanwhile."""
        sys.meta_path.remove(self)
        for folder in self.folders:
            if folder in sys.path:  # the model's code may have changed it
                sys.path.remove(folder)
        if len(sys.modules) != self._modules_of_all:
            self._modules = {name: sys.modules[name] for name in list(sys.modules) if self.owns(name)}
        for name in self._modules:
            sys.modules.pop(name, None)
        sys.modules.update(displaced)

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """``__import__`` for the package's own modules. What is loaded already costs two lookups, no lock."""
        full = name
        if level:
            full = importlib.util.resolve_name("." * level + name, (globals or {}).get("__package__") or "")
        elif not self.owns(name):
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = self._modules.get(full)
        if module is not None and not fromlist:
            return self._modules[full.partition(".")[0]]
        if module is not None and all(hasattr(module, item) for item in fromlist):
            return module
        with self.shown():
            return builtins.__import__(name, globals, locals, fromlist, level)


def _of_library(name: str, path: str) -> Optional[ModuleSpec]:
    # The system maps one path once, and Python gives each package a module of its own.
    return importlib.util.spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))


class _OwnSource(SourceFileLoader):
    """The loader of a package's sources: a module gets its scope's builtins, and no ``__pycache__`` is left."""

    def __init__(self, name: str, path: str, scope: CodeScope) -> None:
        super().__init__(name, path)
        self._scope = scope

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._scope.builtins
        super().exec_module(module)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass


class _Showing:
    """One scope being shown: by which threads, and what it displaced."""

    def __init__(self, scope: CodeScope, displaced: Dict[str, ModuleType]) -> None:
        self.scope = scope
        self.displaced = displaced
        self.threads: List[int] = []


# What is shown, innermost last: a model's code may load another package. Guarded by _turn. Threads of one
# scope show it together, so that a load may wait for threads of its own which import something.
_showings: List[_Showing] = []
_turn = threading.Condition()


def _enter(scope: CodeScope) -> None:
    me = threading.get_ident()
    with _turn:
        _turn.wait_for(lambda: _may_enter(scope, me))
        _hide_unneeded(but=scope)
        if not _showings or _showings[-1].scope is not scope:
            _showings.append(_Showing(scope, scope.install()))
        _showings[-1].threads.append(me)


def hide_lingering() -> None:
    """Make the process see its own modules again, unless a load is going on."""
    with _turn:
        _hide_unneeded()


def _may_enter(scope: CodeScope, me: int) -> bool:
    busy = [showing for showing in _showings if showing.threads]
    return not busy or busy[-1].scope is scope or any(me in showing.threads for showing in busy)


def _leave(scope: CodeScope) -> None:
    me = threading.get_ident()
    with _turn:
        showing = next(s for s in reversed(_showings) if s.scope is scope and me in s.threads)
        showing.threads.remove(me)
        if not scope.lingers or len(_showings) > 1:
            _hide_unneeded()
        _turn.notify_all()


def _hide_unneeded(but: Optional[CodeScope] = None) -> None:
    """Hide the innermost scopes that no thread holds any more."""
    while _showings and not _showings[-1].threads and _showings[-1].scope is not but:
        showing = _showings.pop()
        showing.scope.uninstall(showing.displaced)


def _top_level_names(folders: Sequence[str]) -> Set[str]:
    names: Set[str] = set()
    for entry in (entry for folder in folders for entry in os.scandir(folder)):
        name = entry.name if entry.is_dir() else getmodulename(entry.name)
        if name and name.isidentifier() and not name.startswith("__"):
            names.add(name)
    return names.difference(sys.builtin_module_names)  # which come before any path
