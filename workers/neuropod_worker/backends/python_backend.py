"""Platform ``python``: the package's own ``entrypoint(data_dir)`` returns what is called with the inputs."""

import platform
from typing import Any, Callable, Dict, Optional, Sequence

from neuropod_worker.backends.backend import Backend, LoadOptions, load_error
from neuropod_worker.backends.code_scope import CodeScope
from neuropod_worker.backends.python_ops import broken_op, check_python_ops
from neuropod_worker.errors import LoadError, PackageError
from neuropod_worker.package.package import Package
from neuropod_worker.package.platform_config import PythonEntry, read_python_entry
from neuropod_worker.problem.checks import Arrays


class PythonBackend(Backend):
    version = platform.python_version()

    def __init__(self, scope: CodeScope, model: Callable[..., Any]) -> None:
        self._scope = scope
        self._model = model

    def infer(self, inputs: Arrays, requested: Optional[Sequence[str]]) -> Dict[str, Any]:
        self._scope.show_again()
        return self._model(**inputs)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._scope.close()


def load(package: Package, options: LoadOptions) -> Backend:
    entry = read_python_entry(package.path)
    folders = [package.file("code")]
    if options.load_custom_ops and package.custom_ops:
        check_python_ops(package)
        folders.append(package.file("ops"))
    scope = CodeScope(folders, lingers=options.own_process)
    try:
        model = _load_entrypoint(package, scope, entry)
    except BaseException:  # undo, then re-raise
        scope.close()
        raise
    return PythonBackend(scope, model)


def _load_entrypoint(package: Package, scope: CodeScope, entry: PythonEntry) -> Callable[..., Any]:
    where = "{}.{}".format(entry.module, entry.function)
    no_module = PackageError("there is no module for the entry point {}".format(where), package.path)
    if not scope.owns(entry.module):
        raise no_module
    with scope.shown():
        try:
            module = scope.import_module(entry.module)
        except (Exception, SystemExit) as error:  # the package's code may raise anything
            if isinstance(error, ImportError) and (entry.module + ".").startswith("{}.".format(error.name)):
                raise no_module from None
            raise _failed(package, scope, "the model's code cannot be imported", error) from error
        entrypoint = getattr(module, entry.function, None)
        if not callable(entrypoint):
            problem = "does not exist" if entrypoint is None else "is not callable"
            raise PackageError("the entry point {} {}".format(where, problem), package.path)
        try:
            model = entrypoint(package.file("data"))
        except (Exception, SystemExit) as error:  # the package's code may raise anything
            raise _failed(package, scope, "the entry point {}(data_folder) failed".format(where), error) from error
    if not callable(model):
        message = "the entry point {} must return a callable, but returned {}"
        raise PackageError(message.format(where, type(model).__name__), package.path)
    return model  # type: ignore[no-any-return]


def _failed(package: Package, scope: CodeScope, what: str, error: BaseException) -> LoadError:
    advice = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        own = "a module of the model's own belongs into `code_path_spec`"
        others = "add the distribution that has it to the package's `requirements`, or load with environment=..."
        advice = "; " + (own if scope.owns(error.name) else "{}; {}".format(others, own))
    return load_error(broken_op(package, error) or what, error, advice)
