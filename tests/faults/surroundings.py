"""What a fault may not touch: another model, and the machine."""

import gc
import os
import threading

import numpy as np
from left_behind import held, held_at_rest, wait_none_marked

NUMBERS = {"x": ("float64", (None,))}
OUT = {"y": ("float64", (None,))}
SIZES = (3, 100_000)  # copied out, and viewed

DOUBLING = "def load(data_dir):\n    return lambda x: {'y': x * 2}\n"


def works(model):
    """Whether the model doubles what it gets, small and large."""
    return all((model.infer({"x": np.arange(float(size))})["y"] == 2 * np.arange(size)).all() for size in SIZES)


class Bystander:
    """Calls another model all the time, from a thread of its own, and checks every answer."""

    def __init__(self, model):
        self.model = model
        self.calls = 0
        self.wrong = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bystander")
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.002):
            try:
                if not works(self.model):
                    self.wrong.append("another answer")
            except Exception as error:  # whatever it is, it should not have happened
                self.wrong.append(error)
            self.calls += 1

    def noticed_nothing(self):
        """True after another call, if all of them were answered, by the same process."""
        seen = self.calls
        while self.calls < seen + 2 and not self.wrong:
            os.sched_yield()
        return not self.wrong and self.model.workers[0].restarts == 0

    def stop(self):
        self._stop.set()
        self._thread.join()


class Machine:
    """What there is now, as it was when this object was made, but for which worker it is."""

    def __init__(self, mark, workers):
        self._mark = mark
        self._workers = workers  # gives the pids of those that should be there
        gc.collect()
        self._held = held()

    def is_as_before(self):
        """Nothing is there but what was, and the processes of these workers. Processes get a moment to go."""
        wait_none_marked(self._mark, but=self._workers())
        assert held_at_rest(self._held) == self._held
        return True
