"""Taking credentials out of what is logged, raised or hashed."""

from __future__ import annotations

import re
from collections.abc import Mapping

_URL_CREDENTIALS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@'\"]+@")
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|USERNAME|CREDENTIAL")
_USER_INFO = re.compile(r"://([^/\s@'\"]+)@")


def without_url_credentials(text: str) -> str:
    return _URL_CREDENTIALS.sub(r"\1***@", text)


def secrets_in(*settings: Mapping[str, str]) -> frozenset[str]:
    """The values that must never be shown: of secret UV_/PIP_ variables, and passwords inside URLs."""
    found = set()
    for setting in settings:
        for name, value in setting.items():
            if not name.startswith(("UV_", "PIP_")):
                continue
            if _SECRET_NAME.search(name):
                found.add(value)
            for user_info in _USER_INFO.findall(value):
                # A bare `token@host` is as secret as the password of `user:password@host`.
                found.add(user_info.rpartition(":")[2])
    return frozenset(value for value in found if value)


def redact(text: str, secrets: frozenset[str]) -> str:
    text = without_url_credentials(text)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
