"""The challenges of a `WWW-Authenticate` field, as a client reads them.

Spec: RFC 9110 §11.6.1
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_FIELD_LENGTH = 8 * 1024

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]*(?:,|\Z)| +)")
_PARAMETER = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})(?=[ \t]*(?:,|\Z))|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*)")'
)
_TOKEN68 = re.compile(r"([A-Za-z0-9\-._~+/]+=*)(?=[ \t]*(?:,|\Z))")
_GAP = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*\Z")
_LEAD = re.compile(r"[ \t,]*")
_SPACES = re.compile(r" *")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class AuthChallenge:
    """One challenge; scheme and names of parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(fields: Iterable[str]) -> tuple[AuthChallenge, ...]:
    """Every challenge of these fields, in order. A field that is not well formed says nothing at all.

    Spec: RFC 9110 §11.6.1
    """
    return tuple(challenge for each in fields for challenge in _parse_field(each) or ())


def bearing_challenges(fields: Iterable[str]) -> tuple[AuthChallenge, ...]:
    """The challenges that ask for an access token. Spec: RFC 6750 §3, RFC 9449 §7.1."""
    return tuple(each for each in parse_challenges(fields) if each.scheme in ("bearer", "dpop"))


def _parse_field(text: str) -> list[AuthChallenge] | None:
    if len(text) > MAX_FIELD_LENGTH:
        return None
    found: list[AuthChallenge] = []
    parameters: dict[str, str] | None = None  # of the last challenge; None where none may follow
    at = _end(_LEAD.match(text))
    while at < len(text):
        parameter = _PARAMETER.match(text, at) if parameters is not None else None
        if parameter is not None and parameters is not None:
            name, at = parameter[1].lower(), parameter.end()
            if name in parameters:
                return None  # RFC 9110 §11.2: each name only once
            parameters[name] = parameter[2] if parameter[3] is None else _ESCAPE.sub(r"\1", parameter[3])
        else:
            scheme = _SCHEME.match(text, at)
            if scheme is None:
                return None
            parameters, at = {}, scheme.end()
            found.append(AuthChallenge(scheme[1].lower(), parameters))
            rest = _end(_SPACES.match(text, at))
            if rest < len(text) and text[rest] not in ",\t":
                at = rest
                if _PARAMETER.match(text, at) is not None:
                    continue
                opaque = _TOKEN68.match(text, at)
                if opaque is None:
                    return None
                parameters, at = None, opaque.end()
        gap = _GAP.match(text, at)
        if gap is None:
            return None
        at = gap.end()
    return found


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match is not None else 0
