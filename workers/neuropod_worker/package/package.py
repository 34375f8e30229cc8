"""A package as everybody sees it: whoever reads one gives it, whoever writes one describes it so."""

import os
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from neuropod_worker.errors import PackageError
from neuropod_worker.problem.specs import TensorSpec


class Package(NamedTuple):
    """A package in the directory ``path``. ``source`` is what its user knows: the folder or zip file that was opened.

    ``version_range`` is the npm range of ``platform_version_semver``; where that asks for nothing, but the
    model file is in a format that only old versions read, it is the range of those. ``custom_ops`` are file
    names in ``0/ops``. ``input_devices`` says GPU or CPU for every input. ``config`` is ``config.json`` as
    read, with keys that this library does not know.
    """

    path: str
    source: str
    name: str
    platform: str
    version_range: str
    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]
    custom_ops: Tuple[str, ...]
    input_devices: Mapping[str, str]
    requirements_lock: Optional[str]
    config: Mapping[str, Any]

    def file(self, *parts: str) -> str:
        """The path of a file in the package's ``0`` folder."""
        return os.path.join(self.path, "0", *parts)

    def custom_op_paths(self) -> Tuple[str, ...]:
        """The paths of the custom ops in loading order. Raises ``PackageError`` if one is missing."""
        paths = tuple(self.file("ops", name) for name in self.custom_ops)
        for path in paths:
            if not os.path.isfile(path):
                raise PackageError("the package lacks its custom op {}".format(path), path)
        return paths
