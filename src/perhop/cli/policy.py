"""`perhop policy`: the group, and checking the files."""

from __future__ import annotations

from dataclasses import asdict

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile, command_group
from perhop.cli.output import emit_json, emit_text
from perhop.cli.policy_cases import run_tests
from perhop.cli.policy_explain import explain
from perhop.cli.policy_folder import PolicyFolder, policy_folder
from perhop.cli.policy_replay import replay
from perhop.control.failure import ExitCode

app = command_group("Cedar policies: who may call what.")


@app.command()
def check(policies: PolicyFolder = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Find what is wrong in the policy files, and what looks wrong beside the configuration."""
    from perhop.policy.check import check as check_policies
    from perhop.policy.finding import Severity
    from perhop.policy.policy_set import load_sources

    settings = load_settings(config)
    findings = check_policies(load_sources(policy_folder(policies, settings)), settings.registry)
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


app.command(name="test")(run_tests)
app.command()(explain)
app.command()(replay)
