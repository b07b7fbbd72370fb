"""What an OpenID provider says of a person besides who it is: an e-mail address, groups.

An address is a name that providers give out, take back and give to somebody else; it is never who somebody is.

Spec: OpenID Connect Core 1.0 §5.1
Spec: OpenID Connect Core 1.0 §5.7
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_GROUPS = 500
MAX_GROUP_LENGTH = 256

_ADDRESS = re.compile(r"[^\s@]{1,64}@[^\s@]{1,189}")


def verified_email(claims: Mapping[str, Any]) -> str | None:
    """The person's address in lower case, if the provider says that it is verified; `"true"` is no `true`."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    return email.lower() if _ADDRESS.fullmatch(email) and email.isprintable() else None


def groups_in(claims: Mapping[str, Any], name: str | None) -> frozenset[str] | None:
    """The person's groups; None where they are not known: not asked for, not said, or not said in a form that we read.

    Half of a list is no list: where one of them cannot be read, none is known.
    """
    said = claims.get(name) if name is not None else None
    if not isinstance(said, list) or len(said) > MAX_GROUPS:
        return None
    if not all(isinstance(each, str) and 0 < len(each) <= MAX_GROUP_LENGTH for each in said):
        return None
    return frozenset(said)
