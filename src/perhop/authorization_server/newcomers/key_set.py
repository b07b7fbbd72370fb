"""The keys that a newcomer publishes or registers.

Spec: RFC 7517 §5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.errors import ClientMetadataInvalid, KeysUnavailable, KeyUnusable
from perhop.tokens.jwks import client_keys, usable_members
from perhop.tokens.keys import VerifyKey


@dataclass(frozen=True, slots=True)
class Keys:
    """JWK members, and the same ready to verify: `kid` -> key."""

    members: tuple[Mapping[str, Any], ...]
    by_id: Mapping[str, VerifyKey]


def read_key_set(document: Mapping[str, Any]) -> Keys:
    """The keys of a JWK set that verify signatures; one at least, and none that is private or symmetric.

    A key that is merely not for us is passed over.

    Raises: ClientMetadataInvalid
    """
    try:
        members = usable_members(document)
        keys = client_keys(members)
    except KeysUnavailable as error:
        raise ClientMetadataInvalid(error.detail) from None
    except KeyUnusable as error:
        raise ClientMetadataInvalid(f"the key set is not usable: {error.problem}") from None
    if not members:
        raise ClientMetadataInvalid("the key set holds no key that verifies signatures")
    return Keys(members, keys)
