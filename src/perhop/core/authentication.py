"""When and how a person signed in, as a token says it, and what somebody else wants of that.

Spec: RFC 9068 §2.2.1
Spec: RFC 9470 §3
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Authentication:
    """`time` is when the person signed in, in seconds since the epoch; `acr` is how, in their provider's words.

    Both are None where they are not known. Spec: OpenID Connect Core 1.0 §2.
    """

    time: int | None = None
    acr: str | None = None


UNKNOWN = Authentication()
"""Of whoever has not signed in here, or long ago, and of whom nothing is said."""


@dataclass(frozen=True, slots=True)
class AuthenticationWanted:
    """A sign-in at most `max_age` seconds ago, of one of `acr_values`, the preferred first; None and empty: any.

    Spec: RFC 9470 §3
    """

    max_age: int | None = None
    acr_values: tuple[str, ...] = ()


ANY_SIGN_IN = AuthenticationWanted()


def strictest(wanted: tuple[AuthenticationWanted, ...]) -> AuthenticationWanted | None:
    """What fulfils all of these; None if nothing does, or nobody wants anything."""
    named = [each.acr_values for each in wanted if each.acr_values]
    both = tuple(value for value in named[0] if all(value in each for each in named)) if named else ()
    if not wanted or (named and not both):
        return None
    ages = [each.max_age for each in wanted if each.max_age is not None]
    return AuthenticationWanted(min(ages, default=None), both)
