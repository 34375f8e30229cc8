"""Running models: one ``LoadedModel`` for all platforms, in workers and in-process alike."""

from neuropod_worker.backends.backend import LoadOptions
from neuropod_worker.backends.loaded_model import LoadedModel, check_platform, load_model

__all__ = ["LoadOptions", "LoadedModel", "check_platform", "load_model"]
