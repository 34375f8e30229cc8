"""Arrays in ``.npz`` files: equal arrays give equal bytes, any tensor name works, nothing is ever pickled.

Written on ``numpy.lib.format`` directly, because ``np.savez`` takes names as keywords (``file`` is taken) and
stamps the time. ``np.load(path, allow_pickle=False)`` reads these files as well.
"""

import os
import pickle
import zipfile
from typing import IO, Any, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from neuropod_worker.errors import PackageError
from neuropod_worker.package.archive import FIXED_TIME
from neuropod_worker.problem.checks import Arrays
from neuropod_worker.problem.conversion import as_tensor
from neuropod_worker.problem.specs import TensorSpec

# Readers of the original look for test_data.pkl only, so they pass this by.
TEST_DATA = "test_data.npz"
LEGACY_TEST_DATA = "test_data.pkl"
_SUFFIX = ".npy"
_SECTIONS = ("test_input/", "test_output/")


class SampleData(NamedTuple):
    """Inputs that a model was packaged with, and the outputs expected of them (possibly none)."""

    inputs: Arrays
    outputs: Arrays


def as_arrays(role: str, tensors: Mapping[str, Any], specs: Sequence[TensorSpec]) -> Arrays:
    """What a user gives for tensors, as arrays: numbers, lists and whatever else numpy understands."""
    if not isinstance(tensors, Mapping):
        raise PackageError("test data must be a dict of tensors by name, not {!r}".format(tensors))
    by_name = {spec.name: spec for spec in specs}
    return {name: as_tensor(role, name, value, by_name.get(name)) for name, value in tensors.items()}


def write_arrays(path: Union[str, IO[bytes]], arrays: Arrays) -> None:
    """Write arrays by name to a file (path or open).

    Raises ``PackageError`` for what numpy could only pickle, and for a name with a NUL, at which zip files cut names.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = arrays[name]
            if array.dtype.hasobject:
                message = "tensor {!r} holds Python objects, not numbers or strings"
                raise PackageError(message.format(name), _shown(path))
            if "\0" in name:
                raise PackageError("a tensor's name in a file has no NUL, but {!r} has".format(name), _shown(path))
            member = zipfile.ZipInfo(name + _SUFFIX, FIXED_TIME)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_arrays(path: Union[str, IO[bytes]]) -> Arrays:
    """Read what ``write_arrays`` or ``np.savez`` wrote. Raises ``PackageError`` for damage or pickles."""
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                arrays[member[: -len(_SUFFIX)] if member.endswith(_SUFFIX) else member] = array
    except Exception as error:  # damage shows as any error of zipfile, zlib or numpy
        raise PackageError("{} cannot be read: {}".format(_shown(path), error), _shown(path)) from error
    return arrays


def _shown(path: Union[str, IO[bytes]]) -> str:
    return path if isinstance(path, str) else "the file of tensors"


def write_test_data(directory: str, inputs: Arrays, outputs: Arrays) -> None:
    arrays: Arrays = {}
    for section, tensors in zip(_SECTIONS, (inputs, outputs)):
        arrays.update({section + name: array for name, array in tensors.items()})
    write_arrays(os.path.join(directory, TEST_DATA), arrays)


def read_test_data(directory: str, allow_pickle: bool = False) -> Optional[SampleData]:
    """The test data of an unpacked package, ``None`` where it has none.

    ``allow_pickle=True`` also takes a legacy ``test_data.pkl``: **that runs code of whoever made the
    package.**
    """
    path = os.path.join(directory, TEST_DATA)
    if os.path.exists(path):
        arrays = read_arrays(path)
        sections = []
        for section in _SECTIONS:
            named = {name[len(section) :]: arrays[name] for name in arrays if name.startswith(section)}
            sections.append(named)
        return SampleData(*sections)
    legacy = os.path.join(directory, LEGACY_TEST_DATA)
    if allow_pickle and os.path.exists(legacy):
        return _read_legacy_test_data(legacy)
    return None


def _read_legacy_test_data(path: str) -> SampleData:
    try:
        with open(path, "rb") as file:
            content = pickle.load(file, encoding="latin1")  # what arrays pickled by Python 2 need
        sections = [content.get(name) or {} for name in ("test_input", "test_output")]
        return SampleData(
            *({str(name): _legacy_array(name, section[name]) for name in section} for section in sections)
        )
    except Exception as error:  # a pickle may do and hold anything
        raise PackageError("{} cannot be read: {}".format(path, error), path) from error


def _legacy_array(name: str, value: Any) -> np.ndarray:
    array = as_tensor("tensor", name, value, None)
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array  # the str of Python 2
