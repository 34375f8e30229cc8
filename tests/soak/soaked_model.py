"""The model of the soak test: answers, and fails in the way that it is told to. It runs in the worker."""

import ctypes
import os
import time


def load(data_dir):
    def run(x, text, order):
        name, _, argument = str(order).partition(" ")
        if name == "signal":
            os.kill(os.getpid(), int(argument))
        if name == "crash":
            ctypes.string_at(0)
        if name == "exit":
            os._exit(int(argument))
        if name == "hang":
            time.sleep(1000)
        if name == "stuck":  # in C, with the GIL
            ctypes.PyDLL(None).sleep(1000)
        if name == "raise":
            raise ValueError("no " + argument)
        if name == "misfit":
            return {"y": "text", "text": text}
        return {"y": x * 2 + 1, "text": text}

    return run
