"""The console of an open plane: its pages over the issuer, the approvals and the policies in force."""

from __future__ import annotations

from dataclasses import replace

from starlette.applications import Starlette

from perhop.console.app import build_app
from perhop.console.console import Console
from perhop.console.door import Door
from perhop.console.reasons_kept import ReasonsKept
from perhop.wiring.plane import Plane


def console_app(plane: Plane) -> Starlette:
    """The application of the console's listener; it goes along when the plane goes by another configuration."""
    first = Console(
        url=plane.settings.console_url,
        door=Door.of(plane.settings.console_url),
        issuer=plane.issuer,
        approvals=plane.approvals,
        policies=plane.policy,
        reasons_kept=ReasonsKept(),
    )

    def current() -> Console:
        door = Door.of(plane.settings.console_url)
        url = plane.settings.console_url
        return replace(first, url=url, door=door, issuer=plane.issuer, policies=plane.policy)

    return build_app(current)
