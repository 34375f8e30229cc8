"""The packagers: one call writes one package. They run on Python 3.6, and from files with numpy alone.

``**common`` are the parameters that all packagers share, from ``platform_version_semver`` on: see
``writer.write_package``. All raise ``PackageError`` or ``SpecError``, both of them ``ValueError``.
"""

from neuropod_worker.packagers.keras_packager import create_keras_neuropod
from neuropod_worker.packagers.placeholder_packager import randomify_neuropod
from neuropod_worker.packagers.python_packager import create_python_neuropod, create_pytorch_neuropod
from neuropod_worker.packagers.tensorflow_packager import create_tensorflow_neuropod
from neuropod_worker.packagers.torchscript_packager import create_torchscript_neuropod

__all__ = [
    "create_keras_neuropod",
    "create_python_neuropod",
    "create_pytorch_neuropod",
    "create_tensorflow_neuropod",
    "create_torchscript_neuropod",
    "randomify_neuropod",
]
