"""What a client wants of the sign-in and of the consent behind its code: how new, of which kind, shown or not.

Of OpenID Connect these parameters and nothing else: no ID token comes of them.

Spec: OpenID Connect Core 1.0 §3.1.2.1
Spec: RFC 9470 §4
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from perhop.authorization_server.form import Form
from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME
from perhop.authorization_server.interaction.login import SESSION_SECONDS
from perhop.authorization_server.store import SignIn
from perhop.core.authentication import ANY_SIGN_IN, AuthenticationWanted
from perhop.core.provider import SignInWays
from perhop.errors import AuthenticationUnmet, AuthorizeRequestMalformed, LoginRequired

_SECONDS = re.compile(r"[0-9]{1,9}")
_MOST_ACR_VALUES = 32


class Prompt(StrEnum):
    """What the person is to be shown. Spec: OpenID Connect Core 1.0 §3.1.2.1."""

    NONE = "none"
    LOGIN = "login"
    CONSENT = "consent"
    SELECT_ACCOUNT = "select_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What one authorization request says of the person's sign-in and consent. Empty: whatever there is will do."""

    prompts: frozenset[Prompt] = frozenset()
    wanted: AuthenticationWanted = ANY_SIGN_IN

    @property
    def shows_nothing(self) -> bool:
        """True if no page may come of this request: an answer at once, or an error."""
        return Prompt.NONE in self.prompts

    @property
    def signs_in_anew(self) -> bool:
        """True if the session of this browser does not count: the form is also where another account is chosen.

        Spec: OpenID Connect Core 1.0 §3.1.2.1
        """
        return bool(self.prompts & {Prompt.LOGIN, Prompt.SELECT_ACCOUNT}) or self.wanted.max_age == 0

    @property
    def asks_anew(self) -> bool:
        """True if a stored consent does not count."""
        return Prompt.CONSENT in self.prompts


NO_DEMANDS = Demands()


def parse_demands(form: Form) -> Demands:
    """Read `prompt`, `max_age` and `acr_values`; a value that we do not know might ask for more than we would do.

    Spec: OpenID Connect Core 1.0 §3.1.2.1
    Raises: AuthorizeRequestMalformed
    """
    prompts = _prompts(form.one("prompt"))
    if Prompt.NONE in prompts and len(prompts) > 1:
        raise AuthorizeRequestMalformed("`prompt` is `none` and something else")
    max_age = form.one("max_age")
    if max_age is not None and _SECONDS.fullmatch(max_age) is None:
        raise AuthorizeRequestMalformed("`max_age` is not a whole number of seconds")
    acr_values = tuple((form.one("acr_values") or "").split())
    if len(acr_values) > _MOST_ACR_VALUES:
        raise AuthorizeRequestMalformed(f"`acr_values` are more than {_MOST_ACR_VALUES}")
    seconds = int(max_age) if max_age is not None else None
    return Demands(prompts=prompts, wanted=AuthenticationWanted(seconds, acr_values))


def _prompts(text: str | None) -> frozenset[Prompt]:
    try:
        return frozenset(Prompt(each) for each in (text or "").split())
    except ValueError:
        raise AuthorizeRequestMalformed("`prompt` is none of `none`, `login`, `consent`, `select_account`") from None


def occasion_of(back: str) -> str:
    """What a session keeps of the request for which it was begun: the hex SHA-256 of the path that leads to it."""
    return hashlib.sha256(back.encode()).hexdigest()


def check_way(demands: Demands, ways: SignInWays) -> None:
    """Refuse before anybody signs in for nothing: passwords have no `acr`, only providers say one.

    Raises: AuthenticationUnmet
    """
    if demands.wanted.acr_values and not ways.providers:
        raise AuthenticationUnmet("an `acr` is wanted, and no provider signs people in here")


def is_good_for(signed_in: SignIn, demands: Demands, occasion: str, *, now: int) -> bool:
    """True if this session does for the request that `occasion` names; else the person signs in anew.

    A session that was just begun for exactly this request is as new as can be: nobody is sent round in circles.

    Spec: OpenID Connect Core 1.0 §3.1.2.1
    Raises: AuthenticationUnmet
    """
    wanted, known = demands.wanted, signed_in.authentication
    is_just_begun = signed_in.occasion == occasion and now < _began_at(signed_in) + FORM_LIFETIME
    has_acr = not wanted.acr_values or known.acr in wanted.acr_values
    if is_just_begun:
        if not has_acr:
            raise AuthenticationUnmet(f"signed in with acr `{(known.acr or 'unknown')[:64]}`, and another is wanted")
        return True
    is_new = wanted.max_age is None or (known.time is not None and now - known.time <= wanted.max_age)
    return has_acr and is_new and not demands.signs_in_anew


def check_shown(demands: Demands) -> None:
    """Refuse instead of a sign-in form where nothing may be shown. Raises: LoginRequired."""
    if demands.shows_nothing:
        raise LoginRequired("nobody is signed in here as it is wanted, and `prompt` is `none`")


def _began_at(signed_in: SignIn) -> int:
    return signed_in.expires_at - SESSION_SECONDS
