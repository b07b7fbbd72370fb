"""Scopes: parsed strictly, narrowed and never widened, mapped through a hop, held against a tool.

Spec: RFC 6749 §3.3
"""

from __future__ import annotations

import re
from collections.abc import Collection

from perhop.core.resource import Hop, Resource
from perhop.core.token import BoundToken
from perhop.errors import PolicyDenied, ScopeInsufficient, ScopeInvalid

MAX_SCOPE_BYTES = 2048

# scope-token = 1*( %x21 / %x23-5B / %x5D-7E ); scope = scope-token *( SP scope-token )
_SCOPE_TOKEN = r"[\x21\x23-\x5b\x5d-\x7e]+"
_SCOPE = re.compile(rf"{_SCOPE_TOKEN}(?: {_SCOPE_TOKEN})*")


def parse_scope(text: str | None) -> frozenset[str]:
    """The scopes that a parameter or claim names; none if it is absent or empty.

    Order and repetition say nothing in RFC 6749, so a repeated scope counts once. Does not look whether a scope exists.

    Spec: RFC 6749 §3.3
    Raises: ScopeInvalid
    """
    if not text:
        return frozenset()
    if len(text) > MAX_SCOPE_BYTES:
        raise ScopeInvalid(f"longer than {MAX_SCOPE_BYTES} bytes")
    if _SCOPE.fullmatch(text) is None:
        raise ScopeInvalid("not a list of scopes with single spaces between them")
    return frozenset(text.split(" "))


def render_scope(scopes: Collection[str]) -> str:
    """The scopes as one text, in one order. Spec: RFC 6749 §3.3."""
    return " ".join(sorted(scopes))


def narrow(requested: frozenset[str] | None, allowed: frozenset[str]) -> frozenset[str]:
    """What is granted: all that was asked for, or all that is allowed where nothing was.

    Asking for more than is allowed is refused and not cut down, so that nobody takes less for what was asked.

    Spec: RFC 6749 §3.3
    Spec: RFC 8693 §2.2.2
    Raises: ScopeInvalid
    """
    if not allowed:
        raise ScopeInvalid("no scope is allowed here")
    if not requested:
        return allowed
    beyond = requested - allowed
    if beyond:
        raise ScopeInvalid(f"not allowed: `{render_scope(beyond)}`")
    return requested


def map_through_hop(parent_scopes: frozenset[str], hop: Hop) -> frozenset[str]:
    """Every scope of the hop's target that one of the parent's scopes maps to; possibly none."""
    return frozenset(scope for parent in parent_scopes for scope in hop.scopes.get(parent, ()))


def is_tool_in_scope(scopes: frozenset[str], resource: Resource, tool: str) -> bool:
    """True if the resource lists no tools at all, or one of these scopes lists this one."""
    if not resource.lists_tools:
        return True
    return any(scope.name in scopes and scope.lists(tool) for scope in resource.scopes.values())


def check_tool_scope(bound: BoundToken, resource: Resource, tool: str) -> None:
    """Refuse a call of a tool that no scope of the token lists; the refusal names the scope that would.

    A tool that no scope of the resource lists can be had by no token: no scope can be named, so it is denied instead.

    Spec: RFC 6750 §3.1
    Raises: ScopeInsufficient, PolicyDenied
    """
    check_scopes_list(bound.scopes, resource, tool)


def check_scopes_list(scopes: frozenset[str], resource: Resource, tool: str) -> None:
    """The same for scopes that are not a bound token's. Raises: ScopeInsufficient, PolicyDenied."""
    if is_tool_in_scope(scopes, resource, tool):
        return
    needed = resource.scope_for(tool)
    if needed is None:
        raise PolicyDenied(f"no scope of `{resource.name}` lists the tool `{tool}`")
    raise ScopeInsufficient(needed, f"`{tool}` needs the scope `{needed}`")
