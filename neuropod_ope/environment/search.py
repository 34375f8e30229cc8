"""From a requirement to one resolved list: what was resolved before, then the catalog, then what the index offers."""

from __future__ import annotations

from neuropod_ope.environment.added_platforms import catalog_for
from neuropod_ope.environment.candidates import Candidate, candidates, entries_in_range, python_wanted
from neuropod_ope.environment.download import download_python
from neuropod_ope.environment.explain import Findings
from neuropod_ope.environment.interpreters import Interpreter, discover
from neuropod_ope.environment.listing import Files, Listing
from neuropod_ope.environment.lockfile import read_lock
from neuropod_ope.environment.offered import offered_candidates, offered_versions
from neuropod_ope.environment.requirement import EnvironmentPolicy, Requirement
from neuropod_ope.environment.resolve import Attempt, NothingResolves, Resolution, remembered, resolve
from neuropod_ope.environment.store import Store
from neuropod_ope.environment.uv import Uv


class Search:
    """One search. The catalog comes first: it is known to work, and the index then need not be asked."""

    def __init__(self, requirement: Requirement, policy: EnvironmentPolicy, uv: Uv, store: Store) -> None:
        self._requirement = requirement
        self._policy = policy
        self._uv = uv
        self._store = store
        self._lock = read_lock(requirement.lock) if requirement.lock else None
        self._catalog = catalog_for(requirement.platform)
        self._platform = self._catalog.get(requirement.platform)
        self._listing = Listing(self._platform.offered, uv, store) if self._platform else None
        self._files: Files = {}
        self._attempts: list[Attempt] = []

    @property
    def hashes(self) -> dict[str, tuple[str, ...]]:
        """The hashes that the lock demands, by package."""
        return self._lock.hashes if self._lock else {}

    def remembered(self) -> Resolution | None:
        """What was resolved before for the same requirement, catalog, interpreters and package sources."""
        if self._listing:
            self._files = self._listing.remembered()
        for found in (self._known(), self._offered()):
            resolution = remembered(found, self._uv, self._store) if found else None
            if resolution is not None:
                return resolution
        return None

    def could_find(self) -> bool:
        """Whether `resolved` is worth a try: there is something to resolve, or an index to ask."""
        return bool(self._listing or self._known())

    def resolved(self, refresh: bool) -> Resolution | None:
        """The best that resolves, or None. ``refresh`` asks the index anew. Raises EnvironmentBuildError."""
        resolution = self._first(self._known()) or self._first(self._listed(refresh))
        if resolution is None and not self._attempts and self._download():
            resolution = self._first(self._known()) or self._first(self._offered())
        return resolution

    def findings(self) -> Findings:
        """What there is, for an error."""
        present = discover(self._store)
        minors = {one.minor for one in present}
        wanted = [one for one in entries_in_range(self._requirement, self._catalog) if one.pythons]
        absent = tuple((one.requirement, one.pythons) for one in wanted if not minors & set(one.pythons))
        return Findings(
            tuple(dict.fromkeys(one.version for one in present)),
            self._lock.python if self._lock else None,
            absent,
            tuple(one.version for one in self._platform.entries) if self._platform else (),
            tuple(offered_versions(self._files)),
            bool(self._offered(self._requirement._replace(prerelease=True))),
            tuple(self._attempts),
            tuple(self._catalog),
        )

    def _known(self) -> list[Candidate]:
        def chosen(interpreters: list[Interpreter]) -> list[Candidate]:
            return candidates(self._requirement, self._lock, self._catalog, interpreters)

        # A shim that failed once may work by now.
        return chosen(discover(self._store)) or chosen(discover(self._store, retry_failed=True))

    def _listed(self, refresh: bool) -> list[Candidate]:
        """What the index offers; what it offered when it was last asked will do, if something in it fits."""
        found = [] if refresh else self._offered()
        if not found and self._listing and not self._policy.offline:
            self._files = self._listing.asked()
            found = self._offered()
        return found

    def _offered(
        self, requirement: Requirement | None = None, interpreters: list[Interpreter] | None = None
    ) -> list[Candidate]:
        if not self._platform or not self._files:
            return []
        here = discover(self._store) if interpreters is None else interpreters
        return offered_candidates(requirement or self._requirement, self._platform, self._files, here)

    def _first(self, found: list[Candidate]) -> Resolution | None:
        try:
            return resolve(found, self._policy.allow_source, self._uv, self._store) if found else None
        except NothingResolves as error:
            self._attempts += error.attempts
            return None

    def _download(self) -> bool:
        if not self._policy.python_downloads or self._policy.offline:
            return False
        return download_python(self._would_serve, self._uv)

    def _would_serve(self, version: str, minor: str) -> bool:
        """Whether an interpreter of that version, were it here, would be of use."""
        if python_wanted(self._requirement, self._lock, self._catalog, version, minor):
            return True
        return bool(self._offered(interpreters=[Interpreter("", version, "cpython", "", "", "", True)]))
