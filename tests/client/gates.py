"""Calls and loads that can be held up, so that tests need no sleeps."""

import os

GATED = """
import os, time
def load(data_dir):
    runs = []
    def run(x, gate=""):
        runs.append(x.flat[0])
        if str(gate):
            open(str(gate) + ".begun", "w").close()
            while not os.path.exists(str(gate)): time.sleep(0.001)
        return {"y": x * 2, "runs": len(runs), "pid": os.getpid()}
    return run
"""
INPUTS = {"x": ("float64", None), "gate": ("string", ())}
OUTPUTS = {"y": ("float64", None), "runs": ("int64", ()), "pid": ("int64", ())}


class Gate:
    """A call of GATED with ``inputs``, or what runs ``code``, begins and then waits until ``open``."""

    def __init__(self, folder, name="gate"):
        self.path = folder / name
        self.inputs = {"x": [0.5], "gate": str(self.path)}
        self.code = (
            f"import os, time\nopen({str(self.path) + '.begun'!r}, 'w').close()\n"
            f"while not os.path.exists({str(self.path)!r}): time.sleep(0.001)\n"
        )

    def wait_begun(self):
        """Real time passes in another process, and nothing tells us but the file."""
        while not os.path.exists(f"{self.path}.begun"):
            os.sched_yield()

    def open(self):
        self.path.touch()

    def shut(self):
        """As if nothing had come to it, and nobody had opened it."""
        for path in (str(self.path), f"{self.path}.begun"):
            os.unlink(path)
