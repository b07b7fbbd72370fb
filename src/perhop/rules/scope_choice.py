"""Which scopes a client asks for.

Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

OFFLINE_ACCESS = "offline_access"


def choose_scopes(
    challenged: frozenset[str], *, of_resource: frozenset[str], held: frozenset[str], of_issuer: frozenset[str]
) -> frozenset[str] | None:
    """What to ask for: the challenge's scopes, else all of the resource's, else (None) nothing in particular.

    `held` was asked for before, and is asked for again, so that nothing is lost by asking for more. `offline_access` is
    added only where the authorization server lists it, and never alone.

    Spec: MCP 2026-07-28 authorization
    """
    wanted = (challenged or of_resource) | held
    if not wanted:
        return None
    return wanted | ({OFFLINE_ACCESS} & of_issuer)
