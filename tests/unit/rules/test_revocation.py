"""Revocations in force: a token that passed is asked again as soon as anything is revoked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perhop.errors import TokenRevoked
from perhop.rules.revocation import Revocation, RevocationKind, Revocations, revocation_digest
from tests.support.forge import NOW, good_claims, sign
from tests.support.verifier import KEY, check

TOKEN = check(sign(good_claims(tenant="acme"), KEY))
NAMED = {
    RevocationKind.TOKEN: TOKEN.jti,
    RevocationKind.SUBJECT: TOKEN.subject,
    RevocationKind.AGENT: TOKEN.agent,
    RevocationKind.RESOURCE: TOKEN.audience,
    RevocationKind.TENANT: "acme",
}


def revocation(kind: RevocationKind, value: str, *, not_before: int = NOW, seq: int = 1) -> Revocation:
    return Revocation(seq, kind, revocation_digest(value), not_before, NOW + 1000)


@pytest.mark.parametrize(("kind", "value"), NAMED.items(), ids=[each.value for each in NAMED])
def test_a_token_that_passed_is_refused_once_it_is_revoked(kind: RevocationKind, value: str) -> None:
    """However often it passed, and whatever else was revoked meanwhile."""
    revocations = Revocations()
    for seq in range(3):
        revocations.check(TOKEN)
        revocations.add(revocation(kind, f"another {seq}", seq=seq))
        revocations.check(TOKEN)
        revocations.check(TOKEN)
    revocations.add(revocation(kind, value, seq=9))
    for _ in range(2):
        with pytest.raises(TokenRevoked):
            revocations.check(TOKEN)


def test_a_token_that_passed_lends_its_pass_to_no_other() -> None:
    """Another token of the same text, time or fingerprint is looked at by itself."""
    revocations = Revocations()
    revocations.add(revocation(RevocationKind.TOKEN, "revoked"))
    revocations.check(TOKEN)
    with pytest.raises(TokenRevoked):
        revocations.check(replace(TOKEN, jti="revoked"))
    revocations.check(TOKEN)


def test_what_was_issued_later_passes() -> None:
    """A revocation is of what was issued until its moment; it covers no token of the second after."""
    revocations = Revocations()
    revocations.add(revocation(RevocationKind.SUBJECT, TOKEN.subject, not_before=NOW - 1))
    revocations.check(TOKEN)
    revocations.add(revocation(RevocationKind.SUBJECT, TOKEN.subject, not_before=NOW))
    with pytest.raises(TokenRevoked):
        revocations.check(TOKEN)


def test_many_tokens_that_passed_are_not_kept_for_ever() -> None:
    """The memory of who passed has an end; beyond it everybody is asked anew, and the answer is right."""
    revocations = Revocations()
    for number in range(20_000):
        revocations.check(replace(TOKEN, hop=1 + number % 60))
    assert len(revocations._passed) <= 16_384
    revocations.add(revocation(RevocationKind.TOKEN, TOKEN.jti))
    with pytest.raises(TokenRevoked):
        revocations.check(TOKEN)
