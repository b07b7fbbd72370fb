"""`perhop resource tools`: what a resource's owner approved of its tools, what differs, and approving it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from perhop.cli.carry_out import carry_out
from perhop.cli.options import AsJson, ConfigFile, Yes
from perhop.cli.output import counted, emit_json, emit_table, emit_text, say
from perhop.control.failure import ExitCode

SHORT_DIGEST = 12

Shown = Mapping[str, Any]


def tools(
    name: Annotated[str, typer.Argument(metavar="RESOURCE", help="The resource's name.")],
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the tools as they are listed now, in the place of all before.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show a resource's tools and what differs from the approved ones. Exit code 7 if any is quarantined."""
    if approve and not yes and not sys.stdin.isatty():
        raise typer.BadParameter("without a terminal there is nobody to ask", param_hint="--yes")
    shown = carry_out(config, "tools.show", {"name": name})
    if not approve:
        _tell(shown, as_json=as_json)
        raise typer.Exit(_exit_code(shown))
    if shown["digest"] is None:
        _tell(shown, as_json=as_json)
        say("nothing was approved")
        raise typer.Exit(ExitCode.CHECK_FAILED if _quarantined(shown) else ExitCode.REMOTE_UNREACHABLE)
    if not as_json:
        _tell(shown, as_json=False)
    elif not yes:
        say(_differences_text(shown))
    if not yes and not typer.confirm(f"Approve {_count(shown)} of `{name}` as listed now?", err=True):
        say("nothing was approved")
        raise typer.Exit(ExitCode.CHECK_FAILED if _quarantined(shown) else ExitCode.FAILURE)
    approved = carry_out(config, "tools.approve", {"name": name, "digest": shown["digest"]})
    if as_json:
        emit_json(approved)
    else:
        emit_text(f"approved: {_count(approved)} of {name}, by {approved['approved_by']}")
    for each in approved["policies"]:
        say(f"a policy in force does not fit these tools: {each}")


def _quarantined(shown: Shown) -> list[str]:
    return [each["name"] for each in shown["tools"] if each["quarantined"]]


def _count(shown: Shown) -> str:
    return counted(sum(each["digest"] is not None for each in shown["tools"]), "tool")


def _exit_code(shown: Shown) -> ExitCode:
    if _quarantined(shown):
        return ExitCode.CHECK_FAILED
    return ExitCode.OK if shown["digest"] is not None else ExitCode.REMOTE_UNREACHABLE


def _tell(shown: Shown, *, as_json: bool) -> None:
    if as_json:
        emit_json(shown)
    else:
        emit_table(
            ("TOOL", "STATE", "DIGEST", "READ-ONLY HINT"),
            (
                (
                    each["name"],
                    each["state"],
                    (each["shown_digest"] or "")[:SHORT_DIGEST],
                    "yes" if each["read_only"] else "",
                )
                for each in shown["tools"]
            ),
        )
        differences = _differences_text(shown)
        if differences:
            emit_text(f"\n{differences}")
    if shown["problem"]:
        say(f"not listed now: {shown['problem']}")
        if shown["advice"]:
            say(f"  {shown['advice']}")
    if not shown["pinned"]:
        say("Nothing was approved yet, so every tool passes: `--approve` pins them as they are.")


def _differences_text(shown: Shown) -> str:
    return "\n".join(line for each in shown["tools"] for line in _lines(each))


def _lines(tool: Shown) -> Iterator[str]:
    """What differs in one tool, path by path: what was approved after `-`, what is listed after `+`."""
    if not tool["differences"] and not tool["problem"]:
        return
    yield f"{tool['name']} ({tool['state']}{_remark(tool)}):"
    if tool["problem"]:
        yield f"  cannot be approved: {tool['problem']}"
    for each in tool["differences"]:
        yield f"  {each['path']}"
        if "before" in each:
            yield f"    - {json.dumps(each['before'], ensure_ascii=False)}"
        if "after" in each:
            yield f"    + {json.dumps(each['after'], ensure_ascii=False)}"


def _remark(tool: Shown) -> str:
    """Why something differs that is not what is listed now."""
    if tool["state"] not in ("changed", "new") or tool["problem"] or tool["digest"] == tool["shown_digest"]:
        return ""
    return ", and listed as approved again" if tool["digest"] is not None else ", and not listed now"
