"""Whether one policy fits the schema.

Arguments differ from tool to tool, and Cedar knows no open record. So each policy is checked against the schema with
just the arguments that it reads, all optional, each of the type that the policy's own use asks for: an unguarded read
is refused, a `has` before it is not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files

import cedarpy
from cedarpy import pst

from perhop.policy.reads import argument_types

_TYPES = ("String", "Long", "Bool")
# Three arguments whose use tells no type: more than a policy that people can read will have.
_MOST_ATTEMPTS = len(_TYPES) ** 3
_NO_ARGUMENTS = "type Arguments = {};"
_UNGUARDED = re.compile(r"access to optional attribute `(?P<path>.+)` in context")
_UNKNOWN_TYPE = re.compile(r"unrecognized entity type")
_UNKNOWN_ACTION = re.compile(r"unrecognized action")
_NO_SERVER = re.compile(r"attribute `server` on entity type `MCP::Server`")
_PREFIX = re.compile(r"^for policy `[^`]*`, ")


def schema_problems(policy: pst.Template) -> tuple[str, ...]:
    """What Cedar's validator says against the policy; empty if it fits."""
    policy_set = pst.PolicySet(templates={}, static_policies={policy.id: policy}, template_links=())
    text = str(cedarpy.PolicySet.from_pst(policy_set))
    first: tuple[str, ...] | None = None
    for types in itertools.islice(_candidates(argument_types(policy)), _MOST_ATTEMPTS):
        result = cedarpy.validate_policies(text, _schema(types))
        if result.validation_passed:
            return ()
        if first is None:
            first = tuple(_PREFIX.sub("", each.error) for each in result.errors)
    return first or ("the validator gave no reason",)


def advice_for(problem: str) -> str:
    """What to do about a problem that the validator names; empty where its words suffice."""
    unguarded = _UNGUARDED.search(problem)
    if unguarded is not None:
        record, _, name = unguarded["path"].rpartition(".")
        return f"ask first whether it is there: `context{'.' if record else ''}{record} has {name} && ...`"
    if _NO_SERVER.search(problem):
        return (
            "list, issue and exchange are about the server itself: constrain `action`, or ask `resource is ...` first"
        )
    if _UNKNOWN_TYPE.search(problem):
        return "the types are MCP::Agent, User, Server, Tool, Prompt, Resource, Owner and Tenant"
    if _UNKNOWN_ACTION.search(problem):
        return "the actions are MCP::Action:: call_tool, get_prompt, read_resource, list, exchange and issue"
    return ""


def _candidates(types: dict[str, str | None]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every choice of types, those that the policy's use tells fixed."""
    choices = [(known,) if known is not None else _TYPES for known in types.values()]
    for chosen in itertools.product(*choices):
        yield tuple(zip(types, chosen, strict=True))


@lru_cache(maxsize=256)
def _schema(argument_types: tuple[tuple[str, str], ...]) -> cedarpy.Schema:
    arguments = ", ".join(f"{_quoted(name)}?: {type_name}" for name, type_name in argument_types)
    return cedarpy.Schema.from_str(_schema_text().replace(_NO_ARGUMENTS, f"type Arguments = {{{arguments}}};"))


@cache
def _schema_text() -> str:
    return files("perhop.policy").joinpath("schema.cedarschema").read_text(encoding="utf-8")


def _quoted(name: str) -> str:
    """An attribute name as a Cedar string."""
    plain = "".join(each if each.isprintable() and each not in '"\\' else f"\\u{{{ord(each):x}}}" for each in name)
    return f'"{plain}"'
