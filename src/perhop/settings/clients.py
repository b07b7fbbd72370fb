"""From sections to clients: redirect URIs, grants, secrets and key sets are parsed once, here.

What does not parse becomes a problem. Secrets are never part of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from perhop.core.client import Authentication, Client, ClientSecret, GrantType, NoAuthentication, PrivateKeyJwt
from perhop.core.secret import Secret
from perhop.errors import JsonUnparsable, KeyUnusable, Refused
from perhop.rules.redirect_uri import parse_redirect_uri
from perhop.rules.strict_json import parse_json
from perhop.settings.model import AuthenticationSection, ClientSection
from perhop.settings.problems import Findings, dotted
from perhop.settings.sources import Key
from perhop.tokens.jwks import MAX_JWKS_BYTES, MAX_JWKS_KEYS, client_keys

MIN_SECRET_LENGTH = 32
RESERVED_CLIENT_IDS = ("user:", "gateway:")
"""Prefixes of subjects that are not clients."""

_VISIBLE = re.compile(r"[\x20-\x7e]{1,256}")  # RFC 6749 §A.1, §A.2: VSCHAR
_SHORT = {"token_exchange": GrantType.TOKEN_EXCHANGE, "jwt_bearer": GrantType.JWT_BEARER}


def build_clients(
    sections: Mapping[str, ClientSection], folder: Path, findings: Findings, *, asserted: frozenset[str] = frozenset()
) -> dict[str, Client]:
    """Clients; one that cannot authenticate is left out, and the problem is noted.

    `asserted` are the ids of those for which a trusted issuer may speak.
    """
    built = (
        (id_, _build_client(id_, section, folder, findings, is_asserted=id_ in asserted))
        for id_, section in sections.items()
    )
    return {id_: client for id_, client in built if client is not None}


def _build_client(
    id_: str, section: ClientSection, folder: Path, findings: Findings, *, is_asserted: bool
) -> Client | None:
    path = ("clients", id_)
    if not _VISIBLE.fullmatch(id_) or id_ != id_.strip():
        findings.add(path, f"`{id_}` is not a client id: 1 to 256 printable ASCII characters, no space at the ends")
    if id_.startswith(RESERVED_CLIENT_IDS):
        findings.add(path, f"client id `{id_}` starts with a reserved prefix: `user:` or `gateway:`")
    redirect_uris = _build_redirect_uris((*path, "redirect_uris"), section.redirect_uris, findings)
    authentication = _build_authentication((*path, "authentication"), section.authentication, folder, findings)
    if authentication is None:
        return None
    return Client(
        id=id_,
        owner=section.owner,
        purpose=section.purpose,
        expires=section.expires,
        authentication=authentication,
        grants=_build_grants(path, section, findings, is_asserted=is_asserted),
        redirect_uris=redirect_uris,
        reaches={name: tuple(scopes) for name, scopes in section.reaches.items()},
        serves=tuple(section.serves),
        default_resource=section.default_resource,
        sender=section.sender,
    )


def _build_redirect_uris(path: tuple[Key, ...], texts: Iterable[str], findings: Findings) -> tuple[str, ...]:
    parsed = []
    for index, text in enumerate(texts):
        try:
            parsed.append(parse_redirect_uri(text))
        except Refused as error:
            findings.add((*path, index), f"`{text}` is not a redirect URI: {error.detail}")
    return tuple(parsed)


def _build_grants(
    path: tuple[Key, ...], section: ClientSection, findings: Findings, *, is_asserted: bool
) -> frozenset[GrantType]:
    public = section.authentication.method == "none"
    possible: set[GrantType] = set()
    if section.redirect_uris:
        possible |= {GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN}
    if (section.reaches or section.serves) and not public:
        # A server that reaches nothing gets a token for the journal's reports, and for nothing else.
        possible.add(GrantType.CLIENT_CREDENTIALS)
    if section.serves:
        possible.add(GrantType.TOKEN_EXCHANGE)
        if public:
            # Whoever knows the id could exchange a token that was taken from the server.
            findings.add((*path, "serves"), f"`{dotted(path)}` serves a resource, so its method cannot be `none`")
    if is_asserted:
        possible.add(GrantType.JWT_BEARER)
    if section.grants is None:
        return frozenset(possible)
    asked = {_SHORT.get(each) or GrantType(each) for each in section.grants}
    for grant in sorted(asked - possible):
        findings.add((*path, "grants"), f"`{dotted(path)}` cannot use `{grant.value}`: {_NEEDS[grant]}")
    if GrantType.REFRESH_TOKEN in asked & possible and GrantType.AUTHORIZATION_CODE not in asked:
        why = "only `authorization_code` gives a refresh token"
        findings.add((*path, "grants"), f"`{dotted(path)}` cannot use `refresh_token` alone: {why}")
    return frozenset(asked)


_NEEDS = {
    GrantType.AUTHORIZATION_CODE: "it has no `redirect_uris`",
    GrantType.REFRESH_TOKEN: "it has no `redirect_uris`",
    GrantType.CLIENT_CREDENTIALS: "it needs `reaches` or `serves`, and a method other than `none`",
    GrantType.TOKEN_EXCHANGE: "it serves no resource",
    GrantType.JWT_BEARER: "none of `trusted_issuers` names it",
}


def _build_authentication(
    path: tuple[Key, ...], section: AuthenticationSection, folder: Path, findings: Findings
) -> Authentication | None:
    given = {key for key in ("secret", "secret_file", "jwks", "jwks_file") if getattr(section, key) is not None}
    match section.method:
        case "none":
            allowed: set[str] = set()
        case "private_key_jwt":
            allowed = {"jwks", "jwks_file"}
        case _:
            allowed = {"secret", "secret_file"}
    for key in sorted(given - allowed):
        findings.add((*path, key), f"`{key}` does not go with method `{section.method}`")
    if allowed and len(given & allowed) != 1:
        findings.add(path, f"`{dotted(path)}` needs {' or '.join(f'`{key}`' for key in sorted(allowed))}, one of them")
        return None
    match section.method:
        case "none":
            return NoAuthentication()
        case "private_key_jwt":
            return _build_key_set(path, section, folder, findings)
        case method:
            return _build_secret(path, section, method, folder, findings)


def _build_secret(
    path: tuple[Key, ...], section: AuthenticationSection, method: str, folder: Path, findings: Findings
) -> ClientSecret | None:
    key = "secret" if section.secret is not None else "secret_file"
    whose = f"the secret of `{dotted(path[:2])}`"
    secret = parse_secret((*path, key), section.secret, folder / str(section.secret_file), findings, whose=whose)
    return None if secret is None else ClientSecret(method, secret)


def parse_secret(
    path: tuple[Key, ...], text: str | None, file: Path, findings: Findings, *, whose: str
) -> Secret | None:
    """A secret that is written down, or else lies in this file; None if it is none, and the problem is noted."""
    if text is None:
        raw = _read(path, file, findings)
        if raw is None:
            return None
        text = raw.decode("utf-8", "replace")
        text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    # The text itself is never told, nor its length: a short one is guessed the sooner.
    if len(text) < MIN_SECRET_LENGTH:
        findings.add(path, f"{whose} is shorter than {MIN_SECRET_LENGTH} characters")
        return None
    if not re.fullmatch(r"[\x20-\x7e]+", text):
        findings.add(path, f"{whose} holds other than printable ASCII characters")
        return None
    return Secret(text)


def _build_key_set(
    path: tuple[Key, ...], section: AuthenticationSection, folder: Path, findings: Findings
) -> PrivateKeyJwt | None:
    document: Any = section.jwks
    where = (*path, "jwks")
    try:
        if section.jwks_file is not None:
            where = (*path, "jwks_file")
            raw = _read(where, folder / section.jwks_file, findings)
            if raw is None:
                return None
            document = parse_json(raw, max_bytes=MAX_JWKS_BYTES)
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list) or not all(isinstance(each, dict) for each in members):
            raise KeyUnusable("it has no list `keys` of objects")
        if not 1 <= len(members) <= MAX_JWKS_KEYS:
            raise KeyUnusable(f"it must have 1 to {MAX_JWKS_KEYS} keys")
        client_keys(members)
    except JsonUnparsable as error:
        findings.add(where, f"the key set of `{dotted(path[:2])}` is not JSON: {error.detail}")
    except KeyUnusable as error:
        findings.add(where, f"the key set of `{dotted(path[:2])}` is not usable: {error.problem}", error.advice())
    else:
        return PrivateKeyJwt(tuple(members))
    return None


def _read(path: tuple[Key, ...], file: Path, findings: Findings) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError as error:
        findings.add(path, f"`{file}` cannot be read: {error.strerror}")
        return None
