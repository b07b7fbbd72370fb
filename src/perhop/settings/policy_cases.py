"""Files of test cases for policies: one strict YAML file, read as `perhop.yaml` is.

Every name in a case is held against the configuration and the policies, so that a misspelt one cannot make a case pass
that says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from perhop.core.authentication import Authentication
from perhop.core.call import Action, Target
from perhop.core.decision import Question
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.core.task import Task, TaskLimits
from perhop.errors import JsonUnparsable, NotFound
from perhop.policy.cases import PolicyCase
from perhop.policy.outcome import Outcome
from perhop.policy.posing import parse_arguments
from perhop.policy.stated_task import state_task
from perhop.rules.delegation import GATEWAY_PREFIX
from perhop.rules.mcp_methods import SUPPORTED_REVISIONS
from perhop.settings.policy_case_sections import USUAL_TIME, CaseSection, CasesFile
from perhop.settings.problems import Findings, did_you_mean, dotted, settings_error
from perhop.settings.reference import Setting, describe_section
from perhop.settings.shape import parse_sections
from perhop.settings.sources import Key, read_file

_NAMED = ("tool", "prompt", "read")


def load_cases(path: Path, registry: Registry, policies: Collection[str]) -> tuple[PolicyCase, ...]:
    """The cases of a file. `policies` are the ids that there are.

    Raises: NotFound, SettingsError
    """
    if not path.is_file():
        raise NotFound(f"there is no file of cases `{path}`", advice="name a YAML file of test cases")
    findings = Findings(read_file(path))
    file = parse_sections(CasesFile, findings)
    cases = tuple(_cases(file.cases, registry, policies, findings)) if file is not None else ()
    if findings.problems:
        raise settings_error(findings.problems)
    return cases


def presenters_of(registry: Registry) -> frozenset[str]:
    """Who can present a token, or stand in its chain: every client, and the gateway of every resource."""
    return frozenset({*registry.clients, *(GATEWAY_PREFIX + name for name in registry.resources)})


def describe_cases() -> list[Setting]:
    """Every key that a file of cases can have."""
    return describe_section(CasesFile)


def _cases(
    sections: Sequence[CaseSection], registry: Registry, policies: Collection[str], findings: Findings
) -> Iterator[PolicyCase]:
    names: set[str] = set()
    for index, section in enumerate(sections):
        path = ("cases", index)
        if section.name in names:
            findings.add((*path, "name"), f"two cases are named `{section.name}`")
        names.add(section.name)
        question = _question(path, section, registry, findings)
        for at, policy in enumerate(section.by or ()):
            if policy not in policies:
                findings.add_unknown((*path, "by", at), "policy", policy, policies)
        if section.expect == "approval" and section.action is not None:
            text = f"`{section.action}` needs no permit, so nobody is asked to approve it"
            findings.add((*path, "expect"), text, "write `expect: permit`")
        elif section.by and section.expect == "permit" and section.action is not None:
            findings.add((*path, "by"), f"`{section.action}` needs no permit, so nothing permits it", "write `by: []`")
        if question is not None:
            yield PolicyCase(
                name=section.name,
                place=findings.source.place(path),
                question=question,
                expect=Outcome(section.expect),
                by=frozenset(section.by) if section.by is not None else None,
            )


def _question(path: tuple[Key, ...], section: CaseSection, registry: Registry, findings: Findings) -> Question | None:
    """What the case asks; None if that cannot be told, and then there is a problem."""
    _check_clients(path, section, registry, findings)
    target = _target(path, section, findings)
    now = _time((*path, "time"), section.time or USUAL_TIME, findings)
    _check_ip((*path, "ip"), section.ip, findings)
    if section.subject is not None and not section.subject.startswith("user:"):
        findings.add((*path, "subject"), f"`{section.subject}` is not a person", "write it as `user:ann`")
    if section.groups is not None and section.subject is None:
        findings.add((*path, "groups"), "nobody is there who could be in groups", "name the person as `subject`")
    if section.revision not in SUPPORTED_REVISIONS:
        findings.add_unknown((*path, "revision"), "revision", section.revision, SUPPORTED_REVISIONS)
    if section.task is not None and section.task.approved and section.subject is None:
        findings.add((*path, "task", "approved"), "nobody has approved this task", "name the person as `subject`")
    authentication = _authentication(path, section, findings)
    arguments = _arguments((*path, "arguments"), section.arguments, findings)
    resource = registry.resources.get(section.resource)
    if resource is None:
        findings.add_unknown((*path, "resource"), "resource", section.resource, registry.resources)
        return None
    _check_within((*path,), section, resource, findings)
    if target is None or now is None:
        return None
    return Question(
        target=target,
        agent=section.agent,
        server=section.resource,
        subject=section.subject,
        client_id=section.client or (section.actors[0] if section.actors else section.agent),
        actors=tuple(section.actors),
        scopes=frozenset(section.scopes if section.scopes is not None else resource.scopes),
        hop=section.hop or 1 + len(section.actors),
        now=now,
        arguments=arguments,
        tenant=resource.tenant,
        ip=section.ip or "",
        revision=section.revision,
        session=section.session or "",
        task=_task(section, now),
        groups=frozenset(section.groups) if section.groups is not None else None,
        authentication=authentication,
    )


def _authentication(path: tuple[Key, ...], section: CaseSection, findings: Findings) -> Authentication:
    for key in ("auth_time", "acr"):
        if getattr(section, key) is not None and section.subject is None:
            findings.add((*path, key), "nobody is there who could have signed in", "name the person as `subject`")
    time = _time((*path, "auth_time"), section.auth_time, findings) if section.auth_time is not None else None
    return Authentication(time, section.acr)


def _task(section: CaseSection, now: int) -> Task | None:
    if section.task is None:
        return None
    limits = TaskLimits(calls=section.task.limits.calls, writes=section.task.limits.writes)
    return state_task(
        section.agent,
        section.task.purpose,
        subject=section.subject if section.task.approved else None,
        approved=section.task.approved,
        limits=limits,
        now=now,
    )


def _check_clients(path: tuple[Key, ...], section: CaseSection, registry: Registry, findings: Findings) -> None:
    may_present = presenters_of(registry)
    if section.agent not in registry.clients:
        findings.add_unknown((*path, "agent"), "agent", section.agent, registry.clients)
    presenters: list[tuple[tuple[Key, ...], str]] = [
        ((*path, "actors", at), each) for at, each in enumerate(section.actors)
    ]
    if section.client is not None:
        presenters.append(((*path, "client"), section.client))
    for where, name in presenters:
        if name not in may_present:
            findings.add_unknown(where, "client", name, may_present)


def _check_within(path: tuple[Key, ...], section: CaseSection, resource: Resource, findings: Findings) -> None:
    """The names that belong to the resource: its scopes, and the tools that those list."""
    for at, scope in enumerate(section.scopes or ()):
        if scope not in resource.scopes:
            text = f"unknown scope `{scope}` of resource `{resource.name}`"
            findings.add((*path, "scopes", at), text, did_you_mean(scope, resource.scopes))
    tool = section.tool
    if tool is not None and resource.lists_tools and resource.scope_for(tool) is None:
        listed = {each for scope in resource.scopes.values() for each in scope.tools if "*" not in each}
        text = f"unknown tool `{tool}`: no scope of `{resource.name}` lists it"
        findings.add((*path, "tool"), text, did_you_mean(tool, listed))


def _target(path: tuple[Key, ...], section: CaseSection, findings: Findings) -> Target | None:
    named: Mapping[str, Action] = dict(
        zip(_NAMED, (Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE), strict=True)
    )
    chosen = [Target(action, name) for key, action in named.items() if (name := getattr(section, key)) is not None]
    if section.action is not None:
        chosen.append(Target(Action(section.action)))
    if len(chosen) != 1:
        findings.add(path, f"`{dotted(path)}` asks {'several things' if chosen else 'nothing'}", _ONE_QUESTION)
        return None
    if section.arguments is not None and chosen[0].action not in (Action.CALL_TOOL, Action.GET_PROMPT):
        findings.add((*path, "arguments"), "only tools and prompts have arguments")
    return chosen[0]


_ONE_QUESTION = "write one of `tool`, `prompt`, `read`, `action`"


def _arguments(path: tuple[Key, ...], given: Any, findings: Findings) -> Mapping[str, Any]:
    """The arguments as the call has them."""
    if given is None:
        return {}
    if isinstance(given, str):
        try:
            return parse_arguments(given)
        except JsonUnparsable as error:
            findings.add(path, f"`{dotted(path)}` is not a JSON object: {error.detail}", "write keys and values")
    elif isinstance(given, dict):
        return given
    else:
        findings.add(path, f"`{dotted(path)}` must hold keys and values, or be a JSON object as text")
    return {}


def _time(path: tuple[Key, ...], text: str, findings: Findings) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        findings.add(path, f"`{text}` is not a time", f"write it as `{USUAL_TIME}`")
        return None
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())


def _check_ip(path: tuple[Key, ...], text: str | None, findings: Findings) -> None:
    try:
        ip_address(text or "::")
    except ValueError:
        findings.add(path, f"`{text}` is not an address")
