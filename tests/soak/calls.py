"""Calls of random sizes whose answers are checked, and faults whose errors are."""

import os
import signal
import threading
import time
from typing import NamedTuple

import numpy as np

from neuropod_ope import InferTimeout, ModelError, QueueFull, SpecError, WorkerDied

SIZES = (0, 1, 3, 100, 8192, 8193, 100_000, 500_000)  # doubles: inline, copied, viewed
LATE_S = 0.3  # the timeout of a call that hangs
AMPLE_S = 120.0  # and of any other one: nothing may wait for ever

# What the model is told, what then comes of the call, and how often.
FAULTS = (
    ("raise luck", ModelError, 20),
    ("misfit", SpecError, 10),
    (f"signal {signal.SIGKILL:d}", WorkerDied, 4),
    (f"signal {signal.SIGTERM:d}", WorkerDied, 2),
    ("crash", WorkerDied, 4),
    ("exit 0", WorkerDied, 2),
    ("exit 7", WorkerDied, 2),
    ("hang", InferTimeout, 3),
    ("stuck", InferTimeout, 3),
)


class Figures:
    """What was done, and what came of it. Thread-safe.

    ``faults`` were provoked by calls, ``kills`` came from outside and made ``collateral`` calls fail. After each of
    those, and after each fault, a thread goes on when it has the right answer to another call: ``recovered``.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(("calls", "faults", "kills", "collateral", "recovered"), 0)
        self.recoveries = []  # seconds from the error to the next right answer
        self.wrong = []

    def count(self, name, number=1):
        with self._lock:
            self.counts[name] += number

    def kill(self, pid):
        """Kill a worker from outside. Counted with the kill, so that no call finds one without the other."""
        with self._lock:
            os.kill(pid, signal.SIGKILL)
            self.counts["kills"] += 1

    @property
    def kills(self):
        with self._lock:
            return self.counts["kills"]

    def recovered(self, seconds):
        with self._lock:
            self.counts["recovered"] += 1
            self.recoveries.append(seconds)

    def failed(self, what):
        with self._lock:
            self.wrong.append(what)


class Question(NamedTuple):
    x: np.ndarray
    text: str

    def inputs(self, order=""):
        return {"x": self.x, "text": self.text, "order": order}

    def answered_by(self, outputs):
        return (outputs["y"] == self.x * 2 + 1).all() and outputs["text"] == self.text


class Caller:
    """One thread's calls. ``rng`` is its own."""

    def __init__(self, rng, figures):
        self._rng = rng
        self._figures = figures

    def question(self):
        size = self._rng.choice(SIZES)
        return Question(np.array(self._rng.getrandbits(40) + np.arange(float(size))), f"{self._rng.random()} ✓")

    def ask(self, model):
        """One call, in one of the ways there are. A death that it did not cause is borne, and counted."""
        way = self._rng.choice((self._plainly, self._plainly, self._as_futures, self._as_iteration, self._allocated))
        self._bearing_deaths(way, model)

    def _bearing_deaths(self, way, model):
        kills = self._figures.kills
        try:
            way(model)
            return
        except WorkerDied as error:
            # That may be faults in a row, of others.
            if self._figures.kills == kills and "a call waited for it" not in str(error):
                self._figures.failed(f"a call died of a death that nobody caused: {error}")
            self._figures.count("collateral")
        self._recover(model)

    def _check(self, question, outputs):
        self._figures.count("calls")
        if not question.answered_by(outputs):
            self._figures.failed(f"a wrong answer to {question.text} with {question.x.size} numbers")

    def _plainly(self, model):
        question = self.question()
        self._check(question, model.infer(question.inputs(), timeout=AMPLE_S))

    def _as_futures(self, model):
        questions = [self.question() for _ in range(self._rng.randrange(1, 12))]
        futures = [model.submit(question.inputs(), timeout=AMPLE_S) for question in questions]
        for question, future in zip(questions, futures, strict=True):
            self._check(question, future.result())

    def _as_iteration(self, model):
        questions = [self.question() for _ in range(self._rng.randrange(1, 12))]
        answers = model.infer_many([question.inputs() for question in questions], timeout=AMPLE_S)
        for question, outputs in zip(questions, answers, strict=True):
            self._check(question, outputs)

    def _allocated(self, model):
        question = self.question()
        array = model.allocate_like("x", question.x)
        array[...] = question.x
        self._check(question, model.infer({**question.inputs(), "x": array}, timeout=AMPLE_S))

    def provoke(self, model):
        """One fault. Its error must be the right one, and the next call must be answered."""
        weights = [often for _, _, often in FAULTS]
        ((order, error, _),) = self._rng.choices(FAULTS, weights)
        self._figures.count("faults")
        kills = self._figures.kills
        try:
            model.infer(self.question().inputs(order), timeout=LATE_S if error is InferTimeout else AMPLE_S)
        except error:
            pass
        except WorkerDied as other:
            if self._figures.kills == kills:
                self._figures.failed(f"{order!r} became a death that nobody caused: {other}")
        except InferTimeout:
            self._figures.failed(f"{order!r} became a timeout")
        else:
            self._figures.failed(f"{order!r} became an answer")
        self._recover(model)

    def _recover(self, model):
        """Until the next right answer; deaths of other threads' making may come in between."""
        began = time.monotonic()
        while True:
            question = self.question()
            try:
                outputs = model.infer(question.inputs(), timeout=AMPLE_S)
            except (WorkerDied, QueueFull):
                continue
            self._check(question, outputs)
            self._figures.recovered(time.monotonic() - began)
            return
