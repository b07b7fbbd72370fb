"""Which folder of policies a command of `perhop policy` works on: those in use, or a draft beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.output import emit_text

if TYPE_CHECKING:
    from perhop.policy.engine import PolicyEngine
    from perhop.policy.explain import Explanation
    from perhop.settings import Settings

PolicyFolder = Annotated[
    Path | None,
    typer.Option("--policies", metavar="DIR", help="Another folder of policies than that of the configuration."),
]


def policy_folder(chosen: Path | None, settings: Settings) -> Path:
    """The folder that was named, else the one of the configuration."""
    return chosen if chosen is not None else settings.policies_dir


def load_engine(folder: Path, settings: Settings) -> PolicyEngine:
    """An engine over the policies of a folder, as `serve` would make it.

    Raises: PolicyError
    """
    from perhop.policy.engine import PolicyEngine
    from perhop.policy.policy_set import load_policies

    return PolicyEngine(load_policies(folder), settings.registry)


def unpinned(resources: Sequence[str], *, has_database: bool) -> str:
    """What is not known of the tools of these resources, and what a command therefore went by."""
    names = ", ".join(f"`{each}`" for each in resources)
    missing = f"the owner of {names} has approved none" if has_database else "there is no database"
    return f"no definition of a tool of {names} is known here: {missing}; arguments are seen as without a schema"


def emit_explanation(explanation: Explanation, *, most_near: int) -> None:
    """What decided, what was wrong, and what the nearest permits would need; each on a line."""
    for fired in explanation.fired:
        emit_text(
            f"  {fired.effect} `{fired.id}` at {fired.file}:{fired.line}"
            + (f": {fired.reason}" if fired.reason else "")
        )
    for error in explanation.errors:
        emit_text(f"  error: {error}")
    for permit in explanation.overridden:
        emit_text(f"  permit `{permit.id}` at {permit.file}:{permit.line} would permit it, and a forbid wins")
    for near in explanation.near[:most_near]:
        needs = "; ".join(near.needs) or "nothing more"
        emit_text(f"  nearest permit `{near.id}` at {near.file}:{near.line} would need: {needs}")
    if len(explanation.near) > most_near:
        emit_text(f"  and {len(explanation.near) - most_near} more permits that are further away")
