"""The finished public path, validation included: ``Runtime.load`` and ``infer``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.packages import packaged
from neuropod_ope import Neuropod, Runtime

_ONE = """
def load(data_dir):
    return lambda x0: {"y0": x0 + 0}
"""
_MANY = """
def load(data_dir):
    return lambda **inputs: {"y" + name[1:]: x + 0 for name, x in inputs.items()}
"""
_PLACED = """
import numpy as np

from neuropod_worker.outputs import empty_output

def load(data_dir):
    def model(**inputs):
        return {"y" + name[1:]: np.add(x, 0, out=empty_output(x.shape, x.dtype)) for name, x in inputs.items()}
    return model
"""


@contextmanager
def model_of(case: Case, code: str | None = None, **options: Any) -> Iterator[Neuropod]:
    """A model that takes ``x0``, ``x1``, … and gives ``y0``, ``y1``, …; ``options`` are those of `Runtime.load`."""

    def specs(prefix: str) -> list[dict[str, Any]]:
        shape = (None,) * len(case.shape)
        return [{"name": f"{prefix}{n}", "dtype": case.dtype, "shape": shape} for n in range(case.count)]

    code = code or (_ONE if case.count == 1 else _MANY)
    with packaged(code, specs("x"), specs("y")) as path, Runtime() as runtime:
        yield runtime.load(path, **options)


@contextmanager
def _opened(case: Case, allocated: bool = False, **options: Any) -> Iterator[Exchange]:
    with model_of(case, **options) as model:
        named = {f"x{n}": x for n, x in enumerate(case.arrays())}
        if allocated:
            named = {name: model.allocate_like(name, x) for name, x in named.items()}
        yield Exchange(list(named.values()), lambda: list(model.infer(named).values()))


def open_in_process(case: Case) -> Any:
    return _opened(case, out_of_process=False)


def open_plain(case: Case) -> Any:
    return _opened(case, out_of_process=True)


def open_allocated(case: Case) -> Any:
    return _opened(case, allocated=True, out_of_process=True)


def open_all_placed(case: Case) -> Any:
    return _opened(case, allocated=True, code=_PLACED, out_of_process=True)


def open_blocking(case: Case) -> Any:
    return _opened(case, out_of_process=True, wait="block")


def open_spinning(case: Case) -> Any:
    return _opened(case, out_of_process=True, wait="spin")
