"""`@authentication("max_age=300, acr_values=A B")` of a forbid: the sign-in with which it would not forbid.

Spec: RFC 9470 §3
"""

from __future__ import annotations

import re

from perhop.core.authentication import AuthenticationWanted

_SECONDS = re.compile(r"[0-9]{1,9}")
# What stands between quotes in a challenge, and in a list that spaces part; no comma, which parts it from the age here.
_ACR = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,256}")
_MOST_ACR_VALUES = 32


def parse_authentication_wanted(text: str) -> AuthenticationWanted | None:
    """What an annotation wants; None if it is not one that we understand."""
    members = [each.strip().partition("=") for each in text.split(",")]
    named = {name: value for name, _, value in members}
    if len(named) != len(members) or not named.keys() <= {"max_age", "acr_values"}:
        return None
    max_age, acr_values = named.get("max_age"), tuple(named.get("acr_values", "").split())
    if max_age is not None and _SECONDS.fullmatch(max_age) is None:
        return None
    is_list = 0 < len(acr_values) <= _MOST_ACR_VALUES and all(map(_ACR.fullmatch, acr_values))
    if "acr_values" in named and not is_list:
        return None
    return AuthenticationWanted(int(max_age) if max_age is not None else None, acr_values)
