"""The seal on a form: proof that this browser was given this form, for this request, not long ago.

A form without a good seal is a forgery from another site, or stale. The key lives as long as the process: after a
restart an open form is asked for again.

Spec: RFC 9700 §4.7.1
"""

from __future__ import annotations

import hashlib
import hmac

from perhop.core.secret import Secret

FORM_LIFETIME = 600
"""Seconds in which a form that was shown may come back."""


class FormSeal:
    """Seals forms with a MAC over everything that must not change between showing and sending."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def seal(self, *bound: str, now: int) -> str:
        """The value of the hidden input; `bound` is what the form is good for, the browser's cookie among it."""
        return f"{now}.{self._mac(str(now), *bound)}"

    def is_good(self, sealed: str, *bound: str, now: int) -> bool:
        """True if this is the seal of a form that is bound to the same and is not too old."""
        issued, _, mac = sealed.partition(".")
        if not (issued.isascii() and issued.isdigit() and len(issued) < 16):
            return False
        if not 0 <= now - int(issued) < FORM_LIFETIME:
            return False
        return hmac.compare_digest(mac.encode(), self._mac(issued, *bound).encode())

    def _mac(self, *parts: str) -> str:
        # Lengths in front: no two lists of parts have one text.
        message = b"".join(len(raw).to_bytes(4) + raw for raw in (part.encode() for part in parts))
        return hmac.new(self._key.reveal().encode(), message, hashlib.sha256).hexdigest()
