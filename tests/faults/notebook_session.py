"""A session in a real notebook kernel, run by `test_notebooks_and_xdist.py` in an environment that has one.

PYTHON notebook_session.py PACKAGE CACHE MARK
"""

import sys

from jupyter_client.manager import start_new_kernel

LOAD = """
import numpy as np
from neuropod_ope import Runtime
runtime = Runtime(cache_dir={cache!r}, environ_allow=[{mark!r}])
model = runtime.load({package!r}, out_of_process=True)
def call(number, **options):
    return model.infer({{"x": np.full(2, number, np.float32)}}, **options)["y"].tolist()
call(2)
"""


class Notebook:
    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code, while_running=None):
        """The value of the cell's last line, or the name of the exception that it raised."""
        self.client.execute(code)
        outcome = None
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and while_running is not None and while_running(content["text"]):
                while_running = None
            if kind == "execute_result":
                outcome = content["data"]["text/plain"]
            if kind == "error":
                outcome = content["ename"]
            if kind == "status" and content["execution_state"] == "idle":
                return outcome


def session(package, cache, mark):
    notebook = Notebook()

    def interrupt(said):
        if "running" in said:
            notebook.manager.interrupt_kernel()
            return True
        return False

    try:
        assert notebook.run(LOAD.format(package=package, cache=cache, mark=mark)) == "[4.0, 4.0]"
        assert notebook.run("call(7)") == "WorkerDied"
        assert notebook.run("call(3)") == "[6.0, 6.0]"
        assert notebook.run("(await model.infer_async({'x': [4.0, 5.0]}))['y'].tolist()") == "[8.0, 10.0]"
        shows = "import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO')\n"
        assert notebook.run(shows + "call(8)", interrupt) == "KeyboardInterrupt"
        assert notebook.run("call(5)") == "[10.0, 10.0]"
        notebook.manager.restart_kernel(now=True)
        notebook.client.wait_for_ready(timeout=60)
        assert notebook.run(LOAD.format(package=package, cache=cache, mark=mark)) == "[4.0, 4.0]"
    finally:
        notebook.client.stop_channels()
        notebook.manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    session(*sys.argv[1:])
