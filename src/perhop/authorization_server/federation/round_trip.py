"""The way to a provider and back: a browser goes there with a request of ours, and comes back with the answer to it.

What comes back is anybody's word until the last check has passed: each answer belongs to one attempt, of one browser,
at one provider, and is taken once.

Spec: OpenID Connect Core 1.0 §3.1
Spec: RFC 9700 §4.4.2
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from perhop.authorization_server.federation.attempts import Attempt
from perhop.authorization_server.federation.code_redemption import Redeemed, ask_userinfo, redeem_code
from perhop.authorization_server.federation.provider_documents import ProviderMetadata
from perhop.authorization_server.form import Form, check_unrepeated
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.store import Place
from perhop.core.provider import Provider
from perhop.core.secret import Secret
from perhop.errors import AnswerOfAnother, AttemptUnknown, BearerRefused, IdTokenRefused, ProviderRefused
from perhop.rules.pkce import CHALLENGE_METHOD, code_challenge
from perhop.tokens.id_token import Asked, IdToken, key_id_of, read_id_token

CALLBACK_PATH = "/sign-in/{provider}/callback"
"""One for each provider: the answer of one that comes to another's is refused. Spec: RFC 9700 §4.4.2.1."""

_ADDRESS = ("email", "email_verified")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Somebody whom a provider has signed in for us just now. `claims` are its ID token's, and UserInfo's."""

    provider: Provider
    token: IdToken
    claims: Mapping[str, Any]


def callback_path(provider: str) -> str:
    """Where the answers of this provider come, below the issuer or the console."""
    return CALLBACK_PATH.format(provider=provider)


def browser_digest(cookie: str) -> str:
    """What an attempt keeps of the cookie that ties it to a browser."""
    return hashlib.sha256(cookie.encode()).hexdigest()


async def begin_attempt(
    provider: Provider,
    issuer: Issuer,
    *,
    place: Place,
    cookie: str,
    network: str,
    redirect_uri: str,
    back: str,
    max_age: int | None = None,
    prompt: str | None = None,
    acr_values: Sequence[str] = (),
) -> str:
    """Begin a sign-in at a provider; returns the URL where it goes on.

    `cookie` is the value that only this browser has. With `max_age`, in seconds, the provider has to say when the
    person last signed in, and that must not be longer ago. Whether it heeds `acr_values` is not checked.

    Spec: OpenID Connect Core 1.0 §3.1.2.1
    Raises: ProviderUnavailable
    """
    metadata = await issuer.federation.documents.metadata(provider)
    attempt = Attempt(
        state=issuer.new_secret(),
        provider=provider.name,
        issuer=provider.issuer,
        place=place,
        browser=browser_digest(cookie),
        network=network,
        nonce=issuer.new_secret(),
        verifier=Secret(issuer.new_secret()),
        redirect_uri=redirect_uri,
        back=back,
        began_at=issuer.now(),
        max_age=max_age,
    )
    issuer.federation.attempts.add(attempt)
    return _authorization_url(attempt, provider, metadata, prompt, acr_values)


def _authorization_url(
    attempt: Attempt, provider: Provider, metadata: ProviderMetadata, prompt: str | None, acr_values: Sequence[str]
) -> str:
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": attempt.redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": code_challenge(attempt.verifier.reveal()),
        "code_challenge_method": CHALLENGE_METHOD,
        **({"max_age": str(attempt.max_age)} if attempt.max_age is not None else {}),
        **({"prompt": prompt} if prompt is not None else {}),
        **({"acr_values": " ".join(acr_values)} if acr_values else {}),
    }
    endpoint = metadata.authorization_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def take_attempt(form: Form, issuer: Issuer, *, named: str, place: Place, cookie: str | None) -> Attempt:
    """The attempt that this answer is to: begun in this browser, at this place, and with the provider of this callback.

    It is over with that, whatever comes of the answer.

    Spec: RFC 9700 §4.7.1
    Raises: AttemptUnknown, AnswerOfAnother, TokenRequestMalformed
    """
    check_unrepeated(form)
    attempt = issuer.federation.attempts.take(form.one("state") or "", now=issuer.now())
    if attempt is None or attempt.place is not place:
        raise AttemptUnknown("no sign-in of this `state` is under way here")
    # INVARIANT: an answer counts in the browser where it was asked for: nobody can finish their sign-in in another's.
    if cookie is None or not hmac.compare_digest(browser_digest(cookie), attempt.browser):
        raise AttemptUnknown(f"the sign-in with `{attempt.provider}` was begun in another browser")
    if attempt.provider != named:
        raise AnswerOfAnother(f"an answer to `{attempt.provider}` came to the callback of `{named[:64]}`")
    return attempt


async def end_attempt(form: Form, attempt: Attempt, issuer: Issuer) -> SignedIn:
    """Find the provider -> check whose answer it is -> redeem the code -> verify the ID token -> hear the claims.

    Does not look whom we let in.

    Spec: OpenID Connect Core 1.0 §3.1.3.7
    Raises: AttemptUnknown, AnswerOfAnother, ProviderRefused, IdTokenRefused, ProviderUnavailable
    """
    provider = _provider_of(attempt, issuer)
    metadata = await issuer.federation.documents.metadata(provider)
    _check_issuer(form, metadata)
    http = await issuer.federation.http()
    redeemed = await redeem_code(_code_in(form, provider), attempt, provider, metadata, http)
    token = await _verified(redeemed, attempt, provider, issuer)
    claims = dict(token.claims)
    if any(wanted not in claims for wanted in _wanted(provider)):
        claims = _joined(claims, await ask_userinfo(redeemed.access_token, metadata, http, subject=token.subject))
    return SignedIn(provider=provider, token=token, claims=claims)


def _provider_of(attempt: Attempt, issuer: Issuer) -> Provider:
    """The provider as it is configured now; one that was replaced meanwhile is another one."""
    provider = issuer.registry.sign_in.providers.get(attempt.provider)
    if provider is None or provider.issuer != attempt.issuer:
        raise AttemptUnknown(f"the provider `{attempt.provider}` is not the one that was asked")
    return provider


def _check_issuer(form: Form, metadata: ProviderMetadata) -> None:
    """Refuse an answer that says it is another issuer's, before its code goes anywhere.

    Spec: RFC 9207 §2.4
    Raises: AnswerOfAnother
    """
    said = form.one("iss")
    if said is None and metadata.names_issuer:
        raise AnswerOfAnother(f"`{metadata.issuer}` names itself in its answers, and this one does not")
    if said is not None and said != metadata.issuer:
        raise AnswerOfAnother(f"the answer is `{said[:256]}`'s, and `{metadata.issuer}` was asked")


def _code_in(form: Form, provider: Provider) -> str:
    """Raises: ProviderRefused."""
    error, code = form.one("error"), form.one("code")
    if error is not None or code is None:
        raise ProviderRefused(f"`{provider.issuer}` answered `{(error or 'without a code')[:64]}`")
    return code


async def _verified(redeemed: Redeemed, attempt: Attempt, provider: Provider, issuer: Issuer) -> IdToken:
    """Raises: IdTokenRefused, ProviderUnavailable."""
    asked = Asked(
        issuer=provider.issuer,
        client_id=provider.client_id,
        nonce=attempt.nonce,
        began_at=attempt.began_at,
        max_age=attempt.max_age,
    )
    access_token = redeemed.access_token.reveal() if redeemed.access_token is not None else None
    try:
        keys = await issuer.federation.documents.keys(provider, key_id_of(redeemed.id_token))
        return read_id_token(redeemed.id_token, asked=asked, keys=keys, access_token=access_token, now=issuer.now())
    except BearerRefused as fact:
        raise IdTokenRefused(fact) from None


def _joined(id_token: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
    """What both say, the ID token first.

    `email_verified` is of the `email` beside it: an address is taken from one of the two, with that one's word on it.

    Spec: OpenID Connect Core 1.0 §5.1
    """
    of_address = id_token if "email" in id_token else userinfo
    joined = {name: value for name, value in {**userinfo, **id_token}.items() if name not in _ADDRESS}
    return joined | {name: of_address[name] for name in _ADDRESS if name in of_address}


def _wanted(provider: Provider) -> tuple[str, ...]:
    groups = (provider.groups_claim,) if provider.groups_claim is not None else ()
    return ("email", *groups) if "email" in provider.scopes else groups
