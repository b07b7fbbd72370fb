"""Sign-ins kept in a file, for programs that a person starts again and again.

The file is its owner's alone (0600), and is not encrypted: whoever reads it has the tokens. A program has one of its
own.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from perhop.client.credentials import Credential, NoCredential, SecretCredential, SecretMethod
from perhop.client.proof_key import ProofKey
from perhop.client.registered_client import RegisteredClient
from perhop.client.store import SignedIn
from perhop.client.token_request import AccessToken
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret
from perhop.errors import PerhopError, SettingsError
from perhop.rules.bearer import is_b64token
from perhop.rules.issuer_uri import parse_issuer
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens.keys import SigningKey

_PAUSE_SECONDS = 0.05
_ADVICE = "remove the file, and sign in anew"
_METHODS: dict[str, SecretMethod] = {
    "client_secret_basic": "client_secret_basic",
    "client_secret_post": "client_secret_post",
}

Entry = TypeVar("Entry")


class FileStore:
    """Reads and writes one JSON file; another program that renews a token meanwhile is waited for.

    A file that is no store is refused wherever it is read, and stays as it is.

    Raises: SettingsError
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._proof_keys: dict[str, ProofKey] = {}  # one object a key: it remembers the nonces
        self._load()

    def signed_in(self, server: ResourceUri) -> SignedIn | None:
        found = self._load()["servers"].get(server)
        return None if found is None else self._read(self._signed_in, found)

    def keep(self, server: ResourceUri, signed_in: SignedIn) -> None:
        self._change("servers", server, _render_signed_in(signed_in))

    def forget(self, server: ResourceUri) -> None:
        self._change("servers", server, None)

    def client(self, issuer: str) -> RegisteredClient | None:
        found = self._load()["clients"].get(issuer)
        return None if found is None else self._read(lambda each: _client(each, issuer), found)

    def keep_client(self, client: RegisteredClient) -> None:
        self._change("clients", client.issuer, _render_client(client))

    def forget_client(self, issuer: str) -> None:
        self._change("clients", issuer, None)

    def alone(self) -> AbstractAsyncContextManager[None]:
        return self._holding("lock")

    def asking(self) -> AbstractAsyncContextManager[None]:
        return self._holding("asking")

    @asynccontextmanager
    async def _holding(self, lock: str) -> AsyncIterator[None]:
        file = self._open(self._beside(lock), os.O_RDWR | os.O_CREAT)
        try:
            while not _is_locked(file):  # noqa: ASYNC110 - it is another process that lets go
                await asyncio.sleep(_PAUSE_SECONDS)
            yield
        finally:
            os.close(file)  # and with it goes the lock

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Nobody else writes while the block runs, who would put back what was read before. Waits for one write."""
        file = self._open(self._beside("changing"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _beside(self, kind: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{kind}")

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            file = self._open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return {"servers": {}, "clients": {}}
        with os.fdopen(file, encoding="utf-8") as text:
            return self._read(_document, text.read)

    def _change(self, kind: str, name: str, value: dict[str, Any] | None) -> None:
        """One entry anew, or gone. The file is whole at any moment."""
        with self._changing():
            document = self._load()
            document[kind].pop(name, None)
            if value is not None:
                document[kind][name] = value
            beside = self._beside("new")
            with os.fdopen(self._open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8") as text:
                json.dump(document, text)
                text.flush()
                os.fsync(text.fileno())
            os.replace(beside, self._path)

    def _open(self, path: Path, flags: int) -> int:
        try:
            file = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SettingsError(f"`{path}` cannot be opened: {error.strerror}", advice=_ADVICE) from error
        found = os.fstat(file)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            os.close(file)
            raise SettingsError(f"`{path}` is open to others", advice=f"`chmod 600 {path}`")
        return file

    def _signed_in(self, found: Mapping[str, Any]) -> SignedIn:
        access, refresh = found["access"], found["refresh"]
        pem, token = access["proof_key"], _text(access["token"])
        if not is_b64token(token):
            raise ValueError("no token")
        return SignedIn(
            issuer=parse_issuer(_text(found["issuer"])),
            client_id=_text(found["client_id"]),
            indicator=_text(found["indicator"]),
            refresh=None if refresh is None else Secret(_text(refresh)),
            asked=_texts(found["asked"]),
            access=AccessToken(
                raw=Secret(token),
                resource=parse_resource_uri(_text(access["resource"])),
                scopes=_texts(access["scopes"]),
                obtained_at=_seconds(access["obtained_at"]),
                expires_at=_seconds(access["expires_at"]),
                proofs=None if pem is None else self._proof_key(_text(pem)),
            ),
        )

    def _proof_key(self, pem: str) -> ProofKey:
        if pem not in self._proof_keys:
            self._proof_keys[pem] = ProofKey(SigningKey.from_pem(pem.encode()))
        return self._proof_keys[pem]

    def _read(self, parse: Callable[[Any], Entry], found: Any) -> Entry:
        try:
            return parse(found)
        except (ArithmeticError, KeyError, PerhopError, RecursionError, TypeError, ValueError):
            raise SettingsError(f"`{self._path}` is no store of sign-ins", advice=_ADVICE) from None


def _document(read: Callable[[], str]) -> dict[str, dict[str, Any]]:
    document = json.loads(read())
    return {"servers": {**document["servers"]}, "clients": {**document["clients"]}}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode()  # raises where half of a surrogate pair stands alone
    return value


def _texts(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return frozenset(map(_text, value))


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("no time")
    return float(value)


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _render_signed_in(kept: SignedIn) -> dict[str, Any]:
    access = kept.access
    return {
        "issuer": kept.issuer,
        "client_id": kept.client_id,
        "indicator": kept.indicator,
        "refresh": None if kept.refresh is None else kept.refresh.reveal(),
        "asked": sorted(kept.asked),
        "access": {
            "token": access.raw.reveal(),
            "resource": access.resource,
            "scopes": sorted(access.scopes),
            "obtained_at": access.obtained_at,
            "expires_at": access.expires_at,
            "proof_key": None if access.proofs is None else access.proofs.as_pem().reveal(),
        },
    }


def _client(found: Mapping[str, Any], issuer: str) -> RegisteredClient:
    secret, redirect_uri = found["secret"], found["redirect_uri"]
    credential: Credential = NoCredential()
    if secret is not None:
        credential = SecretCredential(Secret(_text(secret)), _METHODS[found["method"]])
    return RegisteredClient(
        issuer=issuer,
        client_id=_text(found["client_id"]),
        credential=credential,
        redirect_uri=None if redirect_uri is None else _text(redirect_uri),
    )


def _render_client(client: RegisteredClient) -> dict[str, Any]:
    secret = client.credential if isinstance(client.credential, SecretCredential) else None
    return {
        "client_id": client.client_id,
        "secret": None if secret is None else secret.secret.reveal(),
        "method": "none" if secret is None else secret.method,
        "redirect_uri": client.redirect_uri,
    }
