"""What a package's code may do while it is loaded."""

import pytest
from surroundings import DOUBLING, NUMBERS, OUT, Machine, works

from neuropod_ope import InferTimeout, LoadError, PackageError, WorkerDied

pytestmark = pytest.mark.workers

FATAL = {
    "raises at import": ("1 / 0", LoadError, "cannot be imported: ZeroDivisionError"),
    "is no Python": ("exec('def load(:')", LoadError, "SyntaxError"),
    "imports what is not there": ("import nobody_has_this", LoadError, "nobody_has_this"),
    "exits at import": ("raise SystemExit(3)", LoadError, "SystemExit: 3"),
    "raises a base exception": ("class Odd(BaseException): pass\nraise Odd('odd')", LoadError, "Odd: odd"),
    "is interrupted": ("raise KeyboardInterrupt", LoadError, "KeyboardInterrupt"),
    "raises in its entry point": ("def load(d): raise ValueError('\\udcff' * 9)", LoadError, r"ValueError: \\udcff"),
    "has no entry point": ("def lead(d): pass", PackageError, "does not exist"),
    "gives no model": ("def load(d): return 3", PackageError, "must return a callable, but returned int"),
    "is killed": ("import os\nos.kill(os.getpid(), 9)", WorkerDied, "SIGKILL.*while it loaded the model"),
    "crashes": ("import ctypes\nctypes.string_at(0)", WorkerDied, "SIGSEGV.*while it loaded the model"),
    "exits at once": ("import os\nos._exit(0)", WorkerDied, "exited with status 0 while it loaded the model"),
    "hangs": ("while True: pass", InferTimeout, "the load .* did not finish in time"),
    "hangs in C": ("import ctypes\nctypes.PyDLL(None).sleep(1000)", InferTimeout, "did not finish in time"),
    "forks and raises twice": ("import os\nos.fork()\n1 / 0", LoadError, "ZeroDivisionError"),
}

HARMLESS = {
    "forks": "import os, time\nif os.fork() == 0: time.sleep(1000)\n",
    "forks and returns twice": "import os\nos.fork()\n",
    "starts a thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n",
    "prints": "import sys\nsys.stderr.write('x' * 3_000_000)\nprint('y\\n' * 100_000)\n",
    "changes the directory": "import os\nos.chdir('/')\nos.environ.clear()\n",
    "closes its output": "import os\nos.close(0); os.close(1); os.close(2)\n",
}


@pytest.mark.parametrize("fault", FATAL)
def test_a_load_that_fails_is_told_and_leaves_nothing(fault, loader, bystander, marked):
    code, error, says = FATAL[fault]
    machine = Machine(marked, lambda: {bystander.model.workers[0].pid})
    with loader(code, NUMBERS, OUT, lazy=True) as model:
        expect(model, error, says)
        expect(model, error, says)  # the same again: a handle that failed is not another kind of handle
    del model
    assert bystander.noticed_nothing()
    assert machine.is_as_before()


def expect(model, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        model.load(timeout=0.5 if error is InferTimeout else 60)


@pytest.mark.parametrize("fault", HARMLESS)
def test_a_load_that_only_misbehaves_is_good_and_a_close_leaves_nothing(fault, loader, bystander, marked):
    machine = Machine(marked, lambda: {bystander.model.workers[0].pid})
    with loader(HARMLESS[fault] + DOUBLING, NUMBERS, OUT) as model:
        assert works(model)
    del model
    assert bystander.noticed_nothing()
    assert machine.is_as_before()
