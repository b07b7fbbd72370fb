"""`perhop policy explain`: one question, what is decided, and why."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile, parse_moment
from perhop.cli.output import emit_json, emit_text, say
from perhop.cli.policy_folder import PolicyFolder, emit_explanation, load_engine, policy_folder, unpinned
from perhop.control.failure import ExitCode
from perhop.errors import JsonUnparsable, NotFound

if TYPE_CHECKING:
    from perhop.core.authentication import Authentication
    from perhop.core.call import Target
    from perhop.core.registry import Registry
    from perhop.core.resource import Resource
    from perhop.core.task import Task, TaskLimits

_MOST_NEAR = 5


def explain(
    agent: Annotated[str, typer.Option("--agent", metavar="CLIENT", help="Who calls.")],
    resource: Annotated[str, typer.Option("--resource", metavar="NAME", help="The resource.")],
    tool: Annotated[str | None, typer.Option("--tool", metavar="TOOL", help="The tool that is called.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="PROMPT", help="The prompt that is got.")] = None,
    read: Annotated[str | None, typer.Option("--read", metavar="URI", help="The MCP resource that is read.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="NAME", help="list, issue or exchange instead.")
    ] = None,
    arguments: Annotated[str, typer.Option("--arguments", metavar="JSON", help="The tool's arguments.")] = "{}",
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="SUB", help="The person, as user:... (default: none).")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="G", help="A group of that person (default: groups are not known)."),
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="S", help="A scope of the token (default: all).")
    ] = None,
    actor: Annotated[
        list[str] | None, typer.Option("--actor", metavar="CLIENT", help="An actor, the outermost first.")
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", metavar="CLIENT", help="Who presents (default: the outermost actor).")
    ] = None,
    hop: Annotated[
        int | None, typer.Option("--hop", min=1, help="Which token of the chain (default: one more than actors).")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="When (default: now).")] = None,
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="The caller's address (default: none).")] = "",
    purpose: Annotated[
        str | None, typer.Option("--purpose", metavar="TEXT", help="What the token's task is for (default: no task).")
    ] = None,
    approved: Annotated[bool, typer.Option("--approved", help="A person has approved the task.")] = False,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", min=0, metavar="N", help="The task's limit on calls (default: none).")
    ] = None,
    max_writes: Annotated[
        int | None, typer.Option("--max-writes", min=0, metavar="N", help="The task's limit on writes (default: none).")
    ] = None,
    auth_time: Annotated[
        str | None, typer.Option("--auth-time", metavar="TIME", help="When the person signed in (default: not known).")
    ] = None,
    acr: Annotated[
        str | None, typer.Option("--acr", metavar="ACR", help="How, as their provider says (default: not known).")
    ] = None,
    policies: PolicyFolder = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Say what is decided on a call, by scope and policy, and why. Of a refusal, also what the nearest permit needs.

    Exit code 0 only where the call passes by itself: one that needs the approval of a person is refused until then.
    """
    import asyncio

    from perhop.control.known_schemas import known_tools
    from perhop.core.decision import Question
    from perhop.core.task import TaskLimits
    from perhop.policy.explain import explain as explain_question
    from perhop.policy.explain import explain_not_asked
    from perhop.policy.posing import NotAsked, pose
    from perhop.wiring.newcomers_on_file import with_newcomers

    settings = with_newcomers(load_settings(config))
    for kind, name, defined in (
        ("resource", resource, settings.registry.resources),
        ("client", agent, settings.registry.clients),
    ):
        if name not in defined:
            raise NotFound(f"the configuration defines no {kind} `{name}`", advice=f"run `perhop {kind} list`")
    if subject is not None and not subject.startswith("user:"):
        raise typer.BadParameter(f"`{subject}` is not a person: write it as `user:ann`", param_hint="--subject")
    if group is not None and subject is None:
        raise typer.BadParameter("nobody is there who could be in groups: name the person", param_hint="--subject")
    described = settings.registry.resources[resource]
    actors = tuple(actor or ())
    _check_names(settings.registry, described, scopes=scope or (), actors=actors, client=client)
    _check_ip(ip)
    question = Question(
        target=_target(tool, prompt, read, action),
        agent=agent,
        server=resource,
        subject=subject,
        client_id=client or (actors[0] if actors else agent),
        actors=actors,
        scopes=frozenset(scope if scope is not None else described.scopes),
        hop=hop or 1 + len(actors),
        now=_seconds(at),
        arguments=_arguments(arguments),
        tenant=described.tenant,
        ip=ip,
        groups=frozenset(group) if group is not None else None,
        task=_task(
            agent, purpose, subject=subject, approved=approved, limits=TaskLimits(calls=max_calls, writes=max_writes)
        ),
        authentication=_authentication(auth_time, acr, subject),
    )
    engine = load_engine(policy_folder(policies, settings), settings)
    known = asyncio.run(known_tools(settings))
    tools = known.get(resource) if known is not None else None
    posed = pose(question, described, tools)
    if isinstance(posed, NotAsked):
        explanation = explain_not_asked(engine, posed.why)
    else:
        _say_unread(posed.arguments)
        explanation = explain_question(engine, posed)
    if as_json:
        emit_json({**asdict(explanation), "pinned": tools is not None})
    else:
        emit_text(explanation.summary)
        emit_explanation(explanation, most_near=_MOST_NEAR)
        if tool is not None and tools is None:
            emit_text(f"  {unpinned([resource], has_database=known is not None)}")
    if not explanation.allowed:
        raise typer.Exit(ExitCode.DENIED)


def _check_names(
    registry: Registry, resource: Resource, *, scopes: Iterable[str], actors: Iterable[str], client: str | None
) -> None:
    """Refuse a misspelt name: the answer would be one about another question."""
    from perhop.settings.policy_cases import presenters_of
    from perhop.settings.problems import did_you_mean

    presenters, scopes_there = presenters_of(registry), frozenset(resource.scopes)
    for option, names, known, lack in (
        ("--scope", scopes, scopes_there, f"`{resource.name}` has no scope"),
        ("--actor", actors, presenters, "there is no client"),
        ("--client", () if client is None else (client,), presenters, "there is no client"),
    ):
        for name in names:
            if name not in known:
                told = filter(None, (f"{lack} `{name}`", did_you_mean(name, known)))
                raise typer.BadParameter("; ".join(told), param_hint=option)


def _check_ip(text: str) -> None:
    from ipaddress import ip_address

    try:
        ip_address(text or "::")
    except ValueError:
        raise typer.BadParameter(f"`{text}` is not an address", param_hint="--ip") from None


def _task(agent: str, purpose: str | None, *, subject: str | None, approved: bool, limits: TaskLimits) -> Task | None:
    """A task of this purpose, approved or not, with these limits."""
    from perhop.policy.stated_task import state_task

    if purpose is not None:
        return state_task(agent, purpose, subject=subject, approved=approved, limits=limits, now=int(time.time()))
    given = {"--approved": approved, "--max-calls": limits.calls is not None, "--max-writes": limits.writes is not None}
    for option, is_given in given.items():
        if is_given:
            raise typer.BadParameter("there is no task: say what it is for with --purpose", param_hint=option)
    return None


def _authentication(auth_time: str | None, acr: str | None, subject: str | None) -> Authentication:
    from datetime import datetime

    from perhop.core.authentication import Authentication

    for option, given in (("--auth-time", auth_time), ("--acr", acr)):
        if given is not None and subject is None:
            raise typer.BadParameter("nobody is there who could have signed in: name the person", param_hint=option)
    moment = parse_moment(auth_time, "--auth-time")
    return Authentication(None if moment is None else int(datetime.fromisoformat(moment).timestamp()), acr)


def _target(tool: str | None, prompt: str | None, read: str | None, action: str | None) -> Target:
    from perhop.core.call import Action, Target

    for option, name in (("--tool", tool), ("--prompt", prompt), ("--read", read)):
        if name == "":
            raise typer.BadParameter("it is empty, and no call can ask for that: write a name", param_hint=option)
    named = {
        Action.CALL_TOOL: tool,
        Action.GET_PROMPT: prompt,
        Action.READ_RESOURCE: read,
    }
    chosen = [Target(each, name) for each, name in named.items() if name is not None]
    if action is not None:
        if action not in (Action.LIST, Action.ISSUE, Action.EXCHANGE):
            raise typer.BadParameter(f"`{action}` is not list, issue or exchange", param_hint="--action")
        chosen.append(Target(Action(action)))
    if len(chosen) != 1:
        raise typer.BadParameter("name one of --tool, --prompt, --read, --action")
    return chosen[0]


def _arguments(text: str) -> dict[str, Any]:
    from perhop.policy.posing import parse_arguments

    try:
        return parse_arguments(text)
    except JsonUnparsable as error:
        problem = f"""{error.detail}: write a JSON object, as '{{"day": "monday"}}'"""
        raise typer.BadParameter(problem, param_hint="--arguments") from None


def _say_unread(arguments: Mapping[str, Any]) -> None:
    unread = [name for name, value in arguments.items() if value is None]
    if unread:
        what = "text, whole numbers and booleans, of an approved tool only those that it declares"
        say(f"not read by policy, which sees {what}: {', '.join(unread)}")


def _seconds(text: str | None) -> int:
    from datetime import datetime

    moment = parse_moment(text, "--at")
    return int(time.time()) if moment is None else int(datetime.fromisoformat(moment).timestamp())
