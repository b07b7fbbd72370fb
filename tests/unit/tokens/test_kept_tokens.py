"""Kept tokens: what was verified once is taken again only while everything holds that verification looked at."""

from __future__ import annotations

import pytest

from perhop.errors import (
    BearerRefused,
    TokenExpired,
    TokenIssuerUnknown,
    TokenKeyUnknown,
    TokenNotYetValid,
    TokenSignatureInvalid,
    TokenTypeWrong,
)
from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.tokens.kept_tokens import KeptTokens
from perhop.tokens.keys import SigningKey, VerifyKey, parse_jwk
from perhop.tokens.verify import IssuerKeys, Leeway
from tests.support.forge import ISSUER, NOW, good_claims, sign
from tests.support.verifier import FOREIGN, KEY, KEYS, OTHER_ISSUER

BOTH = pytest.mark.parametrize(("leeway", "longer"), [(Leeway.NONE, 0), (Leeway.GUARD, 60)], ids=["none", "guard"])
OURS: dict[str, VerifyKey] = dict(KEYS[ISSUER])
GOOD = sign(good_claims(), KEY)


def ask(kept: KeptTokens, raw: str = GOOD, *, keys: IssuerKeys = KEYS, now: int = NOW) -> object:
    """The token as it is verified here; the same object, if it was kept."""
    return kept.verify(kept.read(raw), keys=keys, now=now)


def keeping(*, leeway: Leeway = Leeway.NONE) -> tuple[KeptTokens, object]:
    """The good token was verified here, and is taken without its signature."""
    kept = KeptTokens(leeway)
    first = ask(kept)
    assert ask(kept) is first
    return kept, first


def refused(kept: KeptTokens, fact: type[BearerRefused], raw: str = GOOD, **changes: object) -> None:
    with pytest.raises(BearerRefused) as refusal:
        ask(kept, raw, **changes)  # type: ignore[arg-type]
    assert refusal.type is fact, refusal.value


@BOTH
def test_a_token_is_kept_to_the_second_of_its_end_and_no_longer(leeway: Leeway, longer: int) -> None:
    """The last second in which a kept token passes is the last one in which it would be verified."""
    kept, first = keeping(leeway=leeway)
    end = NOW + 300 + longer
    assert ask(kept, now=end - 1) is first
    refused(kept, TokenExpired, now=end)
    refused(kept, TokenExpired, now=end + 1)


def test_a_kept_token_is_not_good_before_its_time() -> None:
    """Where the clock is set back, to before `nbf` or `iat`, a kept token waits as any other."""
    kept, first = keeping()
    assert ask(kept, now=NOW - MAX_SKEW) is first
    refused(kept, TokenNotYetValid, now=NOW - MAX_SKEW - 1)
    later = sign(good_claims(nbf=NOW + 30), KEY)
    ask(kept, later)
    refused(kept, TokenNotYetValid, later, now=NOW + 30 - MAX_SKEW - 1)


def test_a_kept_token_ends_with_its_key() -> None:
    """The key is revoked, or leaves the set that is published: at once the token is that of an unknown key."""
    kept, first = keeping()
    without = {kid: key for kid, key in OURS.items() if kid != KEY.kid}
    refused(kept, TokenKeyUnknown, keys={ISSUER: without})
    assert ask(kept) is first


def test_a_kept_token_is_not_good_under_another_key_of_the_same_name() -> None:
    """A new key that took the old one's `kid` has not signed what the old one had."""
    kept, _ = keeping()
    usurper = parse_jwk(SigningKey.generate().public().as_jwk() | {"kid": KEY.kid})
    refused(kept, TokenSignatureInvalid, keys={ISSUER: {**OURS, KEY.kid: usurper}})


def test_a_key_set_that_was_read_anew_verifies_anew() -> None:
    """The same key, read again, is another object: the signature is looked at again, and holds."""
    kept, first = keeping()
    again = ask(kept, keys={ISSUER: {KEY.kid: parse_jwk(KEY.public().as_jwk())}})
    assert (again, again is first) == (first, False)


def test_a_kept_token_is_its_own_issuers_only() -> None:
    """An issuer that is not trusted any more is gone with its tokens, though another has a key of the same name."""
    kept, _ = keeping()
    refused(kept, TokenIssuerUnknown, keys={OTHER_ISSUER: OURS})
    refused(kept, TokenKeyUnknown, keys={ISSUER: {}, OTHER_ISSUER: OURS})


def test_a_token_of_another_issuer_under_the_same_key_name() -> None:
    """Two issuers' keys share a `kid`; what the one has signed is not taken for the other's, whichever came first."""
    theirs = parse_jwk(FOREIGN.public().as_jwk() | {"kid": KEY.kid})
    keys = {ISSUER: OURS, OTHER_ISSUER: {KEY.kid: theirs}}
    kept, _ = keeping()
    refused(kept, TokenSignatureInvalid, sign(good_claims(), FOREIGN, kid=KEY.kid), keys=keys)
    ask(kept, sign(good_claims(issuer=OTHER_ISSUER), FOREIGN, kid=KEY.kid), keys=keys)
    refused(kept, TokenSignatureInvalid, sign(good_claims(issuer=OTHER_ISSUER), KEY), keys=keys)


def test_another_payload_under_a_kept_signature() -> None:
    """The signature of a kept token makes no other payload good, and no other header."""
    kept, _ = keeping()
    header, payload, signature = GOOD.split(".")
    other_header, other_payload, _ = sign(good_claims(sub="user:mallory"), KEY, typ="JWT").split(".")
    refused(kept, TokenSignatureInvalid, f"{header}.{other_payload}.{signature}")
    refused(kept, TokenTypeWrong, f"{other_header}.{payload}.{signature}")


def test_one_character_of_a_kept_token_is_changed() -> None:
    """Wherever it stands, and also where it is added or left out, it is another token, and not a good one."""
    kept, first = keeping()
    changed = [GOOD[:at] + ("A" if GOOD[at] != "A" else "B") + GOOD[at + 1 :] for at in range(0, len(GOOD), 7)]
    for raw in (*changed, GOOD + "A", GOOD[:-1], GOOD + "=", GOOD.swapcase()):
        with pytest.raises(BearerRefused):
            ask(kept, raw)
    assert ask(kept) is first


def test_a_refusal_is_never_kept() -> None:
    """What was refused is verified again the next time, and leaves nothing behind."""
    kept = KeptTokens(Leeway.NONE)
    refused(kept, TokenExpired, now=NOW + 300)
    refused(kept, TokenKeyUnknown, keys={ISSUER: {}})
    refused(kept, TokenSignatureInvalid, sign(good_claims(), FOREIGN, kid=KEY.kid))
    assert len(kept) == 0
    ask(kept)
    assert len(kept) == 1


def test_a_flood_of_good_tokens_has_its_bound() -> None:
    """However many good tokens come, so many are kept; every one is taken, and what is asked for goes on being kept."""
    kept = KeptTokens(Leeway.NONE, generation=4)
    first = ask(kept)
    for number in range(30):
        ask(kept, sign(good_claims(jti=f"flood-{number}"), KEY))
        assert len(kept) <= 8
        assert ask(kept) is first
    assert ask(kept, sign(good_claims(jti="flood-0"), KEY)) is not None


def test_a_flood_of_bad_tokens_displaces_nothing() -> None:
    """Tokens that are refused leave every kept one where it is."""
    kept = KeptTokens(Leeway.NONE, generation=4)
    first = ask(kept)
    for number in range(30):
        refused(kept, TokenSignatureInvalid, sign(good_claims(jti=f"bad-{number}"), FOREIGN, kid=KEY.kid))
    assert (len(kept), ask(kept) is first) == (1, True)


def test_tokens_of_long_ago_are_let_go() -> None:
    """A place where few tokens come does not keep those that cannot be good any more."""
    kept, _ = keeping()
    for turn in (1, 2):
        now = NOW + turn * (MAX_LIFETIME + 1)
        ask(kept, sign(good_claims(now=now), KEY), now=now)
    assert len(kept) == 2


def test_a_token_that_is_read_says_nothing_of_itself() -> None:
    """What is read does not print the token, and claims only what stands in it."""
    kept = KeptTokens(Leeway.NONE)
    read = kept.read(GOOD)
    assert GOOD not in repr(read)
    assert read.claimed_issuer == ISSUER
    assert len(kept) == 0
