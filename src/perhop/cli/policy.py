"""`perhop policy`: check the policies, and explain a decision."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from perhop.cli.output import AsJson, ConfigFile, ExitCode, config_path, emit_json, emit_text, say
from perhop.core.call import Action, Target
from perhop.core.decision import Question
from perhop.errors import NotFound, SettingsError
from perhop.policy.check import check as check_policies
from perhop.policy.engine import PolicyEngine
from perhop.policy.explain import Explanation
from perhop.policy.explain import explain as explain_question
from perhop.policy.finding import Severity
from perhop.policy.policy_set import load_policies, load_sources
from perhop.settings import Settings, load

app = typer.Typer(no_args_is_help=True, help="Cedar policies: who may call what.")


@app.command()
def check(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Find what is wrong in the policy files, and what looks wrong beside the configuration."""
    settings = load(config_path(config), os.environ)
    findings = check_policies(load_sources(settings.policies_dir), settings.registry)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if as_json:
        emit_json({"ok": not errors, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            emit_text(f"{finding.severity.value}: {finding}")
            if finding.advice:
                say(f"  {finding.advice}")
        if not errors:
            emit_text("ok")
    if errors:
        raise typer.Exit(ExitCode.CHECK_FAILED)


@app.command()
def explain(
    agent: Annotated[str, typer.Option(metavar="CLIENT", help="Who calls.")],
    resource: Annotated[str, typer.Option(metavar="NAME", help="The resource.")],
    tool: Annotated[str | None, typer.Option(metavar="TOOL", help="The tool that is called.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="PROMPT", help="The prompt that is got.")] = None,
    read: Annotated[str | None, typer.Option(metavar="URI", help="The MCP resource that is read.")] = None,
    action: Annotated[str | None, typer.Option(help="list, issue or exchange instead.")] = None,
    arguments: Annotated[str, typer.Option(metavar="JSON", help="The tool's arguments.")] = "{}",
    subject: Annotated[str | None, typer.Option(metavar="SUB", help="The person, as user:...")] = None,
    scope: Annotated[list[str] | None, typer.Option(metavar="S", help="A scope of the token; default: all.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Say what policy would decide on a call, which policies make it so, and what the nearest permit would need."""
    settings = load(config_path(config), os.environ)
    if resource not in settings.registry.resources:
        raise NotFound(f"the configuration defines no resource `{resource}`", advice="run `perhop resource list`")
    engine = PolicyEngine(load_policies(settings.policies_dir), settings.registry)
    question = _question(
        settings,
        target=_target(tool, prompt, read, action),
        agent=agent,
        resource=resource,
        arguments=_arguments(arguments),
        subject=subject,
        scopes=scope,
    )
    explanation = explain_question(engine, question)
    if as_json:
        emit_json(asdict(explanation))
    else:
        _print_explanation(explanation)
    if not explanation.allowed:
        raise typer.Exit(ExitCode.DENIED)


def _target(tool: str | None, prompt: str | None, read: str | None, action: str | None) -> Target:
    named = {
        Action.CALL_TOOL: tool,
        Action.GET_PROMPT: prompt,
        Action.READ_RESOURCE: read,
    }
    chosen = [Target(each, name) for each, name in named.items() if name is not None]
    if action is not None:
        if action not in (Action.LIST, Action.ISSUE, Action.EXCHANGE):
            raise SettingsError(f"`{action}` is not list, issue or exchange")
        chosen.append(Target(Action(action)))
    if len(chosen) != 1:
        raise SettingsError(
            "one thing is asked about at a time", advice="name one of --tool, --prompt, --read, --action"
        )
    return chosen[0]


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SettingsError("the arguments are not a JSON object", advice="""write them as '{"day": "monday"}'""")
    return {name: each for name, each in value.items() if isinstance(each, str | int | bool)}


def _question(
    settings: Settings,
    *,
    target: Target,
    agent: str,
    resource: str,
    arguments: dict[str, Any],
    subject: str | None,
    scopes: list[str] | None,
) -> Question:
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
