"""OCSF 1.8.0: each record as one event of the Open Cybersecurity Schema Framework, as one line of JSON.

What has no place in the schema stands under `unmapped`. `raw_data_hash` is the SHA-256 of the record's canonical form,
and `metadata.sequence` its number: an event can be followed back to the record that a checkpoint covers.

As in https://schema.ocsf.io/1.8.0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from perhop.journal.query import Entry
from perhop.journal.record import Event

VERSION = "1.8.0"

AUTHENTICATION, AUTHORIZE_SESSION, ENTITY_MANAGEMENT, API_ACTIVITY, DETECTION_FINDING = 3002, 3003, 3004, 6003, 2004

DETECTED = {
    "audience.mismatch": "A token was presented at a resource that it is not for",
    "token.replayed": "A token that is good once was presented again",
    "token.revoked": "A revoked token was presented",
    "code.replayed": "An authorization code was presented again",
    "refresh.reused": "A refresh token was presented again",
    "assertion.replayed": "A client assertion was presented again",
    "session.mismatch": "A session was presented by somebody whom it is not for",
    "presenter.mismatch": "A token was exchanged by somebody whom it is not addressed to",
}
"""Refusals that only a stolen or misrouted credential explains: reason -> title of the finding."""

_INFORMATIONAL, _LOW, _HIGH = 1, 2, 4
_SUCCESS, _FAILURE, _OTHER = 1, 2, 99
_ALLOWED, _DENIED = 1, 2
_BLOCKED = 2
_SHA_256 = 3
_USER_OTHER = 99
_OTHER_ACTIVITY = 99

_ENTITY_ACTIVITIES = {
    "added": 1,
    "begun": 1,
    "registered": 1,
    "approved": 3,
    "rejected": 4,
    "lapsed": 4,
    "enabled": 8,
    "adopted": 8,
    "disabled": 9,
    "active": 10,
    "revoked": 11,
    "superseded": 11,
    "ended": 11,
    "quarantined": 12,
}
"""What an operator's change is called -> Create, Update, Delete, Enable, Disable, Activate, Deactivate, Suspend."""

_UPDATE = 3
_DEACTIVATE = 11
_MAPPED = frozenset({"seq", "time", "event", "reason", "txn", "in", "call", "result", "request", "tenant", "resource"})


def render_ocsf(entry: Entry, *, origin: str, product_version: str) -> str:
    """The event of a record, without the end of its line. `origin` is the journal's name in its checkpoints."""
    event = ocsf_event(entry, origin=origin, product_version=product_version)
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def ocsf_event(entry: Entry, *, origin: str, product_version: str) -> dict[str, Any]:
    """One record as an OCSF event; a record that is no JSON any more becomes an `Other` event that says so."""
    make = _CLASSES.get(entry.text("event") or "", _entity)
    # A canary that a server refused is the gateway's own test, and no finding; nor is a question.
    is_question = entry.text("event") == Event.ACCESS_EVALUATED
    if entry.text("reason") in DETECTED and "self_test" not in entry.part("about") and not is_question:
        make = _finding
    made = make(entry)
    class_uid, activity = made.pop("class_uid"), made.pop("activity_id")
    profiles = [*(("security_control",) if "action_id" in made else ()), *(("trace",) if "trace" in made else ())]
    return {
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "time": _milliseconds(entry),
        **made,
        "metadata": _metadata(entry, origin, product_version, profiles),
        "raw_data_hash": {"algorithm_id": _SHA_256, "value": hashlib.sha256(entry.body.encode()).hexdigest()},
        "unmapped": {key: value for key, value in entry.fields.items() if key not in _MAPPED},
    }


def _issued(entry: Entry) -> dict[str, Any]:
    """A token is a session with privileges at one resource."""
    issued = entry.part("out")
    session = {"uid": _text(issued.get("jti")), "expiration_time": _seconds(issued.get("exp"))}
    return {
        "class_uid": AUTHORIZE_SESSION,
        "activity_id": 1,
        "severity_id": _INFORMATIONAL,
        "status_id": _SUCCESS,
        "user": _user(issued.get("sub") or entry.text("client")),
        "privileges": str(issued.get("scope", "")).split(),
        "session": {name: value for name, value in session.items() if value is not None},
        "dst_endpoint": {"svc_name": _text(issued.get("aud"))},
        **_from(entry),
    }


def _token_refused(entry: Entry) -> dict[str, Any]:
    return {
        "class_uid": AUTHENTICATION,
        "activity_id": 3,
        "severity_id": _LOW,
        **_failure(entry),
        "user": _user(entry.part("in").get("sub") or entry.text("client")),
        "service": {"name": entry.text("resource") or "token endpoint"},
        **_denied(entry),
        **_from(entry),
    }


def _call(entry: Entry) -> dict[str, Any]:
    """A call of an MCP server: permitted, ended, refused, or admitted by the server itself."""
    call, inbound = entry.part("call"), entry.part("in")
    is_refusal = entry.text("event") in (Event.CALL_REFUSED, Event.SESSION_REFUSED)
    made: dict[str, Any] = {
        "class_uid": API_ACTIVITY,
        "activity_id": _OTHER_ACTIVITY,
        "activity_name": _text(call.get("method")),
        "severity_id": _LOW if is_refusal else _INFORMATIONAL,
        **(_failure(entry) if is_refusal else _outcome(entry)),
        "actor": _actor(entry),
        "api": {
            "operation": _text(call.get("method")),
            "service": {"name": entry.text("resource") or "unknown"},
            "request": {"uid": _text(call.get("id"))},
        },
        "src_endpoint": _endpoint(entry),
        **(_denied(entry) if is_refusal else {"action_id": _ALLOWED, "disposition_id": _ALLOWED}),
        **_agent(entry),
    }
    if call.get("name") is not None:
        made["resources"] = [{"name": _text(call["name"]), "type": "MCP tool, prompt or resource"}]
    if (txn := entry.text("txn")) is not None:
        made["trace"] = {"uid": hashlib.sha256(txn.encode()).hexdigest()[:32]}
    if inbound.get("aud") is not None:
        made["dst_endpoint"] = {"svc_name": _text(inbound["aud"])}
    return made


def _access(entry: Entry) -> dict[str, Any]:
    """A server asked what would be decided, or what would be permitted; it acts on the answer itself."""
    call, about = entry.part("call"), entry.part("about")
    effect = entry.part("decision").get("effect")
    is_refused = entry.text("event") == Event.ACCESS_REFUSED
    operation = "search" if about else "request" if is_refused else "evaluation"
    made: dict[str, Any] = {
        "class_uid": API_ACTIVITY,
        "activity_id": _OTHER_ACTIVITY,
        "activity_name": f"access {operation}",
        "severity_id": _LOW if is_refused else _INFORMATIONAL,
        **(_failure(entry) if is_refused else {"status_id": _SUCCESS, "status": str(effect or "answered")}),
        "actor": {"user": _user(entry.text("client"))},
        "api": {
            "operation": f"access {operation}",
            "service": {"name": entry.text("resource") or "unknown"},
            "request": {"uid": _text(call.get("id"))},
        },
        "src_endpoint": _endpoint(entry),
        **_agent(entry),
    }
    if effect == "deny" or is_refused:
        made |= _denied(entry)
    elif effect == "permit":
        made |= {"action_id": _ALLOWED, "disposition_id": _ALLOWED}
    if call:
        asked = {"method": call.get("method"), "caller": entry.part("in")}
        name = call.get("name") or entry.text("resource")
        made["resources"] = [{"name": _text(name), "type": "MCP tool, prompt, resource or server", "data": asked}]
    return made


def _finding(entry: Entry) -> dict[str, Any]:
    """A refusal that speaks for a credential in the wrong hands."""
    reason = entry.text("reason") or ""
    jti = entry.part("in").get("jti") or entry.part("in").get("unverified")
    return {
        "class_uid": DETECTION_FINDING,
        "activity_id": 1,
        "severity_id": _HIGH,
        "status_id": 1,  # a new finding
        "is_alert": True,
        "finding_info": {"uid": f"{reason}/{entry.seq}", "title": DETECTED[reason], "types": [reason]},
        "message": DETECTED[reason],
        "evidences": [{"actor": _actor(entry), "src_endpoint": _endpoint(entry), "data": {"token": _text(jti)}}],
        "action_id": _DENIED,
        "disposition_id": _BLOCKED,
    }


def _suppressed(entry: Entry) -> dict[str, Any]:
    """Refusals of strangers that were counted instead of recorded one by one."""
    count = entry.part("about").get("count")
    return {
        "class_uid": API_ACTIVITY,
        "activity_id": _OTHER_ACTIVITY,
        "activity_name": "refused, counted",
        "severity_id": _LOW,
        **_failure(entry),
        **({"count": count} if isinstance(count, int) else {}),
        "actor": {"user": _user(None)},
        "api": {"operation": "refused, counted"},
        "src_endpoint": _endpoint(entry),
        **_denied(entry),
    }


_NAMES = ("value", "name", "kid", "account", "task", "client", "resource", "version", "file")
"""What of a change names its object: the first that is there."""


def _entity(entry: Entry) -> dict[str, Any]:
    """Something that an operator, or Perhop itself, changed."""
    about = entry.part("about")
    event = entry.text("event") or "unreadable record"
    is_revocation = event == Event.REVOCATION
    change = about.get("change") or about.get("state")
    name = next((about[key] for key in _NAMES if about.get(key)), event)
    return {
        "class_uid": ENTITY_MANAGEMENT,
        "activity_id": _DEACTIVATE if is_revocation else _ENTITY_ACTIVITIES.get(str(change), _UPDATE),
        "severity_id": _INFORMATIONAL,
        "status_id": _SUCCESS,
        "entity": {"name": _text(name), "type": str(about.get("kind") or event.partition(".")[0])},
        "comment": str(about.get("why") or change or event),
        "actor": {"user": _user(about.get("by"))},
    }


_CLASSES: Mapping[str, Callable[[Entry], dict[str, Any]]] = {
    Event.TOKEN_ISSUED: _issued,
    Event.TOKEN_REFUSED: _token_refused,
    Event.CALL_PERMITTED: _call,
    Event.CALL_ENDED: _call,
    Event.CALL_REFUSED: _call,
    Event.CALL_ADMITTED: _call,
    Event.SESSION_REFUSED: _call,
    Event.ACCESS_EVALUATED: _access,
    Event.ACCESS_SEARCHED: _access,
    Event.ACCESS_REFUSED: _access,
    Event.JOURNAL_SUPPRESSED: _suppressed,
}


def _metadata(entry: Entry, origin: str, product_version: str, profiles: list[str]) -> dict[str, Any]:
    jti = entry.part("in").get("jti")
    correlation = entry.text("txn") or (jti if isinstance(jti, str) else None)
    optional = {"tenant_uid": entry.text("tenant"), "correlation_uid": correlation, "event_code": entry.text("event")}
    return {
        "version": VERSION,
        "product": {"name": "Perhop", "vendor_name": "Perhop", "version": product_version},
        "uid": f"{origin}/{entry.seq}",
        "sequence": entry.seq,
        "log_name": origin,
        "profiles": profiles,
        **{name: value for name, value in optional.items() if value},
    }


def _failure(entry: Entry) -> dict[str, Any]:
    reason = entry.text("reason")
    return {"status_id": _FAILURE, **({"status_code": reason} if reason else {})}


def _outcome(entry: Entry) -> dict[str, Any]:
    """How a permitted call ended; of one that has just been permitted nothing is known yet."""
    result = entry.part("result")
    if entry.text("event") != Event.CALL_ENDED:
        was_permitted = entry.text("event") == Event.CALL_PERMITTED
        return {"status_id": _OTHER, "status": "permitted" if was_permitted else "admitted"}
    error = result.get("error")
    duration = result.get("duration_ms")
    return {
        "status_id": _FAILURE if error else _SUCCESS,
        "status_code": _text(error or result.get("status")),
        **({"duration": duration} if isinstance(duration, int) else {}),
    }


def _denied(entry: Entry) -> dict[str, Any]:
    """What refused, for the security control profile."""
    decision = entry.part("decision")
    policies = decision.get("policies")
    named = [str(each) for each in policies] if isinstance(policies, list) else []
    version = str(decision.get("policy_version", ""))
    authorizations = [{"decision": "deny", "policy": {"uid": each, "version": version}} for each in named]
    made: dict[str, Any] = {"action_id": _DENIED, "disposition_id": _BLOCKED}
    return {**made, "authorizations": authorizations} if authorizations else made


def _actor(entry: Entry) -> dict[str, Any]:
    inbound = entry.part("in")
    actor: dict[str, Any] = {"user": _user(inbound.get("sub") or entry.text("client"))}
    if (agent := inbound.get("agent") or entry.text("client")) is not None:
        actor["app_uid"] = _text(agent)
    if inbound.get("jti") is not None:
        actor["session"] = {"uid": _text(inbound["jti"])}
    return actor


def _user(name: object) -> dict[str, Any]:
    return {"uid": _text(name), "type_id": _USER_OTHER} if name else {"name": "unknown", "type_id": 0}


def _endpoint(entry: Entry) -> dict[str, Any]:
    ip = entry.part("request").get("ip")
    return {"ip": _text(ip)} if ip else {"name": "unknown"}


def _from(entry: Entry) -> dict[str, Any]:
    ip = entry.part("request").get("ip")
    return {"src_endpoint": {"ip": _text(ip)}, **_agent(entry)} if ip else _agent(entry)


def _agent(entry: Entry) -> dict[str, Any]:
    user_agent = entry.part("request").get("user_agent")
    return {"http_request": {"user_agent": _text(user_agent)}} if user_agent else {}


def _text(value: object) -> str:
    return "unknown" if value is None else str(value)


def _seconds(value: object) -> int | None:
    """OCSF's times are milliseconds."""
    return value * 1000 if isinstance(value, int) and not isinstance(value, bool) else None


def _milliseconds(entry: Entry) -> int:
    try:
        return int(datetime.fromisoformat(entry.text("time") or "").timestamp() * 1000)
    except ValueError:
        return 0
