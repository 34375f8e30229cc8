"""The test data that a package carries, for comparing what its model gives with what it gave when it was packaged."""

from __future__ import annotations

import os

from neuropod_ope.environment import default_cache_dir
from neuropod_worker.package import open_package
from neuropod_worker.package.tensors_file import SampleData
from neuropod_worker.package.tensors_file import read_test_data as _read_unpacked


def read_test_data(package: str | os.PathLike[str], *, allow_pickle: bool = False) -> SampleData | None:
    """The inputs that a model was packaged with and the outputs expected of them; None where it has none.

    ``allow_pickle``: also take the ``test_data.pkl`` of packages of the original. **Reading it runs code of whoever
    made the package.** Raises PackageError.
    """
    return _read_unpacked(open_package(package, str(default_cache_dir())).path, allow_pickle)
