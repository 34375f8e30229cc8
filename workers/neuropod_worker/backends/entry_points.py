"""Platforms that installed distributions add, through entry points of the group ``neuropod_ope.backends``.

Read from the metadata that pip leaves beside a distribution: ``importlib.metadata`` begins with Python 3.8, and
``pkg_resources`` is not in every virtualenv.
"""

import os
from typing import Dict, Iterator, NamedTuple, Optional, Sequence

from neuropod_worker.errors import LoadError

GROUP = "neuropod_ope.backends"

# By the end of the folder's name: what wheels leave, and what setuptools leaves without one.
_METADATA = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}


class Provider(NamedTuple):
    """A distribution that adds ``platform``; ``loader`` is ``module:function``."""

    platform: str
    loader: str
    distribution: str
    version: str


def providers(path: Sequence[str]) -> Dict[str, Provider]:
    """All of them by platform, as an interpreter whose ``sys.path`` is ``path`` sees them.

    Raises ``LoadError`` where two distributions add one platform.
    """
    found: Dict[str, Provider] = {}
    for folder in path:
        for one in _in_folder(folder or os.curdir):
            first = found.setdefault(one.platform, one)
            # A second copy of a distribution is shadowed, as its modules are.
            if first.distribution != one.distribution:
                message = "both {} and {} add the platform {!r}: uninstall one of them"
                raise LoadError(message.format(first.distribution, one.distribution, one.platform))
    return found


def _in_folder(folder: str) -> Iterator[Provider]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # entries of sys.path need not exist, and may be zip files
        return
    for name in names:
        metadata = _METADATA.get(os.path.splitext(name)[1])
        text = _read(os.path.join(folder, name, "entry_points.txt")) if metadata else None
        if metadata and text and GROUP in text:
            yield from _described(name, _read(os.path.join(folder, name, metadata)) or "", text)


def _described(name: str, metadata: str, entry_points: str) -> Iterator[Provider]:
    # Here, because they take several milliseconds of every start, and few have such a distribution.
    from configparser import ConfigParser
    from email.parser import HeaderParser

    headers = HeaderParser().parsestr(metadata)
    parser = ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign] # platforms keep their case
    parser.read_string(entry_points)
    for platform, loader in parser.items(GROUP) if parser.has_section(GROUP) else ():
        yield Provider(platform, loader.strip(), headers.get("Name", name), headers.get("Version", "0"))


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
