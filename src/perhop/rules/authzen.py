"""The requests of AuthZEN's API: subject, action, resource and context, typed; unknown members are ignored.

Reads what a policy enforcement point sends. What the names mean here is the binding's part.

Spec: AuthZEN 1.0 §5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perhop.errors import AccessRequestMalformed

MAX_EVALUATIONS = 100
MAX_TYPE_LENGTH = 256
MAX_ID_LENGTH = 4096
MAX_TOKEN_LENGTH = 32 * 1024
"""A token of a page names what stood last on it, whose id may be as long as an id is."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entity:
    """A subject or a resource. Where a search looks for it, `id` is empty. Spec: AuthZEN 1.0 §5.1, AuthZEN 1.0 §5.2."""

    type: str
    id: str
    properties: Document


@dataclass(frozen=True, slots=True)
class AskedAction:
    """What somebody intends to do. Spec: AuthZEN 1.0 §5.3."""

    name: str
    properties: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One question: may this subject do this to this resource? Spec: AuthZEN 1.0 §6.1."""

    subject: Entity
    action: AskedAction
    resource: Entity
    context: Document


class Semantic(StrEnum):
    """Whether a decision ends the list. Spec: AuthZEN 1.0 §7.1.2.1."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """Several questions; in the place of one that cannot be read stands why. Spec: AuthZEN 1.0 §7.1."""

    items: tuple[Evaluation | AccessRequestMalformed, ...]
    semantic: Semantic


class Sought(StrEnum):
    """What a search looks for."""

    SUBJECT = "subject"
    RESOURCE = "resource"
    ACTION = "action"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which subjects, resources or actions would be permitted? What is sought has an empty `id` or `name`.

    `token` continues an earlier search, `limit` is the most that one answer may hold.

    Spec: AuthZEN 1.0 §8
    """

    sought: Sought
    pattern: Evaluation
    token: str | None
    limit: int | None


def parse_evaluation(document: object) -> Evaluation:
    """Read one question.

    Spec: AuthZEN 1.0 §6.1
    Raises: AccessRequestMalformed
    """
    return _parse_question(_object(document, "the body"))


def parse_evaluations(document: object) -> Evaluation | Evaluations:
    """Read several questions; without any, the one that the top level asks.

    A question that lacks a member takes it whole from the top level; members are not merged.

    Spec: AuthZEN 1.0 §7.1
    Raises: AccessRequestMalformed
    """
    body = _object(document, "the body")
    semantic = _parse_semantic(body)
    listed = body.get("evaluations", [])
    if not isinstance(listed, list) or len(listed) > MAX_EVALUATIONS:
        raise AccessRequestMalformed(f"`evaluations` is not a list of at most {MAX_EVALUATIONS}")
    if not listed:
        return _parse_question(body)
    defaults = {name: value for name, value in body.items() if name in _PARSERS}
    for name, value in defaults.items():
        _PARSERS[name](value, name)
    items = tuple(_object(each, f"`evaluations[{index}]`") for index, each in enumerate(listed))
    return Evaluations(items=tuple(_try_question({**defaults, **each}) for each in items), semantic=semantic)


def parse_search(document: object, sought: Sought) -> Search:
    """Read a search; the `id` of what is sought is not looked at.

    Spec: AuthZEN 1.0 §8.4.1, AuthZEN 1.0 §8.5.1, AuthZEN 1.0 §8.6.1
    Raises: AccessRequestMalformed
    """
    body = _object(document, "the body")
    is_subject, is_resource = sought is Sought.SUBJECT, sought is Sought.RESOURCE
    pattern = Evaluation(
        subject=_parse_entity(_member(body, "subject"), "subject", has_id=not is_subject),
        action=AskedAction("", {}) if sought is Sought.ACTION else _parse_action(_member(body, "action"), "action"),
        resource=_parse_entity(_member(body, "resource"), "resource", has_id=not is_resource),
        context=_parse_context(body),
    )
    token, limit = _parse_page(body)
    return Search(sought=sought, pattern=pattern, token=token, limit=limit)


def _try_question(question: Document) -> Evaluation | AccessRequestMalformed:
    """A question of a list that cannot be read is answered by itself. Spec: AuthZEN 1.0 §7.2.1."""
    try:
        return _parse_question(question)
    except AccessRequestMalformed as fact:
        return fact


def _parse_question(body: Document) -> Evaluation:
    return Evaluation(
        subject=_parse_entity(_member(body, "subject"), "subject"),
        action=_parse_action(_member(body, "action"), "action"),
        resource=_parse_entity(_member(body, "resource"), "resource"),
        context=_parse_context(body),
    )


def _parse_entity(value: object, name: str, *, has_id: bool = True) -> Entity:
    entity = _object(value, f"`{name}`")
    return Entity(
        _text(entity, name, "type", MAX_TYPE_LENGTH),
        _text(entity, name, "id", MAX_ID_LENGTH) if has_id else "",
        _properties(entity, name),
    )


def _parse_action(value: object, name: str) -> AskedAction:
    action = _object(value, f"`{name}`")
    return AskedAction(_text(action, name, "name", MAX_TYPE_LENGTH), _properties(action, name))


def _parse_context(body: Document) -> Document:
    return _object(body.get("context", {}), "`context`")


_PARSERS: Mapping[str, Callable[[object, str], object]] = {
    "subject": _parse_entity,
    "action": _parse_action,
    "resource": _parse_entity,
    "context": lambda value, name: _object(value, f"`{name}`"),
}


def _parse_semantic(body: Document) -> Semantic:
    """Options that we do not know are ignored; a semantic that we do not know changes what the answers mean."""
    options = _object(body.get("options", {}), "`options`")
    try:
        return Semantic(options.get("evaluations_semantic", Semantic.EXECUTE_ALL))
    except ValueError:
        words = ", ".join(f"`{each}`" for each in Semantic)
        raise AccessRequestMalformed(f"`options.evaluations_semantic` is none of {words}") from None


def _parse_page(body: Document) -> tuple[str | None, int | None]:
    page = _object(body.get("page", {}), "`page`")
    token, limit = page.get("token"), page.get("limit")
    if token is not None and (not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH):
        raise AccessRequestMalformed("`page.token` is not one of ours")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise AccessRequestMalformed("`page.limit` is not a whole number of 0 or more")
    return token or None, limit


def _member(body: Document, name: str) -> object:
    if name not in body:
        raise AccessRequestMalformed(f"`{name}` is missing")
    return body[name]


def _object(value: object, name: str) -> Document:
    if not isinstance(value, dict):
        raise AccessRequestMalformed(f"{name} is not an object")
    return value


def _text(entity: Document, name: str, member: str, longest: int) -> str:
    value = entity.get(member)
    if not isinstance(value, str) or len(value) > longest:
        raise AccessRequestMalformed(f"`{name}.{member}` is missing or not a string of at most {longest} characters")
    return value


def _properties(entity: Document, name: str) -> Document:
    return _object(entity.get("properties", {}), f"`{name}.properties`")
