"""Taking credentials out of what is logged, raised or hashed.

What stands before the ``@`` of a URL goes, whoever put it there. Of the package indexes that the user has set the
path and the query go, too, since both may hold a token. Passwords and tokens are also replaced where they stand
alone, unless they are so short that they could be a part of any word.
"""

import re
from itertools import takewhile
from typing import Dict, Mapping, Match, NamedTuple, Set, Tuple
from urllib.parse import unquote

# Up to the last @ before a slash or a blank: a password may contain one.
_USER_INFO = re.compile(r"(?<=://)[^/\s]+@")
_URL = re.compile(
    r"(?P<head>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^/\s]*@)?(?P<host>[^/?#\s,'\"]*)(?P<rest>[^\s,'\"]*)"
)
_QUERY = re.compile(r"\?[^#]*")
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|CREDENTIAL")
_LOCATION_NAME = re.compile(r"INDEX|FIND_LINKS")
_SHORTEST_REPLACED_CHARS = 4


class Secrets(NamedTuple):
    """``words`` are replaced wherever they stand, ``index_paths`` in URLs of their host."""

    words: Tuple[str, ...]
    index_paths: Mapping[str, Tuple[str, ...]]


def without_url_credentials(text: str) -> str:
    return _USER_INFO.sub("***@", text)


def secrets_in(*settings: Mapping[str, str]) -> Secrets:
    """What must never be shown of the UV_ and PIP_ variables in these settings."""
    words: Set[str] = set()
    paths: Dict[str, Set[str]] = {}
    for name, value in (item for setting in settings for item in setting.items()):
        if not name.startswith(("UV_", "PIP_")):
            continue
        if _SECRET_NAME.search(name):
            words.add(value)
        for url in _URL.finditer(value):
            # A bare `token@host` is as secret as the password of `user:password@host`.
            password = (url["user"] or "").rstrip("@").partition(":")
            words.add(password[2] if password[1] else password[0])
            if "@" in url["rest"]:  # a password with a slash in it: no URL, but somebody's secret
                words.add(url["host"] + url["rest"].rpartition("@")[0])
            if url["host"] and _LOCATION_NAME.search(name):
                paths.setdefault(url["host"].lower(), set()).add(_QUERY.sub("", url["rest"]).rstrip("/"))
    words |= {unquote(word) for word in words}
    long_enough = (word for word in words if len(word) >= _SHORTEST_REPLACED_CHARS)
    return Secrets(
        tuple(sorted(long_enough, key=len, reverse=True)), {host: tuple(found) for host, found in paths.items()}
    )


def redact(text: str, secrets: Secrets) -> str:
    for word in secrets.words:
        text = text.replace(word, "***")
    return _URL.sub(lambda url: _shown(url, secrets.index_paths), without_url_credentials(text))


def _shown(url: Match[str], index_paths: Mapping[str, Tuple[str, ...]]) -> str:
    paths = index_paths.get(url["host"].lower())
    if paths is None:
        return url[0]
    rest = _QUERY.sub("?...", url["rest"])
    hidden = max(_chars_in_common(rest, path) for path in paths)
    return "".join([url["head"], url["user"] or "", url["host"], "/..." if hidden else "", rest[hidden:]])


def _chars_in_common(rest: str, path: str) -> int:
    """How much of a URL's path is the index's own: all of it or its first folders, as files may lie beside it."""
    if rest.startswith(path):
        return len(path)
    pairs = zip(rest.split("/"), path.split("/"))
    return len("/".join(ours for ours, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
