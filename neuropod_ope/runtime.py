"""Process-wide policy, and loading: which environment a package needs and which way its model runs."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec

from neuropod_ope.client.capsules import CapsuleWriter, Redact, replayed
from neuropod_ope.client.deadlines import Deadlines
from neuropod_ope.client.executor import Executor, Request
from neuropod_ope.client.handshake import Launch
from neuropod_ope.client.in_process import InProcessExecutor
from neuropod_ope.client.instances import Instances
from neuropod_ope.client.memory import InputMemory
from neuropod_ope.client.out_of_process import OutOfProcessExecutor
from neuropod_ope.client.seat import SharedProcess
from neuropod_ope.client.segments import SEGMENT_KINDS
from neuropod_ope.client.supervision import Supervision
from neuropod_ope.client.warm_up import warm_up_request
from neuropod_ope.client.worker import Worker
from neuropod_ope.environment import (
    Environment,
    EnvironmentPolicy,
    NoMatchingEnvironment,
    Requirement,
    default_cache_dir,
    ensure_environment,
    frozen,
    missing_in_this_interpreter,
    named_environment,
)
from neuropod_ope.errors import HandleClosed
from neuropod_ope.model import Neuropod
from neuropod_ope.platforms import check_platform_somewhere
from neuropod_ope.shared_worker import MakeExecutor, SharedWorker
from neuropod_ope.supervisor.environ import WorkerEnviron, worker_environ
from neuropod_ope.supervisor.events import Event
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.processors import Share, shares, usable
from neuropod_ope.supervisor.restart import RestartPolicy
from neuropod_worker.backends import LoadOptions
from neuropod_worker.package import Package, open_package
from neuropod_worker.shm.waiting import WAITS

_CLOSING_THREADS = 16
_ONLY_MODEL = 1  # the id of a model that has its worker to itself


class Runtime:
    """Loads models under one policy. Closing it closes them. Thread-safe.

    ``cache_dir`` holds environments and unpacked packages (default: in the user's cache folder).
    ``build``: whether missing environments are built ("if-missing") or an error that names the command
    ("never"). ``offline``: build only from what is already downloaded. ``allow_source``: packages that may be built
    from source; all others are installed from wheels. ``python_downloads``: uv may fetch an interpreter.
    ``prerelease``: platforms of which nightlies and other pre-releases count, each as the release that it precedes.
    ``environ_allow``: names or patterns of environment variables that workers get besides the usual ones.
    ``segment``: the kind of shared memory, "posix" (in /dev/shm), "memfd" (Linux; needs no /dev/shm, and is safe from
    a worker that truncates it) or "auto": memfd where /dev/shm has less than 1 GiB.
    ``memory_budget``: the most bytes of shared memory that the inputs, the outputs and the allocated arrays of one
    model may each take; beyond it is SharedMemoryExhausted.
    ``portable``: use the twins of what only Linux has; for testing a port.
    """

    def __init__(
        self,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        build: Literal["if-missing", "never"] = "if-missing",
        offline: bool = False,
        allow_source: Sequence[str] = (),
        python_downloads: bool = False,
        prerelease: Sequence[str] = (),
        environ_allow: Sequence[str] = (),
        segment: Literal["auto", "posix", "memfd"] = "auto",
        memory_budget: int = 2**36,
        portable: bool = False,
    ) -> None:
        _check_choice("build", build, ("if-missing", "never"))
        _check_choice("segment", segment, ("auto", "posix", "memfd"))
        lists = {"environ_allow": environ_allow, "allow_source": allow_source, "prerelease": prerelease}
        for name, value in lists.items():
            if isinstance(value, str):  # a sequence, too: of its letters
                raise TypeError(f"{name} must be a list of names, not the string {value!r}")
        self.policy = EnvironmentPolicy(
            cache_dir=default_cache_dir() if cache_dir is None else Path(cache_dir),
            build=build,
            offline=offline,
            allow_source=tuple(allow_source),
            python_downloads=python_downloads,
            prerelease=tuple(prerelease),
        )
        self._environ_allow = tuple(environ_allow)
        self._segment = "named" if portable and segment != "memfd" else segment
        if memory_budget < 2**20:
            raise ValueError(f"memory_budget is a number of bytes, at least {2**20}, not {memory_budget!r}")
        self._memory_budget = memory_budget
        self._portable = portable
        self._loop = SupervisorLoop()
        self._deadlines = Deadlines()
        self._lock = threading.Lock()  # around the sets of models and shared workers
        self._models: weakref.WeakSet[Neuropod] = weakref.WeakSet()
        self._shared_workers: weakref.WeakSet[SharedWorker] = weakref.WeakSet()
        self._state = "open"
        _runtimes.add(self)
        for ending in (self._loop.abandon, self._deadlines.end):
            weakref.finalize(self, ending).atexit = False  # at the exit of the process the workers end with it

    def load(
        self,
        path: str | os.PathLike[str],
        *,
        out_of_process: bool | None = None,
        environment: str | os.PathLike[str] | None = None,
        visible_gpu: int | None = 0,
        validate: bool = True,
        load_custom_ops: bool = True,
        lazy: bool = False,
        timeout: float | None = None,
        free_memory_every_cycle: bool = False,
        wait: Literal["adaptive", "spin", "block"] = "adaptive",
        load_timeout: float | None = None,
        restart: RestartPolicy | None = None,
        retries: int = 0,
        on_event: Callable[[Event], None] | None = None,
        cancel: Literal["queue", "kill"] = "queue",
        instances: int = 1,
        warm_up: bool = False,
        threads: int | None = None,
        affinity: Collection[int] | Sequence[Collection[int]] | None = None,
        capsule: str | os.PathLike[str] | None = None,
        redact: Redact | None = None,
    ) -> Neuropod:
        """Load a neuropod package: the path of a directory or of a zip file.

        ``out_of_process``: ``True`` runs the model in a worker process of its own, ``False`` in this process;
        ``None`` in this process if this interpreter satisfies what the package declares, else in a worker.
        ``environment``: an interpreter to run the worker with, in place of one that is found or built.
        ``visible_gpu``: index of the one GPU that the model may use, if there is one; ``None`` for the CPU.
        ``validate``: check tensors against the problem definition. ``load_custom_ops``: load the package's own.
        ``lazy``: load the model at ``load()`` or at the first call. ``warm_up``: run the package's test data first,
        in each worker, before it counts as ready. ``free_memory_every_cycle``: each call begins with
        ``free_unused_memory()``; slower, for when memory is short. ``wait``: how caller and worker wait for each
        other: "adaptive" polls while that has been worth it lately, "spin" never sleeps and burns a core on each
        side, "block" sleeps at once.

        These need a worker, so a model that is given one of them runs in one:
        ``timeout``: default for each call, in seconds. ``load_timeout``: for each start of a worker with its load.
        ``restart``: when a worker that died is replaced, and whether spare ones are kept. ``retries``: so many times
        a call whose worker died while it ran is made again, on a copy of the inputs that is made beforehand; for
        models that do the same for the same inputs. ``on_event``: called with each `Event` in a thread of its own.
        ``cancel``: "kill" also ends calls that run already when they are cancelled or their caller is interrupted,
        with the worker. ``capsule``: a folder, in which a file is left for each call that killed its worker or was
        too late: see docs/supervision.md. ``redact``: ``redact(name, array)`` gives what is stored of an input, None
        to leave it out. ``instances``: so many workers run the model at the same time; each call goes to the least
        busy one. ``threads``: for each worker's numerical libraries; several instances divide the processors among
        them by default. ``affinity``: numbers of the processors that the workers run on, or a list of one such set
        for each.

        Raises PackageError, NoMatchingEnvironment, EnvironmentBuildError, LoadError, WorkerDied.
        """
        self._check_open()
        _check_instances(instances)
        _check_choice("out_of_process", out_of_process, (None, True, False))
        _check_choice("wait", wait, WAITS)
        _check_gpu(visible_gpu)
        _check_timeout(timeout, out_of_process)
        supervision = Supervision(
            restart or RestartPolicy(), on_event, retries, load_timeout, cancel, capsule, redact
        )
        supervised = supervision != Supervision()
        if supervised and out_of_process is False:
            raise ValueError(
                "restart, retries, on_event, load_timeout, cancel and capsule need a model that runs out of process"
            )
        of_a_worker = environment is not None or instances > 1 or threads is not None or affinity is not None
        if of_a_worker and out_of_process is False:
            raise ValueError("environment, instances, threads and affinity need a model that runs out of process")
        processors = shares(affinity, threads, instances, usable(), os.environ)
        package, requirement = self._open(path)
        if environment is None:  # else that one may know platforms which are unknown here
            check_platform_somewhere(package)
        if out_of_process is None:
            must_leave = timeout is not None or supervised or of_a_worker
            out_of_process = must_leave or missing_in_this_interpreter(requirement) is not None
        options = LoadOptions(visible_gpu, load_custom_ops, validate)
        first = warm_up_request(package, validate) if warm_up else None

        def make_executor() -> Executor:
            if out_of_process:
                return self._workers_executor(
                    package, os.fspath(path), requirement, environment, options, wait, supervision, processors, first
                )
            return self._in_process_executor(package, requirement, options, first)

        memory = self._input_memory(package, out_of_process)
        model = Neuropod(package, make_executor, out_of_process, validate, timeout, memory, self._deadlines)
        model.free_memory_every_cycle = free_memory_every_cycle
        return self._started(model, lazy)

    def environment(self, path: str | os.PathLike[str]) -> Environment:
        """The environment that a package needs, for `worker`; built if it is missing and policy allows it."""
        self._check_open()
        package, requirement = self._open(path)
        check_platform_somewhere(package)
        return ensure_environment(requirement, self.policy, os.fspath(path))

    def worker(
        self,
        environment: Environment | str | os.PathLike[str],
        *,
        name: str = "shared",
        visible_gpu: int | None = 0,
        wait: Literal["adaptive", "spin", "block"] = "adaptive",
        restart: RestartPolicy | None = None,
        threads: int | None = None,
        affinity: Collection[int] | None = None,
    ) -> SharedWorker:
        """A worker that several models can be loaded into.

        ``environment``: what ``environment(path)`` gives for a package, or an existing interpreter. What the models
        print goes to the logger ``neuropod_ope.model.<name>``. ``restart`` is each model's policy, without standby.
        ``wait``, ``threads`` and ``affinity``: see `load_neuropod`.
        """
        self._check_open()
        _check_choice("wait", wait, WAITS)
        _check_gpu(visible_gpu)
        supervision = Supervision(restart or RestartPolicy())
        if supervision.restart.standby:
            raise ValueError("a worker that several models share has no standby: load the model into one of its own")
        if not isinstance(environment, Environment):
            environment = named_environment(environment, self.policy)
        (share,) = shares(affinity, threads, 1, usable(), os.environ)
        environ = worker_environ(os.environ, self._environ_allow, visible_gpu, share.threads)
        process = SharedProcess(self._worker(environment, environ, name, wait, share))
        open_model = partial(self._load_shared, environment)
        shared = SharedWorker(process, self._loop, open_model, visible_gpu, environ.dropped, supervision)
        with self._lock:
            self._check_open()
            self._shared_workers.add(shared)
        return shared

    def _load_shared(
        self,
        environment: Environment,
        path: str | os.PathLike[str],
        make_executor: MakeExecutor,
        options: LoadOptions,
        supervision: Supervision,
        *,
        lazy: bool,
        warm_up: bool,
        timeout: float | None,
        free_memory_every_cycle: bool,
    ) -> Neuropod:
        self._check_open()
        _check_timeout(timeout, True)
        package, _ = self._open(path)
        first = warm_up_request(package, options.validate) if warm_up else None
        capsules = self._capsules(supervision, package, os.fspath(path), options, environment)
        memory = self._input_memory(package, True)

        def make() -> Executor:
            return make_executor(package, first, capsules)

        model = Neuropod(package, make, True, options.validate, timeout, memory, self._deadlines)
        model.free_memory_every_cycle = free_memory_every_cycle
        return self._started(model, lazy)

    def _input_memory(self, package: Package, out_of_process: bool) -> InputMemory:
        make_segment = SEGMENT_KINDS[self._segment] if out_of_process else None
        return InputMemory(package.inputs, make_segment, self._memory_budget)

    def _open(self, path: str | os.PathLike[str]) -> tuple[Package, Requirement]:
        package = open_package(path, str(self.policy.cache_dir))
        return package, self.policy.requirement(package.platform, package.version_range, package.requirements_lock)

    def _started(self, model: Neuropod, lazy: bool) -> Neuropod:
        with self._lock:
            self._check_open()
            self._models.add(model)
        if not lazy:
            try:
                model.load()
            except BaseException:  # undo, then re-raise
                model.close()
                raise
        return model

    def _workers_executor(
        self,
        package: Package,
        source: str,
        requirement: Requirement,
        environment: str | os.PathLike[str] | None,
        options: LoadOptions,
        wait: str,
        supervision: Supervision,
        processors: Sequence[Share],
        warm_up: Request | None,
    ) -> Executor:
        found: Environment
        if environment is None:
            found = ensure_environment(requirement, self.policy, source)
        else:
            found = named_environment(environment, self.policy)
        capsules = self._capsules(supervision, package, source, options, found)
        executors = []
        for share in processors:
            environ = worker_environ(os.environ, self._environ_allow, options.visible_gpu, share.threads)
            worker = self._worker(found, environ, package.name, wait, share)
            executors.append(
                OutOfProcessExecutor(
                    package, options, worker, _ONLY_MODEL, environ.dropped, self._loop, supervision, warm_up, capsules
                )
            )
        return executors[0] if len(executors) == 1 else Instances(executors)

    def _capsules(
        self,
        supervision: Supervision,
        package: Package,
        source: str,
        options: LoadOptions,
        environment: Environment,
    ) -> CapsuleWriter | None:
        if supervision.capsule is None:
            return None
        return CapsuleWriter(
            supervision.capsule,
            supervision.redact,
            package.name,
            source,
            replayed(options),
            str(environment.python),
            lambda: frozen(environment, self.policy),
        )

    def _worker(self, environment: Environment, environ: WorkerEnviron, name: str, wait: str, share: Share) -> Worker:
        launch = Launch(
            environment.python,
            environment.support,
            environ.variables,
            self._segment,
            self._portable,
            wait,
            self._memory_budget,
            share.affinity,
        )
        return Worker(launch, name, self._loop, logging.getLogger(f"neuropod_ope.model.{name}"))

    def _in_process_executor(
        self,
        package: Package,
        requirement: Requirement,
        options: LoadOptions,
        warm_up: Request | None,
    ) -> Executor:
        missing = missing_in_this_interpreter(requirement)
        if missing is not None:
            raise NoMatchingEnvironment(
                f"model {package.name!r} cannot run in this process: {missing}. "
                "Load it with out_of_process=True, or without the argument."
            )
        return InProcessExecutor(package, options, warm_up)

    def close(self) -> None:
        """Close all models of this runtime, at the same time. Idempotent."""
        with self._lock:
            if self._state != "open":
                return
            self._state = "closed"
            closing = [model.close for model in self._models] + [shared.close for shared in self._shared_workers]
        if closing:
            with ThreadPoolExecutor(_CLOSING_THREADS) as pool:
                list(pool.map(lambda close: close(), closing))
        self._loop.close()
        self._deadlines.end()
        self._deadlines.join()

    def _check_open(self) -> None:
        if self._state == "forked":
            raise HandleClosed("this runtime was made before this process was forked: make another one")
        if self._state == "closed":
            raise HandleClosed("this runtime is closed: make another one")

    def _forget(self) -> None:
        """In a forked child of the application."""
        if self._state == "open":
            self._state = "forked"
            self._lock = threading.Lock()
            self._loop.forget()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<Runtime {self.policy.cache_dir} build={self.policy.build} {self._state}, {len(self._models)} models>"
        )


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def _check_gpu(visible_gpu: int | None) -> None:
    if visible_gpu is not None and (type(visible_gpu) is not int or visible_gpu < 0):
        raise ValueError(f"visible_gpu must be the index of a GPU or None, not {visible_gpu!r}")


def _check_instances(instances: int) -> None:
    if type(instances) is not int or instances < 1:
        raise ValueError(f"instances must be a number of workers, at least 1, not {instances!r}")


def _check_timeout(timeout: float | None, out_of_process: bool | None) -> None:
    if timeout is not None and (out_of_process is False or not isinstance(timeout, (int, float)) or not timeout > 0):
        raise ValueError(
            f"timeout={timeout!r}, out_of_process={out_of_process}: a timeout is a number of seconds above 0, "
            "and needs a model that runs out of process"
        )


_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()


_default: Runtime | None = None
_default_lock = threading.Lock()


def default_runtime() -> Runtime:
    """The runtime that `load_neuropod` uses, made on first use with the default policy."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Runtime()
        return _default


def _after_fork_in_child() -> None:
    # The supervisors' threads and the workers stayed with the parent; a child that loads models starts afresh.
    global _default, _default_lock
    for runtime in list(_runtimes):
        runtime._forget()
    _default = None
    _default_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


_Options = ParamSpec("_Options")


def _of_the_default_runtime(load: Callable[Concatenate[Runtime, _Options], Neuropod]) -> Callable[_Options, Neuropod]:
    @functools.wraps(load)
    def load_neuropod(*args: _Options.args, **options: _Options.kwargs) -> Neuropod:
        return load(default_runtime(), *args, **options)

    load_neuropod.__name__ = load_neuropod.__qualname__ = "load_neuropod"
    signature = inspect.signature(load)
    without_self = signature.replace(parameters=list(signature.parameters.values())[1:])
    load_neuropod.__signature__ = without_self  # type: ignore[attr-defined] # what help() shows
    return load_neuropod


load_neuropod = _of_the_default_runtime(Runtime.load)
