"""A package index on the loopback interface, with tiny wheels, that a test can stop in mid-download."""

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def wheel(name: str, version: str) -> bytes:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": metadata(name, version),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return packed.getvalue()


def metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class LocalIndex:
    """``gate``, closed, holds downloads of ``tiny``; ``reached`` tells of one; ``broken`` refuses them.

    ``uploaded``, the times of wheels, makes it answer in JSON. ``asked`` counts the questions for each name.
    """

    def __init__(self) -> None:
        self.wheels = {
            f"{name}-{version}-py3-none-any.whl": wheel(name, version)
            for name, version in (("numpy", "1.0"), ("msgpack", "1.0.5"), ("tiny", "1.0"), ("tiny", "2.0"))
        }
        self.held = "tiny-"
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.broken = False
        self.downloads: list[str] = []
        self.uploaded: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.port = 0

    def environ(self, base: dict[str, str], uv_cache: str) -> dict[str, str]:
        """An environment in which this is the only index, with a password in its URL."""
        kept = {name: value for name, value in base.items() if not name.startswith(("PIP_", "UV_"))}
        return {
            **kept,
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": f"http://alice:wonderland@127.0.0.1:{self.port}/simple",
            "UV_CACHE_DIR": uv_cache,
            "UV_HTTP_RETRIES": "0",
            "no_proxy": "127.0.0.1",
        }

    def offer(self, name: str, version: str, uploaded: str = "") -> None:
        file = f"{name}-{version}-py3-none-any.whl"
        self.wheels[file] = wheel(name, version)
        if uploaded:
            self.uploaded[file] = f"{uploaded}T00:00:00Z"

    def _listing(self, name: str, files: list[str]) -> dict[str, object]:
        entries = [
            {
                "filename": file,
                "url": f"/files/{file}",
                "hashes": {},
                "core-metadata": True,
                **({"upload-time": self.uploaded[file]} if file in self.uploaded else {}),
            }
            for file in files
        ]
        return {"meta": {"api-version": "1.1"}, "name": name, "files": entries}

    def content_type(self, path: str) -> str:
        if not path.startswith("/simple"):
            return "application/zip"
        return "application/vnd.pypi.simple.v1+json" if self.uploaded else "text/html"

    def answer(self, path: str) -> bytes | None:
        parts = [part for part in path.split("/") if part]
        if parts[:1] == ["simple"] and len(parts) == 2:
            self.asked[parts[1]] += 1
            names = [name for name in self.wheels if name.startswith(f"{parts[1]}-")]
            if names and self.uploaded:
                return json.dumps(self._listing(parts[1], names)).encode()
            # With its metadata beside it, a wheel is downloaded for installing only, not for resolving.
            links = "".join(f'<a href="/files/{name}" data-core-metadata="true">{name}</a>' for name in names)
            return f"<!DOCTYPE html><html><body>{links}</body></html>".encode() if names else None
        if parts[:1] == ["files"] and parts[1].endswith(".metadata"):
            name, version = parts[1].split("-")[:2]
            return metadata(name, version).encode()
        if parts[:1] == ["files"]:
            return self.wheels.get(parts[1])
        return None


class _Handler(BaseHTTPRequestHandler):
    index: LocalIndex

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def _reply(self, with_body: bool) -> None:
        index = self.index
        body = index.answer(self.path)
        if with_body and self.path.startswith(f"/files/{index.held}") and self.path.endswith(".whl"):
            index.downloads.append(self.path)
            index.reached.set()
            index.gate.wait()
            if index.broken:
                body = None
        self.send_response(HTTPStatus.OK if body is not None else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", index.content_type(self.path))
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body:
            with suppress(ConnectionError):  # a client that was killed
                self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[LocalIndex]:
    index = LocalIndex()
    handler = type("Handler", (_Handler,), {"index": index})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield index
    finally:
        index.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
