"""The paths of the console to which a sign-in may lead back: a closed set, so that no link leads anywhere else."""

from __future__ import annotations

import re

from perhop.console.console import HOME

_APPROVAL = re.compile(r"/approvals/[A-Za-z0-9_-]{1,64}")


def path_of(approval: str) -> str:
    """Where one approval is shown."""
    return f"{HOME}/{approval}"


def own_path(asked: str | None) -> str:
    """The path if it is one of ours, else the list of approvals."""
    return asked if asked is not None and _APPROVAL.fullmatch(asked) else HOME
