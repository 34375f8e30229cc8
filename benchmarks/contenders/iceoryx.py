"""iceoryx2: one publish-subscribe service each way; loaned slices are written and read in place.

Spinning, both sides ask for samples without ever sleeping; with events, each sleeps in a listener.
"""

import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import iceoryx2 as iox2
import numpy as np

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.contenders.messages import add

_END_BYTES = 1  # size of the message that ends the worker; every case is larger
_ALIGNMENT = 64
_SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def _domain() -> Iterator[Path]:
    """A folder that names all that belongs to one exchange, and removes it: a node's last file outlives the node."""
    with tempfile.TemporaryDirectory(prefix="neuropod-benchmark-iox2-") as folder:
        try:
            yield Path(folder)
        finally:
            _remove_files(Path(folder))


def _remove_files(domain: Path) -> None:
    for left in _SHARED_MEMORY.glob(f"{domain.name}*"):
        left.unlink(missing_ok=True)


class _Side:
    """One process's ports: it sends in one direction and receives in the other."""

    def __init__(self, domain: Path, sends: str, receives: str, nbytes: int, events: bool) -> None:
        iox2.set_log_level(iox2.LogLevel.Error)
        config = iox2.config.default()
        config.global_cfg.root_path = iox2.Path.new(str(domain))
        config.global_cfg.prefix = iox2.FileName.new(domain.name)
        builder = iox2.NodeBuilder.new().signal_handling_mode(iox2.SignalHandlingMode.Disabled).config(config)
        self._node = builder.create(iox2.ServiceType.Ipc)
        self._subscriber = self._data(receives).subscriber_builder().create()
        self._publisher = self._data(sends).publisher_builder().initial_max_slice_len(nbytes).create()
        self._notifier = self._event(sends).notifier_builder().create() if events else None
        self._listener = self._event(receives).listener_builder().create() if events else None

    def _data(self, direction: str) -> Any:
        service = self._node.service_builder(iox2.ServiceName.new(direction))
        data = service.publish_subscribe(iox2.Slice[ctypes.c_uint8])
        return data.payload_alignment(iox2.Alignment.new(_ALIGNMENT)).open_or_create()

    def _event(self, direction: str) -> Any:
        return self._node.service_builder(iox2.ServiceName.new(f"{direction}/bell")).event().open_or_create()

    def loan(self, nbytes: int) -> tuple[Any, Any]:
        """A sample to send, and its memory."""
        sample = self._publisher.loan_slice_uninit(nbytes)
        return sample, _memory(sample, nbytes)

    def send(self, sample: Any) -> None:
        sample.assume_init().send()
        if self._notifier is not None:
            self._notifier.notify()

    def receive(self) -> Any:
        """The next sample; its memory goes when it is deleted."""
        while (sample := self._subscriber.receive()) is None:
            if self._listener is not None:
                self._listener.blocking_wait()
        return sample


def _memory(sample: Any, nbytes: int) -> Any:
    return (ctypes.c_uint8 * nbytes).from_address(sample.payload_ptr)


@contextmanager
def _opened(case: Case, events: bool) -> Iterator[Exchange]:
    with _domain() as domain:  # around the frame that holds our side: its ports are gone before the files
        yield from _exchange(domain, case, events)


def _exchange(domain: Path, case: Case, events: bool) -> Iterator[Exchange]:
    spawn = get_context("spawn")
    side = _Side(domain, "requests", "replies", case.nbytes, events)
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(domain, case, events, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv_bytes()  # it has subscribed: what is published earlier is lost
    inputs = case.arrays()
    last: Any = None

    def call() -> list[np.ndarray]:
        nonlocal last
        if last is not None:
            last.delete()
        sample, memory = side.loan(case.nbytes)
        for x, place in zip(inputs, case.views(memory), strict=True):
            place[...] = x
        side.send(sample)
        last = side.receive()
        return case.views(_memory(last, case.nbytes))

    with ours:
        yield Exchange(inputs, call)
        side.send(side.loan(_END_BYTES)[0])
        process.join()


def _end_with(client: Connection, domain: Path) -> None:
    """iceoryx2 tells nobody that the other side was killed."""
    client.poll(None)
    if domain.exists():  # otherwise the client has ended in order
        _remove_files(domain)
        shutil.rmtree(domain, ignore_errors=True)
        os._exit(1)


def _serve(domain: Path, case: Case, events: bool, client: Connection) -> None:
    threading.Thread(target=_end_with, args=(client, domain), daemon=True).start()
    side = _Side(domain, "replies", "requests", case.nbytes, events)
    client.send_bytes(b"subscribed")
    while True:
        given = side.receive()
        if given.payload().len() == _END_BYTES:
            return
        sample, memory = side.loan(case.nbytes)
        add(case.views(_memory(given, case.nbytes)), case.views(memory))
        given.delete()
        side.send(sample)


def open_spinning(case: Case) -> Any:
    return _opened(case, events=False)


def open_events(case: Case) -> Any:
    return _opened(case, events=True)
