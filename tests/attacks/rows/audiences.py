"""Audiences: tokens for elsewhere, and other spellings of a resource, at doors, at the STS and in the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perhop.errors import SettingsError
from tests.attacks.configuration import NOTES
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import Target, asking, bearer, refused, said, sts, tried
from tests.attacks.world import World, claims_in
from tests.support.configuration import load_example
from tests.support.forge import ABSENT

MISMATCH, MULTIPLE, MISSING = (refused(f"audience.{name}") for name in ("mismatch", "multiple", "missing"))
MALFORMED = refused("token.malformed")
TARGET = refused("audience.mismatch", "400 invalid_target")
REFUSED_TO_LOAD = Expected("refused", None, records=0)
EXAMPLE_URI = "http://127.0.0.1:8420/mcp/calendar"
CONFIGURED = "https://calendar.example.com/mcp"

Spell = Callable[[str], Mapping[str, str]]


def spelled(
    slug: str, title: str, source: str, spell: Spell, *, token: Expected = MISMATCH, is_writable: bool = False
) -> Row:
    """Other spellings of a resource: as audience of a token, as `resource` of a request, as `uri` of a configuration.

    `is_writable` spellings are good URIs, though not of the resource: a configuration may hold them.
    """
    row = bearer(
        slug, title, source, lambda t: {name: t.claiming(aud=uri) for name, uri in spell(t.audience).items()}, token
    )
    attempts = {**row.attempts, Door.STS: asking(lambda world: _asked(world, spell(NOTES)))}
    expected = {**row.expected, Door.STS: TARGET}
    if not is_writable:
        attempts[Door.CONFIG] = _configured(spell(CONFIGURED))
        expected[Door.CONFIG] = REFUSED_TO_LOAD
    return Row(slug=slug, title=title, source=source, attempts=attempts, expected=expected)


def _asked(world: World, uris: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: [("grant_type", "client_credentials"), ("resource", uri), *world.proof("planner")]
        for name, uri in uris.items()
    }


def _configured(uris: Mapping[str, str]) -> Any:
    async def attempt(_: World) -> dict[str, Seen]:
        return {name: said(_loading(uri)) for name, uri in uris.items()}

    return attempt


def _loading(uri: str) -> str:
    quoted = "".join(char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08X}" for char in uri)
    with TemporaryDirectory() as folder:
        try:
            load_example(Path(folder), (f"uri: {EXAMPLE_URI}", f'uri: "{quoted}"'))
        except SettingsError as error:
            # What is no text is refused before anybody knows which setting it is: the line says it.
            names_it = "`resources.calendar.uri`" in error.problem or ": not text: " in error.problem
            return "refused" if names_it else error.problem
    return "loaded"


def _with(uri: str, *, host: str | None = None, path: str | None = None, scheme: str | None = None) -> str:
    match = re.fullmatch(r"(\w+)://([^/:]+)((?::\d+)?)(.*)", uri)
    assert match is not None
    return f"{scheme or match[1]}://{host or match[2]}{match[3]}{path if path is not None else match[4]}"


def _path(uri: str) -> str:
    return "/" + uri.split("/", 3)[3]


def _port(uri: str, port: str) -> str:
    return re.sub(r"(//[^/:]+)(:\d+)?", rf"\g<1>{port}", uri, count=1)


def _relatives(uri: str) -> dict[str, str]:
    return {
        "a slash more": f"{uri}/",
        "sibling": f"{uri}-admin",
        "child": f"{uri}/x",
        "parent": uri.rpartition("/")[0],
        "a query": f"{uri}?x=y",
        "prefix": uri[:-1],
        "another case": uri.rpartition("/")[0] + "/" + uri.rpartition("/")[2].upper(),
    }


def _patterns(target: Target) -> dict[str, str]:
    uri = target.audience
    texts = {
        "star": "*",
        "any": ".*",
        "glob": f"{uri}*",
        "expression": f"^{re.escape(uri)}$",
        "tail": uri[1:],
        "extended before": f"x{uri}",
        "two in one": f"{uri} https://other.example.com",
        "comma": f"{uri},",
        "path": _path(uri),
    }
    return {name: target.claiming(aud=text) for name, text in texts.items()}


def _percent(uri: str) -> dict[str, str]:
    path = _path(uri)
    return {
        "needless": _with(uri, path=path.replace("/mcp", "/%6Dcp")),
        "lower case": _with(uri, path=f"{path}%c3%a9"),
        "slash": _with(uri, path=f"{path}%2Fx"),
        "double": _with(uri, path=path.replace("/mcp", "/%256Dcp")),
        "dots": _with(uri, path=f"{path}/%2E%2E/admin"),
        "cut": _with(uri, path=f"{path}%"),
        "NUL": _with(uri, path=f"{path}%00"),
    }


def _dots(uri: str) -> dict[str, str]:
    path = _path(uri)
    odd = {
        "to a sibling": f"{path}/../admin",
        "from a sibling": f"/x/..{path}",
        "dot before": f"/.{path}",
        "dot after": f"{path}/.",
        "two slashes before": f"/{path}",
        "two slashes after": f"{path}//",
        "parameter": f"{path};x",
        "empty parameter": f"{path};",
    }
    return {name: _with(uri, path=each) for name, each in odd.items()}


def _authorities(uri: str) -> dict[str, str]:
    return {
        "user": uri.replace("://", "://user@"),
        "user and password": uri.replace("://", "://good:x@"),
        "empty user": uri.replace("://", "://@"),
        "ours as user": uri.replace("://", "://" + uri.split("/")[2] + "@evil.example/"),
        "backslash": uri.replace("://", "://good\\@"),
        "backslash in the path": uri + "\\x",
        "backslashes for slashes": uri.replace("//", "\\\\"),
    }


def _whites(uri: str) -> dict[str, str]:
    return {
        "before": f" {uri}",
        "after": f"{uri} ",
        "inside": uri.replace("/mcp", "/m cp"),
        "one slash": uri.replace("://", ":/"),
        "no slash": uri.replace("://", ":"),
        "three slashes": uri.replace("://", ":///"),
        "no scheme": uri.partition(":")[2],
    }


def _controls(uri: str) -> dict[str, str]:
    marks = {"tab": "\t", "CR": "\r", "LF": "\n", "NUL": "\0", "no-break space": "\xa0", "zero width": "\u200b"}
    return {name: f"{uri}{mark}x" for name, mark in marks.items()} | {"tab inside": uri.replace("mcp", "m\tcp")}


def _hosts(uri: str) -> dict[str, str]:
    return {
        "U-label": _with(uri, host="nötes.example.com"),
        "homoglyph": _with(uri, host="nоtes.example.com"),
        "full width": _with(uri, host="ｎotes.example.com"),
        "ideographic dot": _with(uri, host="notes。example.com"),
        "trailing dot": _with(uri, host="notes.example.com."),
        "no host": _with(uri, host=":"),
        "empty label": _with(uri, host="notes..example.com"),
    }


def _addresses(uri: str) -> dict[str, str]:
    odd = (
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::1%25lo]",
        "1.2.3.256",
    )
    return {host: _with(uri, host=host) for host in odd}


def _schemes(uri: str) -> dict[str, str]:
    other = "http" if uri.startswith("https") else "https"
    return {scheme: _with(uri, scheme=scheme) for scheme in (other, "ws", "wss", "ftp", "file", "urn", "javascript")}


def _ports(uri: str) -> dict[str, str]:
    return {
        port: _port(uri, port) for port in (":", ":0", ":00443", ":0443", ":65536", ":-1", ":+443", ":443x", ":4 43")
    }


async def _canonicalised(world: World) -> dict[str, Seen]:
    """Spellings that RFC 3986 calls the same are taken as input, and issued as the one registered spelling."""
    uris = {
        "scheme": NOTES.replace("https", "HTTPS"),
        "host": NOTES.replace("notes", "Notes").replace("com", "COM"),
        "default port": _port(NOTES, ":443"),
        "all": "HTTPS://NOTES.example.com:443/mcp",
    }
    sights = await asking(lambda w: _asked(w, uris))(world)
    for seen in sights.values():
        assert seen.answer is not None
        assert claims_in(seen.answer.message["access_token"])["aud"] == NOTES
    return dict(sights)


def _registered_twice(_: World) -> Any:
    rooms = "uri: http://127.0.0.1:8420/mcp/rooms"
    uris = {
        "the same": EXAMPLE_URI,
        "another case": EXAMPLE_URI.replace("http", "HTTP"),
        "an upstream's": "http://127.0.0.1:9001/mcp",
        "the issuer": "http://127.0.0.1:8420",
        "the records'": "http://127.0.0.1:8420/records",
        "a canary's": "http://127.0.0.1:8420/canary/x",
        "the token endpoint's": "http://127.0.0.1:8420/token",
    }

    async def attempt() -> dict[str, Seen]:
        return {name: said(_changed((rooms, f"uri: {uri}"))) for name, uri in uris.items()}

    return attempt()


def _changed(*changes: tuple[str, str]) -> str:
    with TemporaryDirectory() as folder:
        try:
            load_example(Path(folder), *changes)
        except SettingsError:
            return "refused"
    return "loaded"


async def _of_another_resource(target: Target) -> dict[str, str]:
    world = target.world
    received = await world.received(await world.token())
    answer = await world.ask(world.exchange("calendar-server", received, world.at.uri("rooms")))
    return {
        "same client": await world.token("planner", "scripted"),
        "no gateway": await world.token("planner", "notes"),
        "got along a hop": answer.message["access_token"],
        "other tenant": target.claiming(aud=world.at.uri("rooms"), tenant="beta"),
        "other tenant, our tenant's name": target.claiming(aud=world.at.uri("rooms"), tenant="acme"),
    }


async def _of_the_other_side(target: Target) -> str:
    """At the gateway the token that the server got, at the server the token that the gateway got."""
    world = target.world
    inbound = await world.token()
    at_gateway = target.audience == world.entrance(Door.GATEWAY).audience
    return await world.received(inbound) if at_gateway else inbound


def _for_somebody_else(target: Target) -> dict[str, str]:
    issuer = target.world.issuer
    names = ("planner", "calendar-server", "gateway:calendar", "calendar")
    uris = {
        "issuer": "",
        "issuer and slash": "/",
        "token endpoint": "/token",
        "records": "/records",
        "canary": "/canary/x",
    }
    return {name: target.claiming(aud=name) for name in names} | {
        name: target.claiming(aud=issuer + path) for name, path in uris.items()
    }


ROWS = (
    bearer(
        "token-of-another-resource",
        "a token that is good, elsewhere: another resource, another tenant",
        "RFC 9700 §4.10.2; MCP authorization",
        _of_another_resource,
        MISMATCH,
    ),
    bearer(
        "token-of-the-other-side",
        "a hop token at the gateway, and the caller's own token past it",
        "RFC 9700 §4.10.2; MCP token passthrough",
        _of_the_other_side,
        MISMATCH,
    ),
    bearer(
        "two-audiences",
        "`aud` as a list, also of one, also empty",
        "RFC 7519 §4.1.3",
        lambda t: {
            "ours first": t.claiming(aud=[t.audience, "https://other.example.com"]),
            "ours last": t.claiming(aud=["https://other.example.com", t.audience]),
            "one": t.claiming(aud=[t.audience]),
            "none": t.claiming(aud=[]),
            "nested": t.claiming(aud=[[t.audience]]),
        },
        MULTIPLE,
    ),
    bearer(
        "no-audience",
        "`aud` missing, null or empty",
        "RFC 9068 §2.2",
        lambda t: {
            "missing": t.claiming(aud=ABSENT),
            "null": t.claiming(aud=None),
            "empty": t.claiming(aud=""),
            "look-alike": t.claiming(aud=ABSENT, Aud=t.audience),
            "resource": t.claiming(aud=ABSENT, resource=t.audience),
        },
        MISSING,
    ),
    bearer(
        "audience-that-is-no-text",
        "`aud` as an object, a number, a boolean",
        "RFC 9068 §2.2",
        lambda t: {
            "object": t.claiming(aud={"uri": t.audience}),
            "number": t.claiming(aud=1),
            "zero": t.claiming(aud=0),
            "false": t.claiming(aud=False),
        },
        MALFORMED,
    ),
    bearer(
        "audience-as-pattern",
        "`aud` as a pattern, a part or an extension of ours",
        "CVE-2024-53861",
        _patterns,
        MISMATCH,
    ),
    bearer(
        "audience-of-a-client",
        "`aud` as a client id, the issuer, or what nothing is registered at",
        "RFC 8725 §3.9",
        _for_somebody_else,
        MISMATCH,
    ),
    spelled(
        "neighbouring-path",
        "a sibling, child or parent of the resource's path, or a slash more",
        "RFC 8707 §2; CVE-2026-9800",
        _relatives,
        is_writable=True,
    ),
    spelled(
        "percent-encoded-resource", "percent-encoding that is needless, hidden or double", "RFC 3986 §6.2.2", _percent
    ),
    spelled("dot-segments-in-the-resource", "`..`, `.`, `//` and `;` in the path", "RFC 3986 §6.2.2.3", _dots),
    spelled("misleading-authority", "user information and backslashes before the host", "RFC 3986 §7.6", _authorities),
    spelled("white-space-in-the-resource", "spaces, or slashes that are missing or too many", "RFC 3986 §3", _whites),
    spelled(
        "control-characters-in-the-resource",
        "control and invisible characters",
        "RFC 3986 §2",
        _controls,
        token=MALFORMED,
    ),
    spelled("confusable-host", "a host that looks or resolves like ours", "RFC 5890 §2.3; RFC 3986 §3.2.2", _hosts),
    spelled("odd-address", "an IP address in a second spelling", "RFC 3986 §7.4", _addresses),
    spelled("other-scheme", "http for https, WebSocket, file", "RFC 8707 §2", _schemes),
    spelled("odd-port", "an empty, zero-padded or impossible port", "RFC 3986 §6.2.3", _ports),
    spelled(
        "fragment-in-the-resource",
        "a fragment, also an empty one",
        "RFC 8707 §2",
        lambda uri: {"fragment": f"{uri}#x", "empty": f"{uri}#", "query empty": f"{uri}?"},
    ),
    bearer(
        "upper-case-audience",
        "an audience in another case than the one that is issued",
        "MCP authorization",
        lambda t: {
            "scheme": t.claiming(aud=t.audience.replace("http", "HTTP")),
            "port named": t.claiming(aud=_with(t.audience, host="127.0.0.1") + "?"),
        },
        MISMATCH,
    ),
    tried(
        "canonical-on-input",
        "capitals and default ports come in, one spelling goes out",
        "RFC 3986 §6.2; MCP authorization",
        Door.STS,
        _canonicalised,
        Expected("200", None, records=1, passed=1),
    ),
    sts(
        "unregistered-resource",
        "a resource that nobody registered, or that only the gateway may name",
        "RFC 8707 §2",
        lambda world: _asked(
            world,
            {
                "unknown": "https://shadow.example.com/mcp",
                "upstream": f"http://{world.at.calendar_past}/mcp",
                "another client's": world.at.uri("rooms"),
                "the issuer": world.issuer,
            },
        ),
        TARGET,
    ),
    sts(
        "two-resources",
        "`resource` twice, also twice the same",
        "RFC 8707 §2",
        lambda world: {
            name: [
                ("grant_type", "client_credentials"),
                ("resource", world.at.uri("calendar")),
                ("resource", world.at.uri(second)),
                *world.proof("planner"),
            ]
            for name, second in (("other", "scripted"), ("same", "calendar"))
        },
        refused("audience.multiple", "400 invalid_target"),
    ),
    sts(
        "no-resource",
        "no `resource`, or an `audience` instead",
        "RFC 8707 §2",
        lambda world: {
            "none": [("grant_type", "client_credentials"), *world.proof("planner")],
            "empty": [("grant_type", "client_credentials"), ("resource", ""), *world.proof("planner")],
        },
        refused("audience.missing", "400 invalid_target"),
    ),
    sts(
        "audience-parameter-alone",
        "`audience` in the place of `resource`",
        "RFC 8693 §2.1",
        lambda world: [
            ("grant_type", "client_credentials"),
            ("audience", world.at.uri("calendar")),
            *world.proof("planner"),
        ],
        TARGET,
    ),
    tried(
        "resource-registered-twice",
        "two resources of one URI, or one that is another thing's",
        "RFC 8707 §2; MAESTRO",
        Door.CONFIG,
        _registered_twice,
        REFUSED_TO_LOAD,
    ),
)
