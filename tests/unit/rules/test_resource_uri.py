"""Resource URIs: one resource has one spelling, and no other is repaired into it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perhop.errors import TargetInvalid
from perhop.rules.resource_uri import MAX_URI_LENGTH, parse_http_uri, parse_resource_uri

ACCEPTED = {
    "https://mcp.example.com/mcp": "https://mcp.example.com/mcp",
    "https://mcp.example.com/mcp/": "https://mcp.example.com/mcp/",
    "HTTPS://MCP.Example.COM/Mcp": "https://mcp.example.com/Mcp",
    "https://mcp.example.com/": "https://mcp.example.com",
    "https://mcp.example.com": "https://mcp.example.com",
    "https://mcp.example.com:443/mcp": "https://mcp.example.com/mcp",
    "http://mcp.example.com:80": "http://mcp.example.com",
    "http://mcp.example.com:443/": "http://mcp.example.com:443",
    "https://mcp.example.com:8443/mcp": "https://mcp.example.com:8443/mcp",
    "http://127.0.0.1:8420/mcp/calendar": "http://127.0.0.1:8420/mcp/calendar",
    "http://[::1]:9001/mcp": "http://[::1]:9001/mcp",
    "https://[2001:DB8::1]/": "https://[2001:db8::1]",
    "https://xn--bcher-kva.example/mcp": "https://xn--bcher-kva.example/mcp",
    "http://calendar_server:9001/mcp": "http://calendar_server:9001/mcp",
    "https://a.example/mcp?tenant=acme": "https://a.example/mcp?tenant=acme",
    "https://a.example/?tenant=acme": "https://a.example/?tenant=acme",
    "https://a.example/a%20b": "https://a.example/a%20b",
    "https://a.example/caf%C3%A9": "https://a.example/caf%C3%A9",
    "https://a.example/~user/v1.0/x..y": "https://a.example/~user/v1.0/x..y",
    "https://a.example/mcp:rooms@2": "https://a.example/mcp:rooms@2",
}

REFUSED = {
    "empty": "",
    "relative": "/mcp",
    "no scheme": "mcp.example.com/mcp",
    "no slashes": "https:mcp.example.com",
    "empty host": "https:///mcp",
    "host only a port": "https://:443/mcp",
    "websocket": "wss://a.example/mcp",
    "file": "file:///etc/passwd",
    "urn": "urn:example:mcp",
    "fragment": "https://a.example/mcp#x",
    "empty fragment": "https://a.example/mcp#",
    "empty query": "https://a.example/mcp?",
    "query without a path": "https://a.example?x=1",
    "user information": "https://good@evil.example/mcp",
    "user and password": "https://good:pass@evil.example/mcp",
    "empty user information": "https://@evil.example/mcp",
    "backslash before at": "https://good.example\\@evil.example/",
    "backslash": "https://a.example\\mcp",
    "tab": "https://a.example/\tmcp",
    "line break": "https://a.example/mcp\n",
    "carriage return": "https://a.example/mcp\r",
    "NUL": "https://a.example/mcp\x00",
    "delete": "https://a.example/mcp\x7f",
    "space before": " https://a.example/mcp",
    "space after": "https://a.example/mcp ",
    "space inside": "https://a.example/m cp",
    "dot segment": "https://a.example/./mcp",
    "dot segment at the end": "https://a.example/mcp/.",
    "double dot segment": "https://a.example/mcp/../admin",
    "double dot at the end": "https://a.example/mcp/..",
    "escaped dot segment": "https://a.example/mcp/%2E%2E/admin",
    "lower-case escaped dot segment": "https://a.example/mcp/%2e%2e/admin",
    "half-escaped dot segment": "https://a.example/mcp/.%2E/admin",
    "double slash": "https://a.example//mcp",
    "double slash inside": "https://a.example/mcp//x",
    "double slash at the end": "https://a.example/mcp//",
    "path parameter": "https://a.example/mcp;x",
    "path parameter before the slash": "https://a.example/mcp;x/y",
    "wildcard": "https://a.example/*",
    "needless escape": "https://a.example/%6Dcp",
    "needless lower-case escape": "https://a.example/%6dcp",
    "lower-case escape": "https://a.example/caf%c3%a9",
    "escaped slash": "https://a.example/mcp%2Fx",
    "escaped backslash": "https://a.example/mcp%5Cx",
    "escaped percent": "https://a.example/mcp%252Fx",
    "escaped semicolon": "https://a.example/mcp%3Bx",
    "escaped control": "https://a.example/mcp%0Ax",
    "escaped NUL": "https://a.example/mcp%00",
    "escaped invisible": "https://a.example/mcp%E2%80%AE",
    "escape that is not UTF-8": "https://a.example/caf%E9",
    "overlong escape": "https://a.example/%C0%AF",
    "bare percent": "https://a.example/100%",
    "half an escape": "https://a.example/%4",
    "escape of no digits": "https://a.example/%zz",
    "escape in the host": "https://a%2Eexample/mcp",
    "needless escape in the query": "https://a.example/mcp?x=%61",
    "non-ASCII host": "https://bücher.example/mcp",
    "homoglyph in the host": "https://ехample.com/mcp",
    "full-width host": "https://ａ.example/mcp",
    "ideographic full stop": "https://a。example/mcp",
    "non-ASCII path": "https://a.example/café",
    "trailing dot": "https://a.example./mcp",
    "empty label": "https://a..example/mcp",
    "label with a leading hyphen": "https://-a.example/mcp",
    "host too long": f"https://{'a.' * 126}example/mcp",
    "label too long": f"https://{'a' * 64}.example/mcp",
    "decimal IPv4": "http://2130706433/mcp",
    "hexadecimal IPv4": "http://0x7f000001/mcp",
    "short IPv4": "http://127.1/mcp",
    "octal IPv4": "http://0177.0.0.1/mcp",
    "hexadecimal octet": "http://0x7f.0.0.1/mcp",
    "IPv4 with a leading zero": "http://127.0.0.01/mcp",
    "IPv4 beyond range": "http://127.0.0.256/mcp",
    "IPv4 of five octets": "http://1.2.3.4.5/mcp",
    "long IPv6": "http://[0:0:0:0:0:0:0:1]/mcp",
    "IPv6 with leading zeros": "http://[2001:0db8::1]/mcp",
    "IPv6 compressed at the wrong place": "http://[2001:db8:0:0:1::1]/mcp",
    "IPv4-mapped IPv6": "http://[::ffff:127.0.0.1]/mcp",
    "IPv4-mapped IPv6 in hexadecimal": "http://[::ffff:7f00:1]/mcp",
    "IPv6 zone": "http://[fe80::1%eth0]/mcp",
    "escaped IPv6 zone": "http://[fe80::1%25eth0]/mcp",
    "IPvFuture": "http://[v1.x]/mcp",
    "IPv6 without brackets": "http://::1/mcp",
    "open bracket": "http://[::1/mcp",
    "empty port": "https://a.example:/mcp",
    "port zero": "https://a.example:0/mcp",
    "port with a leading zero": "https://a.example:0443/mcp",
    "port too large": "https://a.example:65536/mcp",
    "port of letters": "https://a.example:https/mcp",
    "port with a sign": "https://a.example:+443/mcp",
    "port of another script": "https://a.example:４４３/mcp",
    "two ports": "https://a.example:1:2/mcp",
    "brackets in the path": "https://a.example/[x]",
    "quote in the path": 'https://a.example/"x"',
    "two values": "https://a.example/mcp https://b.example/mcp",
}


@pytest.mark.parametrize(("text", "canonical"), ACCEPTED.items())
def test_canonical_form(text: str, canonical: str) -> None:
    """Only scheme and host are lowered, the default port and the lone slash dropped."""
    assert parse_resource_uri(text) == canonical


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_other_spellings_are_refused(text: str) -> None:
    """What is not canonical is refused, not repaired."""
    with pytest.raises(TargetInvalid):
        parse_resource_uri(text)


def test_length_is_bounded() -> None:
    """2,048 characters are a resource URI, one more is a refusal."""
    longest = "https://a.example/".ljust(MAX_URI_LENGTH, "x")
    assert parse_resource_uri(longest) == longest
    with pytest.raises(TargetInvalid, match="longer"):
        parse_resource_uri(longest + "x")


def test_siblings_children_and_parents_differ() -> None:
    """A sibling, a child, a parent and the slashed form of a path are other resources."""
    texts = ["https://a.example/mcp", "https://a.example/mcp/", "https://a.example/mcp-admin"]
    texts += ["https://a.example/mcp/x", "https://a.example", "http://a.example/mcp", "https://a.example/MCP"]
    assert len({parse_resource_uri(text) for text in texts}) == len(texts)


def test_parts_are_canonical() -> None:
    """The parts are those of the canonical form, with no port for the scheme's own."""
    uri = parse_http_uri("HTTP://[::1]:80/a?b=c")
    assert (uri.scheme, uri.host, uri.port, uri.path, uri.query) == ("http", "[::1]", None, "/a", "b=c")
    assert (uri.origin, str(uri)) == ("http://[::1]", "http://[::1]/a?b=c")


LABELS = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,5}", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
SEGMENTS = st.lists(st.text(alphabet="abZ09._~-!$&'()+,=:@%2Ff;*", min_size=0, max_size=5), max_size=3)


@st.composite
def uris(draw: st.DrawFn) -> str:
    """URIs close to the border between what is accepted and what is refused."""
    scheme = draw(st.sampled_from(["http", "https", "HTTP", "Https"]))
    port = draw(st.sampled_from(["", ":80", ":443", ":8420", ":", ":080"]))
    path = "".join(f"/{segment}" for segment in draw(SEGMENTS))
    query = draw(st.sampled_from(["", "?", "?x=1", "?X=%20"]))
    return f"{scheme}://{draw(HOSTS)}{port}{path}{query}"


def accepted(text: str) -> str | None:
    try:
        return parse_resource_uri(text)
    except TargetInvalid:
        return None


@given(uris())
def test_canonical_form_is_a_fixed_point(text: str) -> None:
    """The canonical form of a canonical form is itself."""
    canonical = accepted(text)
    assume(canonical is not None)
    assert canonical is not None
    assert parse_resource_uri(canonical) == canonical


def only_allowed_changes(text: str) -> str:
    """The text after the changes that the rule may make, made by hand and nothing else looked at."""
    scheme, _, rest = text.partition("://")
    end = min((rest.index(char) for char in "/?" if char in rest), default=len(rest))
    authority, tail = rest[:end].lower(), rest[end:]
    authority = authority.removesuffix({"http": ":80", "https": ":443"}[scheme.lower()])
    return f"{scheme.lower()}://{authority}{'' if tail == '/' else tail}"


@given(uris())
def test_nothing_else_is_changed(text: str) -> None:
    """An accepted text differs from its canonical form only in case of scheme and host, default port, lone slash."""
    canonical = accepted(text)
    assume(canonical is not None)
    assert canonical == only_allowed_changes(text)


@given(st.text(max_size=40).map(lambda tail: f"https://a.example/{tail}") | st.text(max_size=40))
def test_any_text_is_canonical_or_refused(text: str) -> None:
    """No text raises anything but the refusal, and what is accepted is visible ASCII."""
    canonical = accepted(text)
    assert canonical is None or all("!" <= char <= "~" for char in canonical)
