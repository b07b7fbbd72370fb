"""Looking into a token without a network: header, claims, and what is wrong with them. Proves no signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.token import SenderKey
from perhop.errors import Refused, SenderMismatch
from perhop.rules.lifetime import Leeway, check_times
from perhop.tokens.claims import parse_audience, parse_claims, parse_name, parse_sender
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.signature import parse_algorithm
from perhop.tokens.verify import ACCESS_TOKEN_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a token says of itself; `problems` are those that any verifier of ours would refuse it for.

    `bound_to` is the thumbprint of the key that a proof must come from; None for a bearer token.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    problems: tuple[str, ...]
    bound_to: str | None = None


def inspect_token(raw: str, *, now: int) -> Inspection:
    """Read a token as far as it can be read. Does not look at signature, issuer, revocation, or whose it is."""
    try:
        jws = parse_compact(raw)
    except Refused as fact:
        return Inspection(header={}, claims={}, problems=(_problem(fact),))
    checks: tuple[Callable[[], object], ...] = (
        lambda: parse_algorithm(jws),
        lambda: parse_name(jws.payload, "iss"),
        lambda: parse_audience(jws.payload),
        lambda: _check_claims(jws, now=now),
        lambda: _check_sender(jws),
    )
    problems = [found for check in checks if (found := _problem_of(check)) is not None]
    if jws.media_type not in ACCESS_TOKEN_TYPES:
        problems.insert(0, "token.type: `typ` is not `at+jwt`")
    return Inspection(header=dict(jws.header), claims=jws.payload, problems=tuple(problems), bound_to=_key_of(jws))


def claimed_jti(raw: str) -> str | None:
    """The id that a token says it has, None for what is no token or has none. For looking up, never for deciding."""
    try:
        claimed = parse_compact(raw).payload.get("jti")
    except Refused:
        return None
    return claimed if isinstance(claimed, str) and claimed else None


def _check_claims(jws: CompactJws, *, now: int) -> None:
    claims = parse_claims(jws.payload)
    check_times(
        issued_at=claims.issued_at,
        not_before=claims.not_before,
        expires_at=claims.expires_at,
        now=now,
        leeway=Leeway.NONE,
    )


def _check_sender(jws: CompactJws) -> None:
    """Refuse what nobody can prove here; what is no confirmation at all, the claims are refused for.

    Raises: SenderMismatch
    """
    confirmed = jws.payload.get("cnf")
    if isinstance(confirmed, dict) and confirmed and _key_of(jws) is None:
        raise SenderMismatch("`cnf` is not exactly one key's thumbprint (`jkt`): no proof of anything else is taken")


def _key_of(jws: CompactJws) -> str | None:
    try:
        sender = parse_sender(jws.payload)
    except Refused:
        return None
    return sender.thumbprint if isinstance(sender, SenderKey) else None


def _problem_of(check: Callable[[], object]) -> str | None:
    try:
        check()
    except Refused as fact:
        return _problem(fact)
    return None


def _problem(fact: Refused) -> str:
    return f"{fact.reason}: {fact.detail}"
