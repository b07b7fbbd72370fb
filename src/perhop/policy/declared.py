"""Whether the tools that a policy speaks of declare the arguments that it reads, by the schemas their owners approved.

A misspelt argument is never there: a forbid that reads it would let everything by, unseen. What cannot be told is not
said: of a resource whose tools nobody approved, and of prompts, nothing is known.

Spec: MCP 2025-11-25 server/tools
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perhop.core.call import Action, Target
from perhop.core.registry import Registry
from perhop.errors import PolicyError
from perhop.policy.arguments import declared_types
from perhop.policy.bodies import speaks_of_calls_at
from perhop.policy.finding import Finding, Severity, problem_of
from perhop.policy.policy_set import Policy
from perhop.policy.slices import fits_action, fits_resource
from perhop.policy.vocabulary import Scene, scene

Schemas = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Input schemas by resource and tool: of the resources whose owners approved their tools."""

_CEDAR_TYPES: Mapping[str, frozenset[str]] = {
    "String": frozenset({"string"}),
    "Long": frozenset({"integer", "number"}),
    "Bool": frozenset({"boolean"}),
}


def undeclared(policies: Sequence[Policy], registry: Registry, schemas: Schemas) -> Iterator[Finding]:
    """An error for each argument that a policy reads, and that no tool it speaks of declares, or declares so."""
    known = {name: tools for name, tools in schemas.items() if name in registry.resources}
    unknown = [_server(name, registry) for name in registry.resources if name not in known]
    tools = [
        (f"{name}/{tool}", schema, scene("", name, Target(Action.CALL_TOOL, tool), registry))
        for name, of_it in known.items()
        for tool, schema in of_it.items()
    ]
    prompts = [scene("", name, Target(Action.GET_PROMPT, "any"), registry) for name in known]
    for policy in policies:
        if not policy.arguments or any(speaks_of_calls_at(policy.tree, each) for each in unknown):
            continue
        if any(_fits(policy, each) for each in prompts):
            continue
        spoken_of = {name: schema for name, schema, about in tools if _fits(policy, about)}
        if spoken_of:
            yield from _problems(policy, spoken_of)


def check_declared(policies: Sequence[Policy], registry: Registry, schemas: Schemas) -> None:
    """Refuse a set with a policy that reads what no tool has.

    Raises: PolicyError
    """
    findings = tuple(undeclared(policies, registry, schemas))
    if findings:
        problem, advice = problem_of(findings)
        raise PolicyError(problem, advice=advice)


def _problems(policy: Policy, tools: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    for name in sorted(policy.arguments):
        types = [found for schema in tools.values() if (found := declared_types(schema, name)) is not None]
        if not types:
            # That an argument which the tool does not know is there may be forbidden; nothing else makes sense.
            if policy.effect == "permit" or name in policy.values:
                message = f"reads the argument `{name}`, which is declared by {_none_of(tools)}"
                yield _error(policy, message, _known_arguments(tools))
            continue
        wanted = _CEDAR_TYPES.get(policy.values.get(name) or "")
        if wanted is not None and all(found and wanted.isdisjoint(found) for found in types):
            said = ", ".join(f"`{each}`" for each in sorted(frozenset().union(*types)))
            message = f"reads the argument `{name}` as a {policy.values[name]}, and it is declared as {said}"
            yield _error(policy, message, "no call could be decided by it: compare it with a value of its own type")


def _fits(policy: Policy, about: Scene) -> bool:
    return fits_action(policy.tree, about) and fits_resource(policy.tree, about)


def _server(name: str, registry: Registry) -> Scene:
    return scene("", name, Target(Action.LIST), registry)


def _none_of(tools: Mapping[str, Any]) -> str:
    names = ", ".join(f"`{name}`" for name in list(tools)[:3])
    if len(tools) == 1:
        return f"no schema of {names}"
    return f"none of {len(tools)} tools ({names}{', ...' if len(tools) > 3 else ''})"


def _known_arguments(tools: Mapping[str, Mapping[str, Any]]) -> str:
    declared = sorted({str(name) for schema in tools.values() for name in schema.get("properties") or ()})
    if not declared:
        return "they have no arguments"
    return f"declared are {', '.join(f'`{name}`' for name in declared[:8])}{' and more' if len(declared) > 8 else ''}"


def _error(policy: Policy, message: str, advice: str) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        file=policy.file,
        line=policy.line,
        policy=policy.id,
        message=f"policy `{policy.id}` {message}",
        advice=advice,
    )
