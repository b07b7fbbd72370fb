"""What a resource says to a client that it turns away, and the metadata that the challenge points to.

Spec: RFC 6750 §3
Spec: RFC 9728 §2
Spec: RFC 9728 §3.1
Spec: RFC 9728 §5.1
Spec: RFC 9449 §7.1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perhop.core.call import Headers
from perhop.core.resource import ResourceUri
from perhop.errors import (
    AuthenticationInsufficient,
    BearerRefused,
    ProofRefused,
    ScopeInsufficient,
    SenderMismatch,
    TokenMissing,
)
from perhop.rules.bearer import Scheme
from perhop.rules.dpop import PROOF_ALGORITHMS

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def taken_schemes(headers: Headers, *, must_be_bound: bool = False) -> tuple[Scheme, ...]:
    """The schemes that a refused request hears of, its own first: who speaks of proofs is not told to go without.

    Spec: RFC 9449 §7.1
    """
    authorization = next((value for name, value in headers if name.lower() == "authorization"), "")
    is_dpop = authorization.partition(" ")[0].lower() == "dpop"
    return (Scheme.DPOP,) if is_dpop or must_be_bound else (Scheme.BEARER, Scheme.DPOP)


def render_challenge(
    fact: BearerRefused | AuthenticationInsufficient,
    *,
    metadata_url: str,
    scopes: Sequence[str],
    taken: Sequence[Scheme],
) -> str:
    """The value of `WWW-Authenticate` for a refused token: one field, with a challenge for each scheme that is taken.

    `scopes` is what a client should ask for here; a missing scope names itself instead. Says nothing of why a token
    was refused beyond the code of RFC 6750, so that a stranger learns nothing. A token that needs a proof hears of
    no other way. `Bearer` comes first where it comes: there are clients that read no further. A sign-in that is wanted
    is named by its age and its ways, and the scopes are then those that the token has.

    Spec: RFC 6750 §3
    Spec: RFC 9449 §7.1
    Spec: RFC 9470 §3
    Spec: RFC 9728 §5.1
    """
    asked = _asked_scopes(fact, scopes)
    parameters: list[tuple[str, str]] = []
    if not isinstance(fact, TokenMissing):
        parameters += [("error", fact.error), ("error_description", fact.description)]
    if isinstance(fact, AuthenticationInsufficient):
        parameters += _wanted_sign_in(fact)
    if asked:
        parameters.append(("scope", " ".join(asked)))
    parameters.append(("resource_metadata", metadata_url))
    algorithms = ("algs", " ".join(PROOF_ALGORITHMS))
    if isinstance(fact, SenderMismatch | ProofRefused) or Scheme.BEARER not in taken:
        return _rendered(Scheme.DPOP, [*parameters, algorithms])
    challenge = _rendered(Scheme.BEARER, parameters)
    # The token of a 403 is good, and was good as it came.
    return f"{challenge}, {_rendered(Scheme.DPOP, [algorithms])}" if fact.status == 401 else challenge


def _asked_scopes(fact: BearerRefused | AuthenticationInsufficient, advertised: Sequence[str]) -> tuple[str, ...]:
    match fact:
        case ScopeInsufficient(scope=scope):
            return (scope,)
        case AuthenticationInsufficient(scopes=scopes):
            return scopes
        case _:
            return tuple(advertised)


def _wanted_sign_in(fact: AuthenticationInsufficient) -> list[tuple[str, str]]:
    age = [] if fact.max_age is None else [("max_age", str(fact.max_age))]
    return [*age, *([("acr_values", " ".join(fact.acr_values))] if fact.acr_values else [])]


def _rendered(scheme: Scheme, parameters: Sequence[tuple[str, str]]) -> str:
    return f"{scheme.value} " + ", ".join(f"{name}={_quoted(value)}" for name, value in parameters)


def metadata_path(resource: ResourceUri) -> str:
    """Path at which the resource's own metadata is served: the well-known suffix goes before the resource's path.

    Spec: RFC 9728 §3.1
    """
    _, path, _ = _split(resource)
    return WELL_KNOWN + path


def metadata_url(resource: ResourceUri) -> str:
    """Address of the resource's own metadata; a query of the resource stays at its end.

    Spec: RFC 9728 §3.1
    """
    origin, path, query = _split(resource)
    return origin + WELL_KNOWN + path + query


def resource_metadata_document(
    resource: ResourceUri,
    *,
    authorization_servers: Sequence[str],
    scopes: Sequence[str],
    name: str | None = None,
    must_be_bound: bool = False,
) -> dict[str, Any]:
    """The protected resource metadata: `resource` is the audience to ask for, character for character.

    Spec: RFC 9728 §2
    """
    document: dict[str, Any] = {
        "resource": resource,
        "authorization_servers": list(authorization_servers),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
    }
    if must_be_bound:
        document["dpop_bound_access_tokens_required"] = True
    if scopes:
        document["scopes_supported"] = list(scopes)
    if name is not None:
        document["resource_name"] = name
    return document


def _split(resource: ResourceUri) -> tuple[str, str, str]:
    """Origin, path and `?query` of a canonical URI, which has no other parts."""
    scheme, _, rest = resource.partition("://")
    before_query, mark, query = rest.partition("?")
    authority, slash, path = before_query.partition("/")
    return f"{scheme}://{authority}", slash + path, mark + query


def _quoted(value: str) -> str:
    """A quoted-string. Spec: RFC 9110 §5.6.4."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
