"""Running models: one ``LoadedModel`` for all platforms, in workers and in-process alike."""

from .backend import LoadOptions
from .loaded_model import LoadedModel, load_model

__all__ = ["LoadOptions", "LoadedModel", "load_model"]
