"""`perhop policy`: check the policies, and explain a decision."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_text, say
from perhop.control.failure import ExitCode
from perhop.errors import NotFound

if TYPE_CHECKING:
    from perhop.core.call import Target
    from perhop.core.decision import Question
    from perhop.core.resource import Resource
    from perhop.core.task import Task
    from perhop.policy.explain import Explanation
    from perhop.settings import Settings

app = command_group("Cedar policies: who may call what.")


@app.command()
def check(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Find what is wrong in the policy files, and what looks wrong beside the configuration."""
    from perhop.policy.check import check as check_policies
    from perhop.policy.finding import Severity
    from perhop.policy.policy_set import load_sources

    settings = load_settings(config)
    findings = check_policies(load_sources(settings.policies_dir), settings.registry)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if as_json:
        emit_json({"ok": not errors, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            emit_text(f"{finding.severity.value}: {finding}" + (f"; {finding.advice}" if finding.advice else ""))
        if not errors:
            emit_text("ok")
    if errors:
        raise typer.Exit(ExitCode.CHECK_FAILED)


@app.command()
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
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="S", help="A scope of the token (default: all).")
    ] = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", metavar="TEXT", help="What the token's task is for (default: no task).")
    ] = None,
    approved: Annotated[bool, typer.Option("--approved", help="A person has approved the task.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Say what is decided on a call, by scope and policy, and why. Of a refusal, also what the nearest permit needs."""
    from perhop.policy.engine import PolicyEngine
    from perhop.policy.explain import explain as explain_question
    from perhop.policy.policy_set import load_policies

    settings = load_settings(config)
    for kind, name, defined in (
        ("resource", resource, settings.registry.resources),
        ("client", agent, settings.registry.clients),
    ):
        if name not in defined:
            raise NotFound(f"the configuration defines no {kind} `{name}`", advice=f"run `perhop {kind} list`")
    engine = PolicyEngine(load_policies(settings.policies_dir), settings.registry)
    question = _question(
        settings,
        target=_target(tool, prompt, read, action),
        agent=agent,
        resource=resource,
        arguments=_arguments(arguments),
        subject=subject,
        scopes=scope,
        task=_task(agent, purpose, subject=subject, approved=approved),
    )
    explanation = explain_question(engine, question)
    beyond = _beyond_scope(settings.registry.resources[resource], question)
    if beyond:
        explanation = replace(explanation, allowed=False, summary=beyond, fired=(), errors=(), near=())
    if as_json:
        emit_json(asdict(explanation))
    else:
        _print_explanation(explanation)
    if not explanation.allowed:
        raise typer.Exit(ExitCode.DENIED)


def _beyond_scope(resource: Resource, question: Question) -> str:
    """Why the call is refused before policy is asked; empty if it is not."""
    from perhop.core.call import Action
    from perhop.rules.scope import is_tool_in_scope

    tool = question.target.name
    if question.target.action is not Action.CALL_TOOL or is_tool_in_scope(question.scopes, resource, tool):
        return ""
    needed = resource.scope_for(tool)
    if needed is None:
        return f"refused before policy is asked: no scope of `{resource.name}` lists the tool `{tool}`"
    return f"refused before policy is asked: the tool `{tool}` needs the scope `{needed}`"


def _target(tool: str | None, prompt: str | None, read: str | None, action: str | None) -> Target:
    from perhop.core.call import Action, Target

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
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        problem = """not a JSON object: write it as '{"day": "monday"}'"""
        raise typer.BadParameter(problem, param_hint="--arguments")
    unread = [name for name, each in value.items() if not isinstance(each, str | int | bool)]
    if unread:
        say(f"not read by policy, which sees text, whole numbers and booleans: {', '.join(unread)}")
    return {name: each for name, each in value.items() if name not in unread}


def _question(
    settings: Settings,
    *,
    target: Target,
    agent: str,
    resource: str,
    arguments: dict[str, Any],
    subject: str | None,
    scopes: list[str] | None,
    task: Task | None,
) -> Question:
    from perhop.core.decision import Question

    described = settings.registry.resources[resource]
    return Question(
        target=target,
        agent=agent,
        server=resource,
        subject=subject,
        client_id=agent,
        actors=(),
        scopes=frozenset(scopes if scopes is not None else described.scopes),
        hop=1,
        now=int(time.time()),
        arguments=arguments,
        tenant=described.tenant,
        task=task,
    )


def _task(agent: str, purpose: str | None, *, subject: str | None, approved: bool) -> Task | None:
    """A task of this purpose: what it covers is no matter here."""
    from perhop.core.task import Task, TaskLimits

    if purpose is None:
        if approved:
            raise typer.BadParameter("there is no task: say what it is for with --purpose", param_hint="--approved")
        return None
    now = int(time.time())
    return Task(
        id="example",
        client=agent,
        purpose=purpose,
        tools=(),
        limits=TaskLimits(),
        created_at=now,
        expires_at=now + 1,
        subject=subject,
        approved_at=now if approved else None,
    )


def _print_explanation(explanation: Explanation) -> None:
    emit_text(explanation.summary)
    for fired in explanation.fired:
        emit_text(
            f"  {fired.effect} `{fired.id}` at {fired.file}:{fired.line}"
            + (f": {fired.reason}" if fired.reason else "")
        )
    for error in explanation.errors:
        emit_text(f"  error: {error}")
    for near in explanation.near:
        needs = "; ".join(near.needs) or "nothing more"
        emit_text(f"  nearest permit `{near.id}` at {near.file}:{near.line} would need: {needs}")
