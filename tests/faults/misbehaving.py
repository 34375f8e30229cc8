"""A model that does whatever it is told to do wrong: ``flag`` names one of the functions below.

Packaged as it is by the tests, so it runs in the worker. `faults.py` says what must come of each.
"""

import contextlib
import ctypes
import mmap
import os
import signal
import sys
import tempfile
import threading
import time

FAULTS = {}


def fault(function):
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


def load(data_dir):
    def run(x, flag=""):
        return FAULTS[str(flag)](x) if str(flag) else {"y": x * 2}

    return run


# ---- the process ends


@fault
def killed(x):
    os.kill(os.getpid(), signal.SIGKILL)


@fault
def terminated(x):
    os.kill(os.getpid(), signal.SIGTERM)


@fault
def segmentation_fault(x):
    ctypes.string_at(0)


@fault
def bus_error(x):
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        memory[0] = 1


@fault
def abort(x):
    sys.stderr.write("the last words\n")
    os.abort()


@fault
def native_stack_overflow(x):
    # The C library's parser of regular expressions recurses once for every parenthesis.
    ctypes.CDLL(None).regcomp(ctypes.create_string_buffer(1024), b"(" * 10**6, 1)


@fault
def alarm(x):
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    time.sleep(1000)


@fault
def exits_with_7(x):
    os._exit(7)


@fault
def exits_with_0(x):
    os._exit(0)


@fault
def killed_by_its_own_thread(x):
    threading.Thread(target=os._exit, args=(9,)).start()
    time.sleep(1000)


@fault
def kills_its_process_group(x):
    os.killpg(0, signal.SIGKILL)


@fault
def becomes_another_program(x):
    os.execv("/bin/sh", ["sh", "-c", "exit 5"])


# ---- it does not come back


@fault
def endless_loop(x):
    while True:
        pass


@fault
def deadlock(x):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@fault
def stuck_in_C_with_the_GIL(x):
    ctypes.PyDLL(None).sleep(1000)


@fault
def stuck_in_C_with_all_signals_blocked(x):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(1000)


@fault
def stops_itself(x):
    os.kill(os.getpid(), signal.SIGSTOP)


@fault
def stuck_with_a_forked_child(x):
    if os.fork() == 0:
        time.sleep(1000)
    time.sleep(1000)


# ---- it raises


@fault
def raises(x):
    raise ValueError("too bad")


@fault
def raises_SystemExit(x):
    sys.exit(3)


@fault
def raises_KeyboardInterrupt(x):
    raise KeyboardInterrupt


class Odd(BaseException):
    """Neither an Exception nor one that Python itself knows, as asyncio's CancelledError."""


@fault
def raises_a_base_exception(x):
    raise Odd("odd")


@fault
def python_stack_overflow(x):
    return python_stack_overflow(x)


@fault
def raises_what_cannot_be_pickled(x):
    raise ValueError(threading.Lock(), lambda: x)


@fault
def raises_a_huge_text(x):
    raise ValueError("u" * 50_000_000)


@fault
def raises_what_is_no_UTF8(x):
    raise ValueError("\udcff\udc80 and \x00")


class Textless(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


@fault
def raises_what_has_no_text(x):
    raise Textless


class Exiting(Exception):
    def __str__(self):
        sys.exit(4)


@fault
def raises_what_exits_when_asked_for_its_text(x):
    raise Exiting


@fault
def raises_a_long_chain(x):
    error = None
    for number in range(300):
        try:
            raise ValueError(number) from error
        except ValueError as caught:
            error = caught
    raise error


@fault
def raises_with_a_name_of_its_own(x):
    raise type("Ä" * 100_000, (Exception,), {})


@fault
def out_of_memory_in_Python(x):
    return {"y": bytearray(2**60)}


# ---- it returns what it should not


@fault
def returns_nothing(x):
    return None


@fault
def returns_a_list(x):
    return [x]


@fault
def returns_an_object(x):
    return {"y": object()}


@fault
def returns_another_dtype(x):
    return {"y": x.astype("float32")}


@fault
def returns_another_rank(x):
    return {"y": x.reshape(1, -1)}


@fault
def returns_another_name(x):
    return {"z": x}


@fault
def returns_too_much(x):
    return {"y": x, "z": x}


@fault
def returns_ten_thousand_outputs(x):
    return {"y": x, **{"y" + str(number): x for number in range(10_000)}}


@fault
def returns_a_name_that_is_no_text(x):
    return {"y": x, 3: x}


@fault
def returns_ragged_lists(x):
    return {"y": [[1.0], [1.0, 2.0]]}


@fault
def returns_more_than_there_is_memory(x):
    import numpy as np

    return {"y": np.broadcast_to(x[:1], (2**37,))}


# ---- it is a bad guest


@fault
def forks_a_child_that_lives_on(x):
    if os.fork() == 0:
        time.sleep(1000)
    return {"y": x * 2}


@fault
def forks_and_returns_twice(x):
    if os.fork() == 0:
        x = x + 1
    return {"y": x * 2}


@fault
def forks_and_raises_twice(x):
    os.fork()
    raise ValueError("twice")


@fault
def leaves_a_thread(x):
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return {"y": x * 2}


@fault
def leaves_a_thread_that_writes_to_its_input(x):
    doubled = x * 2

    def write():
        while True:
            x[...] = 77
            time.sleep(0.0001)

    threading.Thread(target=write, daemon=True).start()
    return {"y": doubled}


@fault
def leaves_a_thread_that_raises(x):
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    return {"y": x * 2}


@fault
def closes_all_descriptors(x):
    os.closerange(0, 1000)
    return {"y": x * 2}


@fault
def closes_its_output(x):
    os.close(1)
    os.close(2)
    return {"y": x * 2}


@fault
def closes_its_output_in_Python(x):
    sys.stdout.close()
    sys.stderr.close()
    sys.stdout = sys.stderr = None
    return {"y": x * 2}


@fault
def prints_megabytes(x):
    sys.stderr.write("x" * 3_000_000 + "\n")
    sys.stdout.write("y\n" * 100_000)
    return {"y": x * 2}


@fault
def prints_what_is_no_text(x):
    os.write(1, bytes(range(256)) * 1000)
    os.write(2, b"\xff\xfe\x00\r\r\n" * 1000)
    print("\udcff")
    return {"y": x * 2}


@fault
def changes_the_directory(x):
    os.chdir("/")
    return {"y": x * 2}


@fault
def stands_in_a_directory_that_is_gone(x):
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    return {"y": x * 2}


@fault
def clears_the_environment(x):
    os.environ.clear()
    return {"y": x * 2}


@fault
def changes_signal_handlers(x):
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    return {"y": x * 2}


@fault
def asks_to_be_interrupted_all_the_time(x):
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    return {"y": x * 2}


@fault
def breaks_the_interpreters_settings(x):
    import gc
    import warnings

    import numpy as np

    gc.disable()
    np.seterr(all="raise")
    warnings.simplefilter("error")
    sys.setrecursionlimit(100)
    sys.setswitchinterval(10)
    sys.path.clear()
    return {"y": x * 2}


@fault
def limits_its_files(x):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    return {"y": x * 2}
