"""Browsers in which a person has signed in before: a cookie of ours, good for nothing but not to be slowed by others.

It opens nothing. The key outlives the process, so that a restart makes no browser a stranger.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from perhop.core.secret import Secret

DEVICE_SECONDS = 180 * 24 * 3600

_COOKIE = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})\.([0-9a-f]{64})")


class KnownDevices:
    """Makes and reads the cookie: when it was made, an id of the browser, and a MAC over both and the account."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def cookie(self, subject: str, place: str, device: str, *, now: int) -> str:
        """The cookie of a browser in which this account was just signed in to, at this place."""
        return f"{now}.{device}.{self._mac(subject, place, device, str(now))}"

    def device(self, cookie: str | None, subject: str, place: str, *, now: int) -> str | None:
        """The id of the browser; None if it is not known for this account."""
        found = _COOKIE.fullmatch(cookie or "")
        if found is None:
            return None
        made, device, mac = found.groups()
        if not 0 <= now - int(made) < DEVICE_SECONDS:
            return None
        return device if hmac.compare_digest(mac, self._mac(subject, place, device, made)) else None

    def _mac(self, *parts: str) -> str:
        # No part holds a line end.
        return hmac.new(self._key.reveal().encode(), "\n".join(parts).encode(), hashlib.sha256).hexdigest()
