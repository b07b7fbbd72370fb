"""The door remembers what it let in, and lets nothing else in for that."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import HeaderFields
from perhop.core.resource import Resource
from perhop.errors import Refused
from perhop.gateway.app import _may_use_dpop
from perhop.gateway.door import check_door
from perhop.gateway.request import BodyReader, Request
from perhop.rules.bearer import uses_dpop
from perhop.rules.resource_uri import parse_resource_uri

Fields = list[tuple[bytes, bytes]]

RESOURCES = tuple(
    Resource(name=name, uri=parse_resource_uri(uri), owner="group:platform", scopes={})
    for name, uri in (
        ("calendar", "https://mcp.example.com/calendar"),
        ("rooms", "https://rooms.example.com/calendar"),
        ("local", "http://127.0.0.1:8080/calendar"),
    )
)
FIELDS = (
    *((b"host", value) for value in (b"mcp.example.com", b"rooms.example.com", b"127.0.0.1", b"evil example")),
    *((b"connection", value) for value in (b"keep-alive", b"Close, te", b"authorization")),
    *((b"content-length", value) for value in (b"3", b"4")),
    (b"transfer-encoding", b"chunked"),
    *((b"origin", value) for value in (b"https://mcp.example.com", b"http://127.0.0.1", b"https://evil.example.com")),
)


class _NoBody(BodyReader):
    async def read(self) -> bytes:
        return b""

    octets = b""
    is_settled = True


def _outcome(method: str, fields: Fields, resource: Resource, *, as_text: bool) -> str:
    headers = HeaderFields.of(fields)
    request = Request(http_method=method, headers=tuple(headers) if as_text else headers, address=None, body=_NoBody())
    try:
        check_door(request, resource)
    except Refused as fact:
        return f"{type(fact).__name__}: {fact.detail}"
    return "let in"


def test_who_was_let_in_before_changes_nothing() -> None:
    """A request is let in or refused, with the same words, as by a door that remembers nobody."""
    more: tuple[Fields, ...] = ([], *([field] for field in FIELDS))
    asked = [
        (method, [*first, *second, *third], resource)
        for resource, method in itertools.product(RESOURCES, ("GET", "POST", "PUT"))
        for first, second, third in itertools.product(more[:5], more[1:], more)
    ]
    fresh = [_outcome(*each, as_text=True) for each in asked]
    for _ in range(2):  # the second time, everybody who may was let in before
        assert [_outcome(*each, as_text=False) for each in asked] == fresh
    assert {outcome.partition(":")[0] for outcome in fresh} > {"let in", "RequestMalformed", "OriginRefused"}


SAID = (b"Bearer x", b"bearer x", b"DPoP x", b"dpop x", b"Basic x", b"DPoP", b"")


@given(st.lists(st.sampled_from([(b"authorization", said) for said in SAID] + [(b"dpop", b"proof"), (b"x", b"dpop ")])))
def test_a_nonce_is_never_forgotten(fields: Fields) -> None:
    """Whoever speaks of proofs is taken for somebody who may."""
    headers = HeaderFields.of(fields)
    assert _may_use_dpop(headers) or not uses_dpop(headers)
    assert not _may_use_dpop(HeaderFields.of([(b"authorization", b"Bearer x")]))
