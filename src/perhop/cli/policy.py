"""`perhop policy`: the group, and checking the files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_table, emit_text
from perhop.cli.policy_cases import run_tests
from perhop.cli.policy_explain import explain
from perhop.cli.policy_folder import PolicyFolder, policy_folder
from perhop.cli.policy_replay import replay
from perhop.cli.policy_versions import approve, diff, list_versions, propose, rollback, show
from perhop.control.failure import ExitCode

app = command_group("Cedar policies: who may call what.")


@app.command()
def check(
    strict: Annotated[bool, typer.Option("--strict", help="Let a warning fail the check, too.")] = False,
    policies: PolicyFolder = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Find what is wrong in the policy files, what looks wrong, and rules without effect."""
    import asyncio

    from perhop.control.known_schemas import known_schemas
    from perhop.policy.check import check as check_policies
    from perhop.policy.finding import Severity
    from perhop.policy.policy_set import load_sources

    settings = load_settings(config)
    schemas = asyncio.run(known_schemas(settings))
    findings = check_policies(load_sources(policy_folder(policies, settings)), settings.registry, schemas)
    failing = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    is_ok = not any(finding.severity in failing for finding in findings)
    if as_json:
        emit_json({"ok": is_ok, "findings": [asdict(finding) for finding in findings]})
    else:
        if findings:
            rows = ((each.severity.value, each.where, each.message, each.advice) for each in findings)
            emit_table(("GRADE", "PLACE", "WHAT", "ADVICE"), rows)
        if is_ok:
            emit_text("ok")
    if not is_ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)


app.command(name="test")(run_tests)
app.command()(explain)
app.command()(replay)
app.command(name="list")(list_versions)
app.command()(show)
app.command()(diff)
app.command()(propose)
app.command()(approve)
app.command()(rollback)
