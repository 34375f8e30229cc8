"""``0/requirements.lock``: the pins of a ``python`` package, and the Python that they were compiled for."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Mapping, Match, Sequence, Union

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import listed
from neuropod_worker.package.index_options import IndexOptions, read_index_options
from neuropod_worker.package.redaction import redact, without_url_credentials

# A direct pin: one exact version; extras, a marker, hashes and a comment may follow.
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[\w.,\s-]*\])?\s*===?\s*(?P<version>[^\s*;#]+)"
    r"\s*(?P<marker>;.*)?(\s*--hash[= ]\S+)*\s*(\s#.*)?$"
)
_SPECIFIER = r"(===?|~=|!=|<=?|>=?)\s*[^\s,;#)]+"
_SPECIFIERS = r"{0}(\s*,\s*{0})*".format(_SPECIFIER)
# One of a compiler's, more or less; options, paths and URLs are its own affair.
_REQUIREMENT = re.compile(
    r"[-./]|\S*://|[A-Za-z0-9][\w.-]*\s*(\[[\w.,\s-]*\]\s*)?"
    r"(@|({0}|\({0}\))?\s*($|;|\s#|--hash))".format(_SPECIFIERS)
)
_CONTINUED = re.compile(r"\\\r?\n")
_NAMES_PYTHON = re.compile(r"#.*\b(with python |--python-version[= ]|(--python|-p)[= ](python)?)\d", re.IGNORECASE)
# pip-tools would write the index URLs, which may hold credentials, into the lock; uv does not.
_WITHOUT_INDEXES = ["--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"]
_ERROR_TAIL_CHARS = 2000
_TRAILING_ZEROS = re.compile(r"(\.0+)+$")


def lock_text(requirements: Union[str, Sequence[str]]) -> str:
    """The content of the lock for requirements as text or lines.

    Lines that are all pinned (``name==version``, with or without hashes) are taken as they are; others are compiled
    for this Python with uv or pip-tools. The lock's header names this Python, in the words of pip-compile, if it was
    compiled here or if all that is pinned is installed here, and does not name one already. Raises ``PackageError``
    where neither is there, or where the requirements cannot be met.
    """
    given = requirements.splitlines() if isinstance(requirements, str) else listed("requirements", requirements)
    text = "\n".join(map(_line, given))
    pins = [_PIN.match(line) for line in _lines(text)]
    if not all(pins):
        for line in _lines(text):
            if not _REQUIREMENT.match(line):
                message = "{!r} of requirements is no requirement such as numpy, numpy==1.19.5 or numpy>=1.19,<2"
                raise PackageError(message.format(without_url_credentials(line)))
        text = _compiled(text)
    if not all(pins) or (_are_installed([pin for pin in pins if pin]) and not _NAMES_PYTHON.search(text)):
        text = "# This file was made with Python {}.{}\n{}".format(*sys.version_info[:2], text)
    return text.rstrip("\n") + "\n"


def _lines(text: str) -> List[str]:
    lines = [line.strip() for line in _CONTINUED.sub(" ", text).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _are_installed(pins: "Sequence[Match[str]]") -> bool:
    """Whether these pins are of this environment, and not written down for another one."""
    installed = _installed()
    return bool(pins) and all(_is_installed(pin, installed) for pin in pins)


def not_installed(lock: str) -> List[str]:
    """Which pins of a lock this interpreter does not have, and what it has in their place.

    Those with a marker are left out: they may be for others.
    """
    installed = _installed()
    pins = [pin for pin in map(_PIN.match, _lines(lock)) if pin and not pin.group("marker")]
    lacking = [pin for pin in pins if not _is_installed(pin, installed)]
    message = "{} {}, not {}"
    return [
        message.format(
            pin.group("name"), installed.get(_one_name(pin.group("name")), "in no version"), pin.group("version")
        )
        for pin in lacking
    ]


def _is_installed(pin: "Match[str]", installed: Mapping[str, str]) -> bool:
    pinned, found = pin.group("version"), installed.get(_one_name(pin.group("name")), "")
    if "+" not in pinned:  # then whatever variant
        found = found.partition("+")[0]
    return _TRAILING_ZEROS.sub("", found) == _TRAILING_ZEROS.sub("", pinned)


def _installed() -> Dict[str, str]:
    """The version of every distribution that this interpreter finds. Python 3.6 has nothing for that."""
    versions: Dict[str, str] = {}
    for folder in sys.path:
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.endswith((".dist-info", ".egg-info")):
                distribution, _, version = os.path.splitext(name)[0].partition("-")
                versions.setdefault(_one_name(distribution), version.split("-")[0])  # of an egg: before its Python
    return versions


def _one_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _line(value: Any) -> str:
    if not isinstance(value, str):
        raise PackageError("each of requirements must be a string such as numpy==1.19.5, not {!r}".format(value))
    return value


def _compiled(text: str) -> str:
    options = read_index_options(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "requirements.in"), os.path.join(folder, "requirements.lock")
        with open(source, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        run = subprocess.run(
            _compiler(options) + [source, "--output-file", target],
            env={**os.environ, **options.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if run.returncode != 0 or not os.path.exists(target):
            said = redact(run.stdout.decode("utf-8", "replace"), options.secrets)
            raise PackageError("the requirements cannot be compiled:\n{}".format(said[-_ERROR_TAIL_CHARS:]))
        with open(target, encoding="utf-8") as file:
            return file.read()


def _compiler(options: IndexOptions) -> List[str]:
    plain = ["--quiet", "--no-header", "--no-annotate"]
    uv = [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else [shutil.which("uv") or ""]
    if uv != [""]:
        # uv has a variable for every other setting that pip may have.
        plain += ["--no-index"] if options.no_index else []
        return uv + ["pip", "compile", "--python", sys.executable] + plain
    if importlib.util.find_spec("piptools"):
        return [sys.executable, "-m", "piptools", "compile"] + plain + _WITHOUT_INDEXES
    raise PackageError(
        "compiling unpinned requirements needs uv or pip-tools; install one, or pin each as name==version"
    )
