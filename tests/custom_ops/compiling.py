"""Real custom ops, compiled from ``sources`` with the g++ of this machine."""

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "sources"

# Asked of the environment that an op is compiled for; answers with g++ arguments.
TORCH_FLAGS = """
import json, os, torch
version = tuple(int(number) for number in torch.__version__.split("+")[0].split(".")[:2])
root = os.path.dirname(torch.__file__)
include, lib = os.path.join(root, "include"), os.path.join(root, "lib")
flags = ["-std=c++" + ("14" if version < (2, 0) else "20"), "-I" + include]
flags += ["-I" + os.path.join(include, "torch/csrc/api/include"), "-L" + lib]
flags += ["-D_GLIBCXX_USE_CXX11_ABI=%d" % torch._C._GLIBCXX_USE_CXX11_ABI]
flags += ["-l" + name for name in ("c10", "torch", "torch_cpu") if os.path.exists(lib + "/lib%s.so" % name)]
print(json.dumps(flags + ["-DTORCH_1_1"] * (version == (1, 1))))
"""
TENSORFLOW_FLAGS = """
import json, tensorflow as tf
compiling = tf.sysconfig.get_compile_flags()
standard = [] if any("-std=" in flag for flag in compiling) else ["-std=c++11"]
print(json.dumps(standard + compiling + tf.sysconfig.get_link_flags()))
"""
PYTHON_FLAGS = "import json, sysconfig; print(json.dumps(['-I' + sysconfig.get_path('include')]))"
PYTHON_SUFFIX = "import json, sysconfig; print(json.dumps(sysconfig.get_config_var('EXT_SUFFIX')))"


class Compiler:
    """Compiles each op once for each interpreter, into folders of its own."""

    def __init__(self, root):
        self._root = root
        self._folders = 0
        self.torch_op = functools.lru_cache(None)(lambda python: self._op(python, "torch_op.cpp", TORCH_FLAGS))
        self.tensorflow_op = functools.lru_cache(None)(
            lambda python: self._op(python, "tensorflow_op.cpp", TENSORFLOW_FLAGS)
        )
        self.second_op = functools.lru_cache(None)(self._second_op)
        self.python_op = functools.lru_cache(None)(self._python_op)

    def _op(self, python, source, question):
        return self._compiled(source, "libfirst_op.so", ask(python, question), "-Wl,-soname,libfirst_op.so")

    def _second_op(self, first):
        return self._compiled("second_op.c", "libsecond_op.so", ["-L" + str(first.parent), "-lfirst_op"])

    def _python_op(self, python, *flags):
        name = "python_op" + ask(python, PYTHON_SUFFIX)
        return self._compiled("python_op.c", name, ask(python, PYTHON_FLAGS), *flags)

    def _compiled(self, source, name, flags, *more):
        if not shutil.which("g++"):
            pytest.skip("this machine has no g++")
        self._folders += 1
        target = self._root / str(self._folders) / name
        target.parent.mkdir()
        language = ["-x", "c"] if source.endswith(".c") else []
        command = ["g++", "-shared", "-fPIC", "-w", *language, str(SOURCES / source), "-x", "none", *flags, *more]
        done = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return target


def ask(python, code):
    """What a line of code in another interpreter prints last, as JSON."""
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
