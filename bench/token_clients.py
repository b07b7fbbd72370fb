"""Clients of the token endpoint beside the benches' agent: one that signs, one that exchanges, one of a person."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx2

from bench.installation import AGENT, Loaded, mint_tokens
from perhop.authorization_server.codes import CODE_LIFETIME, hash_code
from perhop.authorization_server.interaction.consent import terms_digest, terms_of
from perhop.authorization_server.people_store import Consent
from perhop.authorization_server.store import Account, AuthorizationCode
from perhop.settings import load
from perhop.storage.accounts import SqlAccounts
from perhop.storage.authorization_codes import SqlAuthorizationCodes
from perhop.storage.consents import SqlConsents
from perhop.storage.engine import open_database
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.keys import SigningKey

SIGNER, SERVER, PORTAL = "bench-signer", "bench-server", "bench-portal"
PERSON = "user:bench-person"
CALLBACK = "https://portal.example.com/callback"
_VERIFIER = "the-verifier-of-a-code-in-the-bench-0123456789"
_ASSERTION_SECONDS = 300


@dataclass(frozen=True, slots=True)
class TokenClients:
    """Their secret and their key; `configuration` goes to the end of an installation's file, where its clients are."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def configuration(self) -> str:
        with_secret = f"authentication: {{method: client_secret_basic, secret: {self.secret}}}"
        keys = json.dumps({"keys": [self.key.public().as_jwk()]})
        mine = {
            SIGNER: f'authentication: {{method: private_key_jwt, jwks: {keys}}}, reaches: {{work: ["work:use"]}}',
            SERVER: f"{with_secret}, serves: [work]",
            PORTAL: f'{with_secret}, redirect_uris: ["{CALLBACK}"], reaches: {{work: ["work:use"]}}',
        }
        clients = "".join(
            f"  {name}: {{owner: bench, purpose: asks for tokens, expires: 2099-12-31, {rest}}}\n"
            for name, rest in mine.items()
        )
        return f'{clients}hops:\n  - {{from: work, to: cached, scopes: {{"work:use": ["cached:use"]}}}}\n'

    def basic(self, client: str) -> str:
        """The `Authorization` value of a client with the secret."""
        return basic(client, self.secret)

    def assertions(self, issuer: str, count: int) -> list[bytes]:
        """So many forms of the client that signs, each with an assertion that nobody has used."""
        now = int(time.time())
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
        return [
            urlencode(
                form
                | {
                    "client_assertion": sign_client_assertion(
                        client_id=SIGNER,
                        audience=issuer,
                        key=self.key,
                        now=now,
                        jti=secrets.token_urlsafe(16),
                        lifetime=_ASSERTION_SECONDS,
                    )
                }
            ).encode()
            for _ in range(count)
        ]

    async def refresh_tokens(self, loaded: Loaded, count: int) -> list[str]:
        """The first tokens of so many families: codes of one person, given as the pages give them, and redeemed."""
        codes = [secrets.token_urlsafe(32) for _ in range(count)]
        await _allow(loaded, codes)
        found = []
        async with httpx2.AsyncClient(timeout=30) as http:
            for code in codes:
                form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
                headers = {"authorization": self.basic(PORTAL)}
                url = f"{loaded.issuer}/token"
                answer = await http.post(url, data={**form, "code_verifier": _VERIFIER}, headers=headers)
                answer.raise_for_status()
                found.append(str(answer.json()["refresh_token"]))
        return found


def basic(client: str, secret: str) -> str:
    """Spec: RFC 6749 §2.3.1. Neither has anything that would be escaped."""
    return "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()


def subject_token(loaded: Loaded) -> str:
    """A token for the server behind `work`, which its client may exchange."""
    return mint_tokens(loaded.folder, loaded.issuer, f"{loaded.server}/work", "work:use", 1)[0]


def agent_basic(loaded: Loaded) -> str:
    """The `Authorization` value of the agent."""
    return basic(AGENT, loaded.secret)


async def _allow(loaded: Loaded, codes: list[str]) -> None:
    """Put an account, a consent and these codes into the database of the installation that runs."""
    registry = load(loaded.folder / "perhop.yaml", {}).registry
    client, resource = registry.clients[PORTAL], registry.resources["work"]
    scopes, now = frozenset({"work:use"}), int(time.time())
    terms = terms_digest(terms_of(client, resource, scopes, CALLBACK, registry))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(_VERIFIER.encode()).digest()).rstrip(b"=").decode()
    about = {"client_id": PORTAL, "subject": PERSON, "resource": str(resource.uri), "scopes": scopes, "terms": terms}
    database = open_database(loaded.folder / "perhop.db")
    try:
        await SqlAccounts(database).add(
            Account(email="person@example.com", subject=PERSON, password_hash="never signs in")
        )
        await SqlConsents(database).put(Consent(**about, granted_at=now))  # type: ignore[arg-type]
        for code in codes:
            rest = {"code_hash": hash_code(code), "redirect_uri": CALLBACK, "code_challenge": challenge}
            await SqlAuthorizationCodes(database).add(
                AuthorizationCode(**about, **rest, expires_at=now + CODE_LIFETIME)  # type: ignore[arg-type]
            )
    finally:
        await database.close()
