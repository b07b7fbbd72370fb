"""The policy that a new installation begins with: whatever scopes list, or the tools of one server by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

STARTER_FILE = "start.cedar"
"""The name it gets in the folder of policies."""

_HEAD = """\
// The first policies of this installation. Every file that ends in `.cedar` in this folder is read.
//
// Three things must agree before a call passes: the token is addressed to this server (always checked, no policy can
// change that), the token has a scope that lists the tool (`scopes` in perhop.yaml), and a policy here permits it.
// What no policy permits is refused; another agent needs permits of its own. A forbid always wins.
//
// Try a change before it is in force: `perhop policy check` and `perhop policy explain`.

// These tools say of themselves that they only read. Take out those that you do not believe.
"""

_DOCUMENTS = """
// Prompts, and what MCP calls resources, are there to be read.
"""

_OTHERS = """
// The other tools may change something. Take away the slashes, and the names that are not wanted.
//
"""


def load_starter_policy() -> str:
    """The text of the first policy file where no tools are known."""
    return files("perhop.policy").joinpath("starter.cedar").read_text(encoding="utf-8")


def write_starter_policy(agent: str, server: str, *, read: Sequence[str], write: Sequence[str]) -> str:
    """The text of the first policy file: this agent may call what only reads; what else there is waits as a comment.

    Names of tools may hold anything that is printable.
    """
    principal = f"principal == MCP::Agent::{_quoted(agent)}"
    documents = (
        f'@id("{_id(agent, "reads-documents-of", server)}")\n@reason("prompts and documents are there to be read")\n'
        f'permit (\n    {principal},\n    action in [MCP::Action::"get_prompt", MCP::Action::"read_resource"],\n'
        f"    resource in MCP::Server::{_quoted(server)}\n);\n"
    )
    parts = [_HEAD, _permit(_id(agent, "reads", server), "the tool only reads", principal, server, read)]
    parts += [_DOCUMENTS, documents]
    if write:
        others = _permit(_id(agent, "changes", server), "the tool is allowed by name", principal, server, write)
        parts += [_OTHERS, *(f"// {line}\n" for line in others.splitlines())]
    return "".join(parts)


def _permit(policy_id: str, reason: str, principal: str, server: str, tools: Sequence[str]) -> str:
    named = ",\n".join(f"        MCP::Tool::{_quoted(f'{server}/{tool}')}" for tool in tools)
    return (
        f'@id("{policy_id}")\n@reason("{reason}")\n'
        f'permit (\n    {principal},\n    action == MCP::Action::"call_tool",\n'
        f"    resource in MCP::Server::{_quoted(server)}\n)\n"
        f"when {{\n    resource in [\n{named}\n    ]\n}};\n"
    )


def _id(agent: str, does: str, server: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{agent}-{does}-{server}")


def _quoted(text: str) -> str:
    """A string of Cedar that means this printable text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
