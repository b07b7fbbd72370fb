"""What headers tell of a body that is not there: never anything else than the body would have told.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import CallKind, Headers
from perhop.errors import HeaderMismatch, MethodUnknownModern, OnlyPostAllowed, ParamsMalformed, RevisionUnsupported
from perhop.rules.mcp_headers import encode_mirrored
from perhop.rules.mcp_message import CAPABILITIES_KEY, VERSION_KEY, parse_message
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS, Era
from perhop.rules.mcp_mirrored import parse_mirrored

REVISION = "2026-07-28"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
TOLD = [name for name, rule in REQUESTS.items() if Era.MODERN in rule.eras and rule.is_told_by_headers]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def _headers(method: str | None, name: str | None = None, version: str | None = REVISION) -> Headers:
    written = (("mcp-protocol-version", version), ("mcp-method", method), ("mcp-name", name))
    return tuple((each, value) for each, value in written if value is not None)


@given(st.sampled_from(TOLD), NAMES)
def test_headers_tell_what_the_body_tells(method: str, name: str) -> None:
    """For every request that both can be read of, what it touches is the same, read from the one or the other."""
    params: dict[str, Any] = {"_meta": {VERSION_KEY: REVISION, CAPABILITIES_KEY: {}}}
    mirrored = None
    if method in NAMED:
        params[NAMED[method]], mirrored = name, encode_mirrored(name)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers = _headers(method, mirrored)
    whole = parse_message("POST", (*headers, ("content-type", "application/json")), body)
    told = parse_mirrored("POST", headers)
    seen = (told.kind, told.era, told.revision, told.method, told.targets, told.mirrored)
    assert seen == (whole.kind, whole.era, whole.revision, whole.method, whole.targets, whole.mirrored)


@pytest.mark.parametrize("method", NOTIFICATIONS)
def test_a_notification_touches_nothing(method: str) -> None:
    """Its method says that it is one."""
    told = parse_mirrored("POST", _headers(method))
    assert (told.kind, told.targets) == (CallKind.NOTIFICATION, ())


@pytest.mark.parametrize("method", ["subscriptions/listen", "completion/complete", "initialize", "ping", "x", ""])
def test_a_method_that_headers_do_not_tell_of_is_not_known(method: str) -> None:
    """What it touches is in the body, or it is of another era, or of none."""
    with pytest.raises(MethodUnknownModern):
        parse_mirrored("POST", _headers(method))


@pytest.mark.parametrize("version", [None, "2025-11-25", "2025-03-26", "2026-07-29", ""])
def test_a_revision_that_mirrors_nothing_is_not_read(version: str | None) -> None:
    """The refusal names the revisions that can be used here."""
    with pytest.raises(RevisionUnsupported) as refusal:
        parse_mirrored("POST", _headers("tools/list", version=version))
    assert refusal.value.supported == (REVISION,)


@pytest.mark.parametrize("http_method", ["GET", "DELETE", "PUT"])
def test_only_a_post_has_a_body(http_method: str) -> None:
    """The revision has one HTTP method."""
    with pytest.raises(OnlyPostAllowed):
        parse_mirrored(http_method, _headers("tools/list"))


@pytest.mark.parametrize(
    "headers",
    [
        _headers(None),
        _headers("tools/call"),
        _headers("tools/call", "=?base64?!?="),
        (*_headers("tools/call", "a"), ("mcp-name", "b")),
        (*_headers("tools/list"), ("mcp-method", "tools/list")),
        (*_headers("tools/list"), ("mcp-protocol-version", REVISION)),
        (*_headers("tools/list"), ("mcp-param-x", "1"), ("mcp-param-x", "2")),
    ],
)
def test_missing_and_repeated_headers_are_refused(headers: Headers) -> None:
    """What is not there, cannot be read, or came twice tells nothing."""
    with pytest.raises(HeaderMismatch):
        parse_mirrored("POST", headers)


def test_an_empty_name_names_nothing() -> None:
    """An empty text between the sentinels is no tool."""
    with pytest.raises((ParamsMalformed, HeaderMismatch)):
        parse_mirrored("POST", _headers("tools/call", "=?base64??="))
