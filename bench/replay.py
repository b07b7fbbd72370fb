"""How long a replay of policies takes over a big journal: `python -m bench.replay [RECORDS]`. Run by hand.

Asks a long journal (1,000,000 records unless told), which is made once, about three drafts: one that reads nothing of
a call, one that reads facts of which there are many, and one that reads an argument. Each is asked by a process of its
own; the memory is the most that it ever had.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.long_journal import long_journal
from perhop.control.replay import replay
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from perhop.settings import load
from perhop.storage.journal_decisions import DecisionWindow
from tests.support.busy_journals import AGENTS, RESOURCES

RECORDS = 1_000_000
CALLS = 'action == MCP::Action::"call_tool"'
PERMIT = '@id("work") permit (principal, action, resource);'
DRAFTS = {
    "kinds": f'{PERMIT} @id("a") forbid (principal, {CALLS}, resource == MCP::Tool::"server-01/tool_03");',
    "facts": f'{PERMIT} @id("a") forbid (principal, {CALLS}, resource) when {{ context.request.hour < 6'
    ' && context.request has ip && context.request.ip.isInRange(ip("198.51.3.0/28")) };',
    "arguments": f'{PERMIT} @id("a") forbid (principal, {CALLS}, resource == MCP::Tool::"server-01/tool_03")'
    " when { context.arguments has amount && context.arguments.amount > 5 };",
}


def write_configuration(folder: Path) -> Path:
    """A configuration with the agents and the servers of the journal."""
    resources = "".join(
        f'  {name}: {{uri: "https://{name}.example.com/mcp", owner: team, scopes: {{"{name}:read": {{says: r}}}}}}\n'
        for name in RESOURCES
    )
    clients = "".join(
        f"  {name}: {{owner: team, purpose: works, expires: 2099-12-31, authentication: {{method: none}},"
        ' redirect_uris: ["http://127.0.0.1:3955/callback"],'
        f' reaches: {{{RESOURCES[0]}: ["{RESOURCES[0]}:read"]}}}}\n'
        for name in AGENTS
    )
    file = folder / "perhop.yaml"
    head = "issuer: http://127.0.0.1:8420\nowners:\n  team: {contact: team@example.com}\n"
    file.write_text(f"{head}resources:\n{resources}clients:\n{clients}", encoding="utf-8")
    return file


def ask(draft: str, folder: Path) -> str:
    """Replay one draft, and say what came of it."""
    settings = load(write_configuration(folder), {})
    engine = PolicyEngine(parse_policies({"draft.cedar": DRAFTS[draft]}), settings.registry)
    began = time.perf_counter()
    report = replay(settings, engine, DecisionWindow(), tell=lambda _: None)
    seconds = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{seconds:8.2f} s   {most:6.0f} MB   {draft:<10} {report.totals}"


def main(records: int) -> None:
    """Make the journal if it is not there, and print a line a draft."""
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()},")
    sys.stdout.write(f" load {os.getloadavg()[0]:.1f}; {records} records\n")
    journal = long_journal(records, tell=lambda told: print(told, file=sys.stderr))
    for draft in DRAFTS:
        words = [sys.executable, "-m", "bench.replay", "--ask", draft, str(journal.folder)]
        sys.stdout.write(subprocess.run(words, check=True, capture_output=True, text=True, timeout=600).stdout)
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        sys.stdout.write(ask(sys.argv[2], Path(sys.argv[3])) + "\n")
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS)
