"""Consent: what a person is asked, in words, and how long the answer holds.

Pure: what is stored and shown elsewhere is computed here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never
from urllib.parse import urlsplit

from perhop.authorization_server.people_store import Consent
from perhop.core.client import Client, ClientSecret, HashedSecret, NoAuthentication, PrivateKeyJwt
from perhop.core.registry import Registry
from perhop.core.resource import Hop, Resource, Scope
from perhop.core.task import Task
from perhop.rules.reach import reach
from perhop.rules.redirect_uri import is_loopback_only


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """A resource that the server may call on with what it is given, and the scopes it can get there."""

    resource: Resource
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Everything that a person is asked to agree to."""

    client: Client
    resource: Resource
    scopes: tuple[Scope, ...]
    onward: tuple[Onward, ...]
    hops: tuple[Hop, ...]
    redirect_host: str
    ends_on_loopback: bool = False
    task: Task | None = None

    @property
    def published_by(self) -> str | None:
        """The host that says what the client is; None where the configuration or an owner does."""
        return self.client.published_by

    @property
    def may_be_anyone(self) -> bool:
        """True where the answer goes to the person's own machine, and whoever gets it proves nothing.

        It does not matter where else the application could have it sent: any program there can ask in its name.

        Spec: MCP 2026-07-28 authorization
        Spec: RFC 8252 §8.6
        """
        return isinstance(self.client.authentication, NoAuthentication) and self.ends_on_loopback


def terms_of(
    client: Client,
    resource: Resource,
    scopes: Iterable[str],
    redirect_uri: str,
    registry: Registry,
    *,
    task: Task | None = None,
) -> Terms:
    """What this request asks a person to agree to; scopes in the order of the configuration."""
    wanted = frozenset(scopes)
    reached = reach(resource, wanted, registry)
    names = {each.resource.name for each in reached}
    return Terms(
        client=client,
        resource=resource,
        scopes=_chosen(resource, wanted),
        onward=tuple(
            Onward(resource=each.resource, scopes=_chosen(each.resource, each.scopes))
            for each in reached
            if each.hops > 0
        ),
        hops=tuple(hop for hop in registry.hops if hop.source in names),
        ends_on_loopback=redirect_uri != "" and is_loopback_only((redirect_uri,)),
        redirect_host=urlsplit(redirect_uri).hostname or redirect_uri.partition(":")[0],
        task=task,
    )


def _chosen(resource: Resource, names: frozenset[str]) -> tuple[Scope, ...]:
    return tuple(scope for name, scope in resource.scopes.items() if name in names)


def terms_digest(terms: Terms) -> str:
    """Hex SHA-256 of what the person was shown and what stands behind it; a stored consent lapses when it changes.

    Without the task: what a person allows under one is not stored as a consent, and is asked for anew.
    """
    said = {
        "client": terms.client.id,
        "purpose": terms.client.purpose,
        "owner": terms.resource.owner,
        "redirect_uris": sorted(terms.client.redirect_uris),
        "keys": _keys(terms.client),
        "resource": terms.resource.uri,
        "scopes": _scopes(terms.scopes),
        "onward": {each.resource.uri: _scopes(each.scopes) for each in terms.onward},
        "hops": sorted([hop.source, hop.target, sorted(hop.scopes.items())] for hop in terms.hops),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _scopes(scopes: Iterable[Scope]) -> Mapping[str, Any]:
    return {scope.name: {"says": scope.says, "tools": list(scope.tools)} for scope in scopes}


def _keys(client: Client) -> Any:
    match client.authentication:
        case NoAuthentication():
            return []
        case ClientSecret(secret=secret):
            return repr(secret)  # a fingerprint
        case HashedSecret(sha256=sha256):
            return sha256
        case PrivateKeyJwt(keys=keys):
            return [dict(key) for key in keys]
        case _:
            assert_never(client.authentication)


def is_task_known(terms: Terms, subject: str) -> bool:
    """True if there is no task, or this person has approved exactly this one."""
    return terms.task is None or (terms.task.is_approved and terms.task.subject == subject)


def new_scopes(consent: Consent | None, terms: Terms) -> frozenset[str]:
    """The scopes that are asked for beyond a stored consent; none where nothing of it was allowed before.

    What a scope means may have changed since: that is `is_covered`, and is asked about anew as a whole.
    """
    asked = frozenset(scope.name for scope in terms.scopes)
    return asked - consent.scopes if consent is not None and asked & consent.scopes else frozenset()


def is_covered(consent: Consent | None, terms: Terms) -> bool:
    """True if a stored consent answers this request, so that the person need not be asked again.

    Does not look at the task: see `is_task_known`.

    A public client whose answer goes to a loopback address is asked every time: any program of the machine can be it.

    Spec: RFC 8252 §8.6
    """
    if consent is None or terms.may_be_anyone:
        return False
    return consent.terms == terms_digest(terms) and consent.scopes == frozenset(scope.name for scope in terms.scopes)
