"""Running models: one ``LoadedModel`` for all platforms, in workers and in-process alike.

``Backend`` and ``load_error`` are for those who add a platform: see docs/adding-a-framework.md.
"""

from neuropod_worker.backends.backend import Backend, LoadOptions, load_error
from neuropod_worker.backends.loaded_model import LoadedModel, load_model
from neuropod_worker.backends.platforms import check_platform, import_backend

__all__ = ["Backend", "LoadOptions", "LoadedModel", "check_platform", "import_backend", "load_error", "load_model"]
