"""For how long a document that was fetched may be gone by: what its server says, within bounds of ours.

Spec: RFC 9111 §4.2
Spec: draft-ietf-oauth-client-id-metadata-document §4.4
"""

from __future__ import annotations

import re

MIN_FRESH = 300
MAX_FRESH = 24 * 3600
"""Seconds. Less would have us ask at every request; with more a key that was taken back would be believed too long."""

_SECONDS = re.compile(r"[0-9]{1,10}")


def fresh_for(cache_control: str, age: str = "") -> int:
    """Seconds from now, by the `Cache-Control` and `Age` of the answer; the least where they say nothing usable.

    A directive that is there twice, or that we cannot read, counts as the strictest.

    Spec: RFC 9111 §4.2.1
    Spec: RFC 9111 §5.2.2
    """
    directives = [each.strip().lower().partition("=") for each in cache_control.split(",")]
    names = [name.strip() for name, _, _ in directives]
    if "no-store" in names or "no-cache" in names or names.count("max-age") != 1:
        return MIN_FRESH
    text = next(value.strip().strip('"') for name, _, value in directives if name.strip() == "max-age")
    if _SECONDS.fullmatch(text) is None:
        return MIN_FRESH
    elapsed = int(age) if _SECONDS.fullmatch(age.strip()) else 0
    return max(MIN_FRESH, min(MAX_FRESH, int(text) - elapsed))
