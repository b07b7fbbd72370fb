"""`perhop policy list|show|diff|propose|approve|rollback`: versions of the policies."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import carry_out, load_settings
from perhop.cli.options import AsJson, ConfigFile, Yes
from perhop.cli.output import confirm, emit_json, emit_table, emit_text, say

if TYPE_CHECKING:
    from perhop.policy.versions import PolicyVersion
    from perhop.settings import Settings

Version = Annotated[str, typer.Argument(metavar="VERSION", help="The version, or how it begins.")]
_FOLDER = "the folder"


def list_versions(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List the versions of the policies that were proposed or in force, the newest last."""
    from perhop.control.policy_versions import shown, version_in_folder

    settings = load_settings(config)
    versions, in_force = _versions(settings)
    there = version_in_folder(settings)
    rows = [
        {
            **shown(each),
            "is_in_force": each.digest == in_force,
            "is_in_folder": each.digest == there,
        }
        for each in versions
    ]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("VERSION", "STATE", "AUTHOR", "KEPT", "APPROVED BY", "LAST PUT IN FORCE"),
        (
            (row["version"], _state(row), row["author"], row["kept_at"], row["reviewer"], row["last_in_force"])
            for row in rows
        ),
    )
    if there is not None and there not in {each.digest for each in versions}:
        say(f"the folder holds {there[:16]}, which is not in force and was not proposed")


def show(version: Version, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the files of a version."""
    from perhop.control.policy_versions import shown

    found = _found(version, _versions(load_settings(config))[0])
    if as_json:
        emit_json({**shown(found), "files": dict(found.sources)})
        return
    for name, text in sorted(found.sources.items()):
        emit_text(f"// {name}")
        emit_text(text)


def diff(
    version: Version,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another version (default: what the folder holds).")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print what differs from one version to another, or to what the folder holds."""
    from perhop.policy.policy_set import digest_of, load_sources

    settings = load_settings(config)
    versions, _ = _versions(settings)
    old = _found(version, versions)
    if other is not None:
        found = _found(other, versions)
        name, new = found.version, found.sources
    else:
        new = load_sources(settings.policies_dir)
        name = _FOLDER
    lines = list(_differences(old.sources, new, old.version, name))
    if as_json:
        emit_json({"from": old.version, "to": digest_of(new)[:16], "diff": lines})
    elif lines:
        emit_text("\n".join(lines))
    else:
        say("nothing differs")


def propose(
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who wrote it (default: the user of this system).")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Keep what the folder of policies holds as a version, for somebody else to approve. Puts nothing in force."""
    result = carry_out(config, "policy.propose", {"by": by})
    if as_json:
        emit_json(result)
    elif result["proposed"]:
        emit_text(f"proposed: version {result['version']}, by {result['author']}")
        say(f"Next: perhop policy approve {result['version']} --by NAME, by somebody else")
    else:
        emit_text(f"version {result['version']} is kept already, brought in by {result['author']}")


def approve(
    version: Version,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who approves (default: the user of this system).")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Approve a version of the policies, as somebody else than its author. Puts nothing in force: that is `apply`."""
    confirm(f"Approve version `{version}` of the policies? `perhop policy diff` shows it.", yes=yes)
    result = carry_out(config, "policy.approve", {"version": version, "by": by})
    if as_json:
        emit_json(result)
        return
    said = "approved" if result["approved"] else "approved already"
    emit_text(f"{said}: version {result['version']} by {result['author']}, reviewed by {result['reviewer']}")


def rollback(version: Version, yes: Yes = False, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Write a version back into the folder of policies, and put it in force. In a running server, too.

    What the folder holds now is kept as a version. Other files there stay.
    """
    confirm(f"Replace the policies in the folder by version `{version}`?", yes=yes)
    result = carry_out(config, "policy.rollback", {"version": version})
    if as_json:
        emit_json(result)
        return
    emit_table(("CHANGE", "WHAT", "NAME"), ((each["change"], each["kind"], each["name"]) for each in result["changes"]))
    where = "in force" if result["serving"] else "perhop does not serve here; the next start goes by"
    kept = f"; what was there is kept as {result['before']}" if result["before"] else ""
    say(f"{where}: policies {result['version']}{kept}")


def _versions(settings: Settings) -> tuple[list[PolicyVersion], str | None]:
    import asyncio

    from perhop.control.policy_versions import policy_versions

    return asyncio.run(policy_versions(settings))


def _found(wanted: str, versions: list[PolicyVersion]) -> PolicyVersion:
    from perhop.policy.versions import find_version

    return find_version(wanted, versions)


def _state(row: Mapping[str, Any]) -> str:
    if row["is_in_force"]:
        return "in force"
    if row["in_force"]:
        return "was in force"
    return "approved" if row["reviewer"] is not None else "proposed"


def _differences(old: Mapping[str, str], new: Mapping[str, str], before: str, after: str) -> Iterator[str]:
    for name in sorted({*old, *new}):
        yield from difflib.unified_diff(
            old.get(name, "").splitlines(),
            new.get(name, "").splitlines(),
            f"{before}/{name}",
            f"{after}/{name}",
            lineterm="",
        )
