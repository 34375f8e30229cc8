"""Which files of a distribution the user's package sources offer: what uv does not tell.

Asks the simple API of every index, as JSON where the index speaks it (PEP 691), else as HTML, and looks into
find-links. Only JSON knows when a file was uploaded (PEP 700).
"""

from __future__ import annotations

import base64
import json
import netrc
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from http import HTTPStatus
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.utils import canonicalize_name

from neuropod_ope.environment.errors import EnvironmentBuildError
from neuropod_ope.environment.offered import IndexFile
from neuropod_ope.environment.uv import Uv
from neuropod_worker.package.index_options import IndexOptions, local_path
from neuropod_worker.package.redaction import redact

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
# Some indexes forbid what they do not have.
_ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.FORBIDDEN)


def offered_files(distribution: str, uv: Uv) -> list[IndexFile]:
    """The wheels of a distribution that are not withdrawn. Raises EnvironmentBuildError."""
    name = canonicalize_name(distribution)
    pages = [f"{index.rstrip('/')}/{name}/" for index in uv.indexes()]
    places = (*pages, *uv.index_options.find_links)
    found = [file for place in places for file in _listed(place, uv.index_options)]
    return [one for one in found if one.name.endswith(".whl") and canonicalize_name(one.name.split("-")[0]) == name]


def _listed(place: str, options: IndexOptions) -> list[IndexFile]:
    local = local_path(place)
    if local is None:
        return _fetched(place, options)
    if (page := local / "index.html").is_file() or (page := local).is_file():
        return _of_html(page.read_text("utf-8", errors="replace"))
    return [IndexFile(path.name, "", "") for path in local.iterdir()] if local.is_dir() else []


def _fetched(url: str, options: IndexOptions) -> list[IndexFile]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers={"Accept": _ACCEPT})
    user, password = _credentials(url)
    if user is not None:
        # Not passed on when the index redirects to another host.
        token = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    context = ssl.create_default_context(cafile=options.certificates)
    if parts.hostname in options.insecure_hosts or host in options.insecure_hosts:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=options.timeout_s, context=context) as reply:
            kind, body = reply.headers.get_content_type(), reply.read().decode("utf-8", "replace")
            read: Callable[[str], list[IndexFile]] = _of_json if kind.endswith("json") else _of_html
            return read(body)
    except urllib.error.HTTPError as error:
        if error.code in _ABSENT:
            return []
        raise _unreadable(url, error, options) from None
    except (OSError, ValueError) as error:
        raise _unreadable(url, error, options) from None


def _unreadable(url: str, error: Exception, options: IndexOptions) -> EnvironmentBuildError:
    # Going on without it would make the result depend on the weather.
    said = redact(f"{url} cannot be asked for versions: {error}", options.secrets)
    return EnvironmentBuildError(f"{said}. Try again, or correct the index in your pip or uv settings")


def _credentials(url: str) -> tuple[str | None, str | None]:
    parts = urlsplit(url)
    if parts.username is not None:
        return unquote(parts.username), unquote(parts.password or "")
    with suppress(OSError, netrc.NetrcParseError):
        known = netrc.netrc().authenticators(parts.hostname or "")
        if known:
            return known[0], known[2]
    return None, None


def _of_json(text: str) -> list[IndexFile]:
    return [
        IndexFile(one["filename"], one.get("requires-python") or "", one.get("upload-time") or "")
        for one in json.loads(text)["files"]
        if not one.get("yanked")
    ]


def _of_html(text: str) -> list[IndexFile]:
    parser = _Links()
    parser.feed(text)
    return parser.files


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a" and found.get("href") and "data-yanked" not in found:
            name = unquote(urlsplit(found["href"] or "").path.rpartition("/")[2])
            self.files.append(IndexFile(name, found.get("data-requires-python") or "", ""))
