"""What the index offered when it was last asked, so that the same model gets the same version tomorrow."""

from __future__ import annotations

from collections.abc import Sequence

from neuropod_ope.environment.offered import IndexFile, is_for_this_machine
from neuropod_ope.environment.store import Store, content_name
from neuropod_ope.environment.uv import Uv

Files = dict[str, list[IndexFile]]


class Listing:
    """The files of some distributions that could be installed here, by distribution."""

    def __init__(self, distributions: Sequence[str], uv: Uv, store: Store) -> None:
        self._distributions = distributions
        self._uv = uv
        self._store = store
        self._key = content_name([list(distributions), uv.index_options.facts])

    def remembered(self) -> Files:
        """What is known without asking; empty if nothing is."""
        known = self._store.read("listings", self._key) or {}
        return {name: [IndexFile(*file) for file in files] for name, files in known.items()}

    def asked(self) -> Files:
        """What the index says now; remembered from then on. Raises EnvironmentBuildError."""
        # Here, because few models need an index, and every application would wait for ssl and urllib.
        from neuropod_ope.environment.index import offered_files

        files = {
            name: [file for file in offered_files(name, self._uv) if is_for_this_machine(file)]
            for name in self._distributions
        }
        self._store.write("listings", self._key, files)
        return files
