"""Why an operator got no token for a client, as somebody can mend it who may read the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perhop.core.client import NoAuthentication
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.errors import GrantTypeNotAllowed, IssueRefused, Refused, ScopeInvalid


def explained(
    fact: Refused, registry: Registry, *, client: str, resource: str, scopes: Sequence[str]
) -> IssueRefused | None:
    """The same refusal with a remedy; None where what was refused says all that there is to say."""
    known = registry.clients.get(client)
    if isinstance(fact, GrantTypeNotAllowed) and known is not None:
        if not isinstance(known.authentication, NoAuthentication):
            return None
        problem = f"client `{client}` gets no token for itself: it is a public client"
        return _refused(fact, problem, "people sign in with it; see `perhop client-config`")
    at = registry.resources.get(resource) or registry.resource_at(resource)
    if isinstance(fact, ScopeInvalid) and known is not None and at is not None:
        return _scope_refused(fact, at, client, " ".join(scopes).split())
    return None


def _scope_refused(fact: ScopeInvalid, at: Resource, client: str, scopes: Sequence[str]) -> IssueRefused:
    unknown = [each for each in scopes if each not in at.scopes]
    if unknown:
        problem = f"the resource `{at.name}` has no scope {_listed(unknown)}"
        return _refused(fact, problem, f"it has {_listed(at.scopes)}; see `resources.{at.name}.scopes` in perhop.yaml")
    problem = f"client `{client}` may not have every one of these at `{at.name}`: {_listed(scopes)}"
    return _refused(fact, problem, f"add what is missing to `clients.{client}.reaches.{at.name}`, or ask for less")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


def _refused(fact: Refused, problem: str, advice: str) -> IssueRefused:
    return IssueRefused(f"{problem} ({fact.reason})", advice=advice)
