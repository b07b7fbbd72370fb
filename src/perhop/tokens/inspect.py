"""Looking into a token without a network: header, claims, and what is wrong with them. Proves no signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perhop.errors import Refused
from perhop.rules.lifetime import Leeway, check_times
from perhop.tokens.claims import parse_audience, parse_claims, parse_name
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.signature import parse_algorithm
from perhop.tokens.verify import ACCESS_TOKEN_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a token says of itself; `problems` are those that any verifier of ours would refuse it for."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    problems: tuple[str, ...]


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
    )
    problems = [found for check in checks if (found := _problem_of(check)) is not None]
    if jws.media_type not in ACCESS_TOKEN_TYPES:
        problems.insert(0, "token.type: `typ` is not `at+jwt`")
    return Inspection(header=jws.header, claims=jws.payload, problems=tuple(problems))


def _check_claims(jws: CompactJws, *, now: int) -> None:
    claims = parse_claims(jws.payload)
    check_times(
        issued_at=claims.issued_at,
        not_before=claims.not_before,
        expires_at=claims.expires_at,
        now=now,
        leeway=Leeway.NONE,
    )


def _problem_of(check: Callable[[], object]) -> str | None:
    try:
        check()
    except Refused as fact:
        return _problem(fact)
    return None


def _problem(fact: Refused) -> str:
    return f"{fact.reason}: {fact.detail}"
