"""What comes back from an authorization endpoint, as a client reads it: whose answer is it, and to which question?

Spec: RFC 6749 §4.1.2
Spec: RFC 9207 §2.4
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from perhop.errors import AuthorizationAnswerMalformed, AuthorizationNotGranted, IssuerMismatch, StateMismatch

MAX_ANSWER_LENGTH = 16 * 1024

_VISIBLE = re.compile(r"[\x20-\x7e]{1,8192}")
_ERROR = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAnswer:
    """Recorded before the person is sent away: whom we asked, and with which state.

    `promises_issuer` is what that server's metadata says of `iss`.

    Spec: MCP 2026-07-28 authorization
    """

    issuer: str
    state: str
    promises_issuer: bool


def is_answer_to(query: str, state: str) -> bool:
    """True if this query carries this state, once."""
    states = [value for name, value in _pairs(query) if name == "state"]
    return len(states) == 1 and hmac.compare_digest(states[0].encode(), state.encode())


def read_authorization_answer(query: str, expected: ExpectedAnswer) -> str:
    """The code, if this is the answer of the server that we asked to the request that we made.

    The issuer is compared character for character, and before anything else of the answer is believed: an error of
    somebody else's is not shown either.

    Spec: RFC 9207 §2.4
    Spec: RFC 6749 §4.1.2.1
    Raises: AuthorizationAnswerMalformed, StateMismatch, IssuerMismatch, AuthorizationNotGranted
    """
    pairs = _pairs(query)
    given = dict(pairs)
    if len(given) != len(pairs):
        raise AuthorizationAnswerMalformed("a parameter of the authorization answer is there twice")
    if not is_answer_to(query, expected.state):
        raise StateMismatch("the authorization answer does not carry the state of our request")
    issuer = given.get("iss")
    if issuer is None and expected.promises_issuer:
        raise IssuerMismatch(f"`{expected.issuer}` promises to name itself in its answers, and this one names nobody")
    if issuer is not None and issuer != expected.issuer:
        raise IssuerMismatch(f"`{expected.issuer}` was asked, and {issuer[:200]!a} answered")
    error, code = given.get("error"), given.get("code")
    if error is not None:
        raise AuthorizationNotGranted(error if _ERROR.fullmatch(error) else "unreadable")
    if code is None or _VISIBLE.fullmatch(code) is None:
        raise AuthorizationAnswerMalformed("the authorization answer holds neither a code nor an error")
    return code


def _pairs(query: str) -> list[tuple[str, str]]:
    if len(query) > MAX_ANSWER_LENGTH:
        return []
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return []
