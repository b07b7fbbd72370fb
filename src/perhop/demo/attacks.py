"""The attacks of the demo, as a table: what is tried, where, and what a thief sees."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from perhop.control.local import carry_out
from perhop.demo.outcome import Outcome
from perhop.demo.scene import LEGACY, Scene, Seen, call
from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.verify import verify_journal
from perhop.storage.journal_reader import JournalSnapshot, copy_journal

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
LIST_EVENTS = call("list_events", {"day": "monday"})
BOOK_ROOM = call("book_room", {"room": "Ada", "day": "monday"})
FIND_ROOM = call("find_room", {"day": "monday", "people": 2})


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table. `reason` is the code that the refusing part must have recorded, None if it has none."""

    id: str
    title: str
    at: str
    expected: str
    reason: str | None
    run: Callable[[Scene], Awaitable[Seen]]

    async def try_on(self, scene: Scene) -> Outcome:
        """Try it, and hold what was seen against what must be seen."""
        seen = await self.run(scene)
        return Outcome(
            id=self.id,
            title=self.title,
            at=self.at,
            expected=self.expected,
            observed=seen.observed,
            reason=seen.reason,
            ok=seen.observed == self.expected and seen.reason == self.reason,
        )


async def _other_audience_at_gateway(scene: Scene) -> Seen:
    rooms = await scene.token("facility-bot", "rooms")
    return await scene.at_gateway("calendar", rooms.reveal(), LIST_EVENTS)


async def _other_audience_at_server(scene: Scene) -> Seen:
    rooms = await scene.token("facility-bot", "rooms")
    return await scene.at_server(scene.addresses.calendar_server, rooms.reveal(), LIST_EVENTS)


async def _behind_the_gateway(scene: Scene) -> Seen:
    own = await scene.token("trip-planner", "calendar")
    seen = await scene.at_server(scene.addresses.calendar_server, own.reveal(), LIST_EVENTS)
    asked = await scene.at_sts(
        "trip-planner", [("grant_type", "client_credentials"), ("resource", scene.addresses.calendar_server)]
    )
    return seen if asked.observed == "400 invalid_target" else Seen(f"STS: {asked.observed}", asked.reason)


async def _two_audiences(scene: Scene) -> Seen:
    resources = [("resource", scene.addresses.resource(name)) for name in ("calendar", "rooms")]
    return await scene.at_sts("trip-planner", [("grant_type", "client_credentials"), *resources])


async def _alg_none(scene: Scene) -> Seen:
    own = await scene.token("trip-planner", "calendar")
    header, payload, _ = own.reveal().split(".")
    return await scene.at_gateway("calendar", f"{_with_algorithm(header, 'none')}.{payload}.", LIST_EVENTS)


async def _hs256_public_key(scene: Scene) -> Seen:
    own = await scene.token("trip-planner", "calendar")
    header, payload, _ = own.reveal().split(".")
    published = (await scene.http.get(f"{scene.addresses.issuer}/jwks")).json()["keys"][0]
    signed = f"{_with_algorithm(header, 'HS256')}.{payload}"
    mac = hmac.new(json.dumps(published).encode(), signed.encode(), hashlib.sha256).digest()
    return await scene.at_gateway("calendar", f"{signed}.{_encode(mac)}", LIST_EVENTS)


async def _inbound_replayed_upstream(scene: Scene) -> Seen:
    assert scene.calendar.received is not None
    return await scene.at_gateway("rooms", scene.calendar.received.reveal(), FIND_ROOM)


async def _no_hop(scene: Scene) -> Seen:
    return await _exchange(scene, "calendar-server", f"{scene.addresses.issuer}/payroll")


async def _not_the_presenter(scene: Scene) -> Seen:
    return await _exchange(scene, "rooms-server", scene.addresses.resource("rooms"))


async def _exchange(scene: Scene, presenter: str, resource: str) -> Seen:
    assert scene.calendar.received is not None
    form = [
        ("grant_type", EXCHANGE),
        ("subject_token", scene.calendar.received.reveal()),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", resource),
    ]
    return await scene.at_sts(presenter, form)


async def _header_body_mismatch(scene: Scene) -> Seen:
    own = await scene.token("trip-planner", "calendar")
    message = call("plan_meeting", {"title": "x", "day": "monday", "people": 2})
    return await scene.at_gateway("calendar", own.reveal(), message, mcp_name="list_events")


async def _foreign_session(scene: Scene) -> Seen:
    own = await scene.token("trip-planner", "calendar")
    opening = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "demo", "version": "1"}},
    }
    opened = await scene.post(scene.addresses.resource("calendar"), own.reveal(), opening)
    session = opened.headers["mcp-session-id"]
    other = await scene.token("second-planner", "calendar")
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    return await scene.at_gateway(
        "calendar", other.reveal(), message, mcp_session_id=session, mcp_protocol_version=LEGACY
    )


async def _revoked_parent_live_child(scene: Scene) -> Seen:
    assert scene.calendar.received is not None
    child = await scene.source("calendar-server").exchange(
        scene.calendar.received, resource=scene.addresses.resource("rooms"), scopes=["rooms:read"]
    )
    parent = await scene.token("trip-planner", "calendar")
    alive = await scene.at_gateway("rooms", child.raw.reveal(), FIND_ROOM)
    if alive.observed != "200":
        return Seen(f"before the revocation: {alive.observed}", alive.reason)
    jti = json.loads(base64.urlsafe_b64decode(parent.reveal().split(".")[1] + "=="))["jti"]
    await carry_out(scene.settings, "revoke", {"kind": "token", "value": jti, "why": "demo"})
    return await scene.at_gateway("rooms", child.raw.reveal(), FIND_ROOM)


async def _call_token_twice(scene: Scene) -> Seen:
    return await scene.at_server(scene.addresses.booking_server, await _used_call_token(scene), BOOK_ROOM)


async def _call_token_other_arguments(scene: Scene) -> Seen:
    other = call("book_room", {"room": "Grace", "day": "monday"})
    return await scene.at_server(scene.addresses.booking_server, await _used_call_token(scene), other)


async def _used_call_token(scene: Scene) -> str:
    """The call token that the booking server got for BOOK_ROOM."""
    own = await scene.token("facility-bot", "booking")
    await scene.at_gateway("booking", own.reveal(), BOOK_ROOM)
    assert scene.booking.received is not None
    return scene.booking.received.reveal()


async def _journal_tampered(scene: Scene) -> Seen:
    """Change one byte of one record in a copy of the file, and verify the copy with the public key alone."""
    copy = scene.folder / "tampered.db"
    copy_journal(scene.settings.journal_path, copy)
    record = scene.reader.tail(scene.reader.size() // 2)[0]
    octets = copy.read_bytes()
    before = record.body.encode()
    assert octets.count(before) == 1
    copy.write_bytes(octets.replace(before, before.replace(b'"time":"2', b'"time":"3')))
    with JournalSnapshot(copy) as snapshot:
        found = verify_journal(snapshot, load_vkey(scene.settings.keys_dir / VKEY_FILE))
    copy.unlink()
    if not found.ok and found.first_bad == record.seq:
        return Seen("the changed record is named", None)
    return Seen(f"ok: {found.ok}, first bad: {found.first_bad}", None)


def _with_algorithm(header: str, algorithm: str) -> str:
    members = json.loads(base64.urlsafe_b64decode(header + "=="))
    return _encode(json.dumps({**members, "alg": algorithm}, separators=(",", ":")).encode())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


ATTACKS = (
    Attack(
        "other-audience-at-gateway",
        "a token for rooms at the calendar, through the gateway",
        "gateway",
        "401",
        "audience.mismatch",
        _other_audience_at_gateway,
    ),
    Attack(
        "other-audience-at-server",
        "a token for rooms at the calendar server, past the gateway",
        "server",
        "401",
        "audience.mismatch",
        _other_audience_at_server,
    ),
    Attack(
        "behind-the-gateway",
        "the agent's own token at the calendar server, and asking for one that is good there",
        "server",
        "401",
        "audience.mismatch",
        _behind_the_gateway,
    ),
    Attack(
        "two-audiences",
        "one token for the calendar and for rooms",
        "sts",
        "400 invalid_target",
        "audience.multiple",
        _two_audiences,
    ),
    Attack("alg-none", "a token without a signature", "gateway", "401", "token.signature", _alg_none),
    Attack(
        "hs256-public-key",
        "a token signed with our public key as an HMAC secret",
        "gateway",
        "401",
        "token.signature",
        _hs256_public_key,
    ),
    Attack(
        "inbound-replayed-upstream",
        "the calendar server passes the token that it got on to rooms",
        "gateway",
        "401",
        "audience.mismatch",
        _inbound_replayed_upstream,
    ),
    Attack(
        "no-hop",
        "the calendar server exchanges for payroll, where no hop leads",
        "sts",
        "400 invalid_target",
        "hop.unknown",
        _no_hop,
    ),
    Attack(
        "not-the-presenter",
        "the rooms server exchanges a token that was sent to the calendar server",
        "sts",
        "400 invalid_request",
        "presenter.mismatch",
        _not_the_presenter,
    ),
    Attack(
        "header-body-mismatch",
        "a header that names a harmless tool over a body that calls another",
        "gateway",
        "400 -32020",
        "header.mismatch",
        _header_body_mismatch,
    ),
    Attack(
        "foreign-session",
        "another agent's session with a token of one's own",
        "gateway",
        "404",
        "session.mismatch",
        _foreign_session,
    ),
    Attack(
        "revoked-parent-live-child",
        "a token that came from one that was revoked",
        "gateway",
        "401",
        "token.revoked",
        _revoked_parent_live_child,
    ),
    Attack(
        "journal-tampered",
        "one byte of one record changed",
        "journal",
        "the changed record is named",
        None,
        _journal_tampered,
    ),
    Attack(
        "call-token-twice",
        "a token for one call, used twice",
        "server",
        "401",
        "token.replayed",
        _call_token_twice,
    ),
    Attack(
        "call-token-other-arguments",
        "a token for one call, with other arguments",
        "server",
        "401",
        "call.mismatch",
        _call_token_other_arguments,
    ),
)
