"""Where packages come from: what the user has told pip, said again to uv, which reads none of it.

Expects the environment and pip's configuration files; gives environment variables for uv. A UV_* variable
that the user has set wins over pip's counterpart. Never puts a URL on a command line, where every user of
the machine could read its password.
"""

import configparser
import logging
import os
import re
import sys
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import unquote, urlsplit

from neuropod_worker.package.redaction import Secrets, secrets_in, without_url_credentials

_log = logging.getLogger("neuropod_worker.package")


class _Setting(NamedTuple):
    pip: str
    uv: str
    rivals: Tuple[str, ...] = ()  # the user having set one of these also decides the matter
    separator: str = " "


_SETTINGS = (
    _Setting("index-url", "UV_INDEX_URL", ("UV_DEFAULT_INDEX",)),
    _Setting("extra-index-url", "UV_EXTRA_INDEX_URL", ("UV_INDEX",)),
    _Setting("find-links", "UV_FIND_LINKS", separator=","),
    _Setting("no-index", "UV_NO_INDEX"),
    _Setting("cert", "SSL_CERT_FILE"),
    _Setting("trusted-host", "UV_INSECURE_HOST"),
    _Setting("timeout", "UV_HTTP_TIMEOUT", ("UV_REQUEST_TIMEOUT",)),
)
_LOCATIONS = ("index-url", "extra-index-url", "find-links")
# pip's own names of one setting in its environment variables.
_PIP_VARIABLES = {"timeout": ("PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT")}
# What changes which packages a resolution picks, and hence what an environment is.
_DECISIVE = (
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_PRERELEASE",
    "UV_EXCLUDE_NEWER",
    "UV_TORCH_BACKEND",
    "UV_RESOLUTION",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
)
# How they are reached decides nothing.
_ACCESS = ("SSL_CERT_FILE", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT")
_NAME_OF_AN_INDEX = re.compile(r"^[\w.-]+=(?=\w+://|/)")
_TIMEOUT_S = 30


class IndexOptions(NamedTuple):
    """``environ`` is for uv's environment; ``facts``, for hashing only, say which packages it sees.

    ``sources`` are all settings of uv's that say where packages come from and how to reach them. User names and
    passwords are not in ``facts``: they do not decide what an environment is.
    """

    environ: Dict[str, str]
    facts: Tuple[Tuple[str, str], ...]
    secrets: Secrets
    sources: Dict[str, str]

    @property
    def no_index(self) -> bool:
        return self.environ.get("UV_NO_INDEX", "").lower() in ("1", "true", "yes", "on")

    @property
    def default_index(self) -> Optional[str]:
        """The index in place of uv's own default, if the user has set one."""
        return next(iter(self._places("UV_DEFAULT_INDEX", "UV_INDEX_URL")), None)

    @property
    def other_indexes(self) -> Tuple[str, ...]:
        return self._places("UV_INDEX", "UV_EXTRA_INDEX_URL")

    @property
    def find_links(self) -> Tuple[str, ...]:
        """Folders and pages that link to files."""
        return tuple(filter(None, self.sources.get("UV_FIND_LINKS", "").split(",")))

    @property
    def certificates(self) -> Optional[str]:
        """A file of certificate authorities in place of the system's."""
        return self.sources.get("SSL_CERT_FILE")

    @property
    def insecure_hosts(self) -> Tuple[str, ...]:
        return tuple(self.sources.get("UV_INSECURE_HOST", "").split())

    @property
    def timeout_s(self) -> float:
        return float(self.sources.get("UV_HTTP_TIMEOUT") or self.sources.get("UV_REQUEST_TIMEOUT") or _TIMEOUT_S)

    def _places(self, *names: str) -> Tuple[str, ...]:
        # uv takes NAME=URL as well.
        places = (place for name in names for place in self.sources.get(name, "").split())
        return tuple(_NAME_OF_AN_INDEX.sub("", place) for place in places)


def read_index_options(environ: Mapping[str, str], config_files: Optional[Iterable[Path]] = None) -> IndexOptions:
    """The user's package sources, from variables first, then from pip's configuration files."""
    configured = _read_config(pip_config_files(environ) if config_files is None else config_files)
    given: Dict[str, str] = {}
    for setting in _SETTINGS:
        if any(environ.get(name) for name in (setting.uv, *setting.rivals)):
            continue
        value = _from_variables(environ, setting.pip) or configured.get(setting.pip)
        values = (value or "").split()
        if setting.pip in _LOCATIONS:
            values = [_absolute(place) for place in values if _exists(place, setting.pip)]
        if values:
            given[setting.uv] = setting.separator.join(values)
    if "UV_EXTRA_INDEX_URL" in given and not environ.get("UV_INDEX_STRATEGY"):
        # pip looks into all indexes alike; uv by default stops at the first that knows the name, and a small
        # local index that knows one version of numpy would hide all others.
        given["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    secrets = secrets_in(environ, given)
    merged = {**environ, **given}
    facts = tuple((name, without_url_credentials(merged[name])) for name in _DECISIVE if merged.get(name))
    sources = {name: merged[name] for name in (*_DECISIVE, *_ACCESS) if merged.get(name)}
    return IndexOptions(given, facts, secrets, sources)


def pip_config_files(environ: Mapping[str, str]) -> List[Path]:
    """pip's configuration files, the weakest first."""
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return []
    home = Path(environ.get("HOME") or Path.home())
    shared = environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")
    files = [Path(folder) / "pip/pip.conf" for folder in shared]
    files += [Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(own)] if own else files


def _read_config(files: Iterable[Path]) -> Dict[str, str]:
    settings: Dict[str, Dict[str, str]] = {"global": {}, "install": {}}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            # Without the text of the error: it quotes lines, which may hold a password.
            _log.warning("%s cannot be read as a pip configuration and is ignored", path)
            continue
        for section, found in settings.items():
            if parser.has_section(section):
                found.update((key.replace("_", "-"), value) for key, value in parser.items(section))
    merged = {**settings["global"], **settings["install"]}
    if "default-timeout" in merged:
        merged.setdefault("timeout", merged["default-timeout"])
    return merged


def _from_variables(environ: Mapping[str, str], pip: str) -> Optional[str]:
    names = _PIP_VARIABLES.get(pip, ("PIP_" + pip.upper().replace("-", "_"),))
    return next((environ[name] for name in names if environ.get(name)), None)


def _exists(place: str, setting: str) -> bool:
    # pip passes over a local folder that is not there; for uv it is an error.
    local = local_path(place)
    if local is None or local.exists():
        return True
    _log.debug("pip's %s names %s, which does not exist", setting, without_url_credentials(place))
    return False


def _absolute(place: str) -> str:
    is_url = "://" in place or place.startswith("file:")
    return place if is_url else str(Path(place).expanduser().absolute())


def local_path(place: str) -> Optional[Path]:
    """The file or folder that an index or find-links names; None if it is no local one."""
    try:
        url = urlsplit(place)
    except ValueError:  # no URL that anybody can read; uv will say so
        return None
    return Path(unquote(url.path)) if url.scheme in ("", "file") else None
