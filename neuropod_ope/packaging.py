"""The packagers of ``neuropod_worker``, whose test run takes place in the environment that the package asks for.

There it is this interpreter's, because a model is packaged where it was trained. Here it need not be: a saved
model is packaged without its framework, and whatever is missing to test it is built, as for any other load.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

from neuropod_ope.environment import ensure_environment
from neuropod_ope.errors import NeuropodError, PackageError
from neuropod_ope.platforms import check_platform_somewhere
from neuropod_ope.runtime import Runtime
from neuropod_worker import packagers
from neuropod_worker.package import read_package
from neuropod_worker.problem.checks import Arrays

_Parameters = ParamSpec("_Parameters")


def _run_as_its_users_will(package_dir: str, inputs: Arrays) -> Arrays:
    try:
        package = read_package(package_dir)
        check_platform_somewhere(package)
        with Runtime() as runtime:
            requirement = runtime.policy.requirement(
                package.platform, package.version_range, package.requirements_lock
            )
            # Not ``runtime.environment(package_dir)``: what it told to build would be a folder that is gone by then.
            environment = ensure_environment(requirement, runtime.policy)
            with runtime.worker(environment, name=package.name) as worker, worker.load(package_dir) as model:
                return model.infer(inputs)
    except NeuropodError as error:
        details = getattr(error, "remote_traceback", None) or ""
        raise PackageError(f"the finished package does not run on its test input: {error}\n{details}") from error


def _tested_where_it_will_run(packager: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    @functools.wraps(packager)
    def package(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        kwargs.setdefault("test_runner", _run_as_its_users_will)
        packager(*args, **kwargs)

    return package


create_keras_neuropod = _tested_where_it_will_run(packagers.create_keras_neuropod)
create_python_neuropod = _tested_where_it_will_run(packagers.create_python_neuropod)
create_pytorch_neuropod = create_python_neuropod
create_tensorflow_neuropod = _tested_where_it_will_run(packagers.create_tensorflow_neuropod)
create_torchscript_neuropod = _tested_where_it_will_run(packagers.create_torchscript_neuropod)
randomify_neuropod = _tested_where_it_will_run(packagers.randomify_neuropod)
