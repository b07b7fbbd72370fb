"""What is kept of a caller is found by the whole value at its own resource, and its number has an end."""

from __future__ import annotations

from dataclasses import replace

from perhop.core.call import HeaderFields
from perhop.core.decision import InForce
from perhop.core.resource import Resource, ResourceUri
from perhop.core.token import BoundToken, ProvedToken, VerifiedToken
from perhop.gateway.known_callers import Known, KnownCallers
from perhop.rules.lifetime import MAX_LIFETIME

RESOURCE = Resource(name="r", uri=ResourceUri("https://r.example.com/mcp"), owner="o", scopes={})


def _known(name: str) -> Known:
    token = VerifiedToken(
        issuer="https://auth.example.com",
        jti=name,
        subject="user:ann",
        client_id="trip-planner",
        audience=RESOURCE.uri,
        scopes=frozenset(),
        issued_at=0,
        expires_at=300,
        agent="trip-planner",
        fingerprint=name,
    )
    bound = BoundToken(token, RESOURCE.uri)
    return Known(RESOURCE, token, ProvedToken(bound), InForce(bound, None), None)


def _headers(*values: str) -> HeaderFields:
    return HeaderFields.of((b"Authorization", value.encode()) for value in values)


def test_only_the_very_same_value_finds_it() -> None:
    """Another scheme, letter case, a second field, another resource or another form of headers finds nothing."""
    callers, known = KnownCallers(), _known("a")
    callers.keep(_headers("Bearer a"), known, now=0)
    assert callers.find(_headers("Bearer a"), RESOURCE) is known
    for other in (("bearer a",), ("DPoP a",), ("Bearer a ",), ("Bearer  a",), ("Bearer a", "Bearer a"), ("a",), ()):
        assert callers.find(_headers(*other), RESOURCE) is None, other
    assert callers.find(_headers("Bearer a"), replace(RESOURCE)) is None
    assert callers.find((("authorization", "Bearer a"),), RESOURCE) is None


def test_memory_is_bounded() -> None:
    """Of many the oldest go, and after the longest lifetime of a token all goes."""
    callers = KnownCallers(generation=2)
    for name in "abcde":
        callers.keep(_headers(name), _known(name), now=0)
        assert len(callers) <= 4
    assert [callers.find(_headers(name), RESOURCE) is not None for name in "abcde"] == [False, False, True, True, True]
    for turn in (1, 2):
        callers.keep(_headers("z"), _known("z"), now=turn * (MAX_LIFETIME + 1))
    assert len(callers) == 2
    assert callers.find(_headers("e"), RESOURCE) is None
