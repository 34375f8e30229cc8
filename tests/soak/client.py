"""One application of the soak test: random models, calls, faults and restarts until its time is over.

    PYTHON client.py PACKAGE CACHE MARK SEED SECONDS

Prints a line of JSON after every round, in which it opens models, uses them from several threads and closes them.
"""

import contextlib
import ctypes
import gc
import json
import logging
import random
import sys
import threading
import time

from calls import Caller, Figures
from left_behind import held, held_at_rest

from neuropod_ope import NeuropodError, RestartPolicy, Runtime

THREADS = 3
ROUND_S = 8.0
FAULTY = 0.02  # of the operations of a thread are faults
KILL_EVERY_S = 1.0  # somebody kills a worker
POLICY = RestartPolicy(backoff=0.0, ceiling=None)


class Round:
    """Some models, and threads that use them."""

    def __init__(self, path, cache, mark, rng):
        self.figures = Figures()
        self._path = path
        self._rng = rng
        self._over = threading.Event()
        segment = rng.choice(("posix", "memfd"))
        portable = rng.random() < 0.2
        self._runtime = Runtime(cache_dir=cache, environ_allow=[mark], segment=segment, portable=portable)

    def play(self, seconds):
        with self._runtime as runtime, contextlib.ExitStack() as models:
            standby = RestartPolicy(backoff=0.0, ceiling=None, standby=1)
            self._models = [
                models.enter_context(runtime.load(self._path, out_of_process=True, restart=self._rng.choice(two)))
                for two in ((POLICY, standby), (POLICY, POLICY))
            ]
            shared = models.enter_context(runtime.worker(runtime.environment(self._path), restart=POLICY))
            self._models += [models.enter_context(shared.load(self._path)) for _ in range(2)]
            threads = [threading.Thread(target=self._use, args=(self._rng.random(),)) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self._over.wait(self._rng.uniform(0.0, 2 * KILL_EVERY_S))
                self._kill_somebody()
            self._over.set()
            for thread in threads:
                thread.join()

    def _kill_somebody(self):
        for worker in self._rng.choice(self._models).workers:
            with contextlib.suppress(ProcessLookupError):
                self.figures.kill(worker.pid)
                return

    def _use(self, seed):
        rng = random.Random(seed)
        caller = Caller(rng, self.figures)
        while not self._over.is_set():
            model = rng.choice(self._models)
            try:
                if rng.random() < FAULTY:
                    caller.provoke(model)
                else:
                    caller.ask(model)
            except NeuropodError as error:  # one that nothing provoked
                self.figures.failed(f"{type(error).__name__}: {error}")


def resident():
    """Bytes of this process's own and shared memory, after what can be given back was."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return 1024 * (int(lines["RssAnon"].split()[0]) + int(lines["RssShmem"].split()[0]))


def main(path, cache, mark, seed, seconds):
    logging.disable()
    rng = random.Random(int(seed))
    until = time.monotonic() + float(seconds)
    before = held()
    while time.monotonic() < until:
        one = Round(path, cache, mark, rng)
        one.play(min(ROUND_S, max(until - time.monotonic(), 1.0)))
        figures = one.figures
        del one
        after = held_at_rest(before)
        if after != before:
            figures.failed(f"after a round a client holds {after}, and before it {before}")
        counts = figures.counts
        if counts["recovered"] != counts["faults"] + counts["collateral"]:
            figures.failed(f"calls were lost: {counts}")
        report = {**counts, "recoveries": figures.recoveries, "wrong": figures.wrong[:20], "resident": resident()}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
