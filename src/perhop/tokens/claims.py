"""The claims of an access token: all required ones there, each of its one type, none too large.

Looks at no time and at no audience beyond its type; whether a claim is true is the signature's matter.

Spec: RFC 9068 §2.2
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from perhop.core.actor import Actor, MayAct
from perhop.core.authentication import UNKNOWN, Authentication
from perhop.core.call import CallBinding
from perhop.core.token import Sender, SenderKey, SenderUnprovable
from perhop.errors import AudienceMissing, AudienceMultiple, ScopeInvalid, TokenMalformed
from perhop.rules.dpop import is_thumbprint
from perhop.rules.scope import parse_scope

MAX_NAME_LENGTH = 2048
"""Client ids may be URLs, and subjects of foreign issuers are their affair: as long as a resource URI may be."""
MAX_ID_LENGTH = 256
MAX_ACTORS = 16
"""Deeper chains are not read at all; how deep an exchange may go is a rule of its own, and less."""
MAX_HOP = 64
MAX_MAY_ACT_SUBJECTS = 64
_MAX_TIME = 253402300799  # the end of the year 9999
_SHORT_SCOPE = 256

_CALL_MEMBERS = frozenset({"type", "method", "name", "arguments_sha256", "params_sha256"})
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")

_Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims of an access token but for `iss` and `aud`, typed. Spec: RFC 9068 §2.2."""

    jti: str
    subject: str
    client_id: str
    agent: str
    scopes: frozenset[str]
    issued_at: int
    not_before: int | None
    expires_at: int
    actor: Actor | None
    may_act: MayAct | None
    txn: str | None
    hop: int
    tenant: str | None
    task: str | None
    call: CallBinding | None
    sender: Sender | None
    authentication: Authentication


def parse_claims(payload: _Object) -> Claims:
    """Read the claims of an access token; unknown ones are ignored, as RFC 7519 §4 has it.

    Spec: RFC 9068 §2.2
    Spec: RFC 9068 §2.2.1
    Spec: RFC 8693 §4
    Spec: RFC 9396 §9.1
    Raises: TokenMalformed
    """
    if not isinstance(payload.get("aud"), str | list | None):
        raise TokenMalformed("`aud` is neither a string nor a list")
    client_id = parse_name(payload, "client_id")
    task, call = _parse_details(payload)
    claims = Claims(
        jti=parse_name(payload, "jti", MAX_ID_LENGTH),
        subject=parse_name(payload, "sub"),
        client_id=client_id,
        agent=_parse_optional_name(payload, "agent") or client_id,
        scopes=_parse_scopes(payload),
        issued_at=parse_time(payload, "iat"),
        not_before=parse_time(payload, "nbf") if "nbf" in payload else None,
        expires_at=parse_time(payload, "exp"),
        actor=_parse_actor(payload["act"]) if "act" in payload else None,
        may_act=_parse_may_act(payload["may_act"]) if "may_act" in payload else None,
        txn=_parse_optional_name(payload, "txn", MAX_ID_LENGTH),
        hop=_parse_hop(payload),
        tenant=_parse_optional_name(payload, "tenant"),
        task=task,
        call=call,
        sender=parse_sender(payload),
        authentication=parse_authentication(payload),
    )
    if claims.expires_at <= claims.issued_at:
        raise TokenMalformed("`exp` is not after `iat`")
    if (claims.authentication.time or 0) > claims.issued_at:
        raise TokenMalformed("`auth_time` is after `iat`: nobody signs in after the token that rests on it")
    return claims


def parse_authentication(payload: _Object) -> Authentication:
    """When and how the person signed in; both may be absent. Does not hold the time against any other.

    Spec: RFC 9068 §2.2.1
    Raises: TokenMalformed
    """
    if "auth_time" not in payload and "acr" not in payload:
        return UNKNOWN
    return Authentication(
        time=parse_time(payload, "auth_time") if "auth_time" in payload else None,
        acr=_parse_optional_name(payload, "acr", MAX_ID_LENGTH),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerClaims:
    """Who calls, as somebody who holds a token passes its claims on; `scopes` is None where none are said."""

    client_id: str | None
    agent: str | None
    scopes: frozenset[str] | None
    actor: Actor | None
    hop: int
    task: str | None
    authentication: Authentication


def parse_caller(payload: _Object) -> CallerClaims:
    """Read the claims that say who calls and through whom; each may be absent, and is strict where it is there.

    Raises: TokenMalformed
    """
    return CallerClaims(
        client_id=_parse_optional_name(payload, "client_id"),
        agent=_parse_optional_name(payload, "agent"),
        scopes=_parse_scopes(payload) if "scope" in payload else None,
        actor=_parse_actor(payload["act"]) if "act" in payload else None,
        hop=_parse_hop(payload),
        task=_parse_details(payload)[0],
        authentication=parse_authentication(payload),
    )


def parse_audience(payload: _Object) -> str:
    """The one audience, as received.

    Spec: RFC 9068 §2.2
    Raises: AudienceMissing, AudienceMultiple, TokenMalformed
    """
    audience = payload.get("aud")
    # DEVIATES: RFC 7519 §4.1.3 lets `aud` be a list; a token for one resource has one audience, so even a list of
    # one is refused: two forms of the same claim are two ways to be read.
    if isinstance(audience, list):
        raise AudienceMultiple("`aud` is a list")
    if audience is None or audience == "":
        raise AudienceMissing("`aud` is missing or empty")
    return parse_name(payload, "aud")


def parse_name(payload: _Object, claim: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """A required text claim: not empty, not too long, no control or invisible characters.

    Raises: TokenMalformed
    """
    return _check_name(payload.get(claim), claim, max_length)


def _parse_optional_name(payload: _Object, claim: str, max_length: int = MAX_NAME_LENGTH) -> str | None:
    return _check_name(payload[claim], claim, max_length) if claim in payload else None


def _check_name(value: object, claim: str, max_length: int = MAX_NAME_LENGTH) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= max_length or not value.isprintable():
        raise TokenMalformed(f"`{claim}` is missing or not a printable text of 1 to {max_length} characters")
    return value


def parse_time(payload: _Object, claim: str) -> int:
    """A required NumericDate.

    Spec: RFC 7519 §2
    Raises: TokenMalformed
    """
    # DEVIATES: RFC 7519 §2 lets a NumericDate have a fraction; whole seconds only, so that no rounding is needed.
    value = payload.get(claim)
    if type(value) is not int or not 0 <= value <= _MAX_TIME:
        raise TokenMalformed(f"`{claim}` is missing or not a whole number of seconds")
    return value


def _parse_scopes(payload: _Object) -> frozenset[str]:
    scope = payload.get("scope", "")
    if not isinstance(scope, str):
        raise TokenMalformed("`scope` is not a string")
    try:
        return _parse_short_scope(scope) if len(scope) <= _SHORT_SCOPE else parse_scope(scope)
    except ScopeInvalid as error:
        raise TokenMalformed(f"`scope`: {error.detail}") from None


# Tokens of one client have one scope; what is refused is not kept.
_parse_short_scope = lru_cache(maxsize=1024)(parse_scope)


def _parse_hop(payload: _Object) -> int:
    hop = payload.get("hop", 1)
    if type(hop) is not int or not 1 <= hop <= MAX_HOP:
        raise TokenMalformed(f"`hop` is not a whole number from 1 to {MAX_HOP}")
    return hop


def _parse_actor(value: object) -> Actor:
    """The `act` chain. Spec: RFC 8693 §4.1."""
    subjects: list[str] = []
    while True:
        if not isinstance(value, dict) or len(subjects) == MAX_ACTORS:
            raise TokenMalformed(f"`act` is not a chain of at most {MAX_ACTORS} objects")
        subjects.append(_check_name(value.get("sub"), "act.sub"))
        if "act" not in value:
            break
        value = value["act"]
    actor = Actor(subjects.pop())
    for subject in reversed(subjects):
        actor = Actor(subject, actor)
    return actor


def _parse_may_act(value: object) -> MayAct:
    """Whom the token lets become its actor; a member that we cannot honour refuses. Spec: RFC 8693 §4.4."""
    if not isinstance(value, dict) or not value.keys() <= {"sub", "iss"}:
        raise TokenMalformed("`may_act` is not an object of `sub` and `iss`")
    listed = value.get("sub")
    subjects = listed if isinstance(listed, list) else [listed]
    if not 0 < len(subjects) <= MAX_MAY_ACT_SUBJECTS:
        raise TokenMalformed("`may_act.sub` names nobody, or too many")
    return MayAct(
        subjects=frozenset(_check_name(subject, "may_act.sub") for subject in subjects),
        issuer=_check_name(value["iss"], "may_act.iss") if "iss" in value else None,
    )


def _parse_details(payload: _Object) -> tuple[str | None, CallBinding | None]:
    """The task that the token is for, if any, and the one call that it is for, if any. Spec: RFC 9396 §2."""
    if "authorization_details" not in payload:
        return None, None
    details = payload["authorization_details"]
    if not isinstance(details, list) or not all(isinstance(each, dict) for each in details):
        raise TokenMalformed("`authorization_details` is not a list of objects")
    task, call = None, None
    for detail in details:
        match detail.get("type"):
            case "agent_task" if task is None:
                task = _check_name(detail.get("id"), "authorization_details.id", MAX_ID_LENGTH)
            case "mcp_call" if call is None:
                call = _parse_call(detail)
            case _:
                raise TokenMalformed("`authorization_details` has an unknown type, or one type twice")
    return task, call


def _parse_call(detail: _Object) -> CallBinding:
    """The call that a token is bound to; a member that we do not know would bind it to more than we check."""
    name = detail.get("name")
    if not detail.keys() <= _CALL_MEMBERS or not ("name" not in detail or isinstance(name, str)):
        raise TokenMalformed("`mcp_call` has an unknown member, or a name that is no text")
    digests = [detail.get("arguments_sha256"), detail.get("params_sha256")]
    if not all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in digests):
        raise TokenMalformed("`mcp_call` lacks a SHA-256 of its arguments or params")
    method = _check_name(detail.get("method"), "mcp_call.method", MAX_ID_LENGTH)
    return CallBinding(method=method, name=name, arguments_sha256=str(digests[0]), params_sha256=str(digests[1]))


def parse_sender(payload: _Object) -> Sender | None:
    """Whom the token is bound to. What is not exactly one key that can be proved here is taken for something else.

    Spec: RFC 7800 §3.1
    Spec: RFC 9449 §6.1
    Raises: TokenMalformed
    """
    if "cnf" not in payload:
        return None
    confirmed = payload["cnf"]
    if not isinstance(confirmed, dict) or not confirmed:
        raise TokenMalformed("`cnf` is not an object that confirms a key")
    is_one_key = confirmed.keys() == {"jkt"} and is_thumbprint(confirmed["jkt"])
    return SenderKey(confirmed["jkt"]) if is_one_key else SenderUnprovable()
