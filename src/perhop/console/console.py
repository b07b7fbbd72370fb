"""The console: everything that its pages need, as one frozen record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.interaction.login import Site, current_sign_in
from perhop.authorization_server.interaction.rendering import PROTECTION, Renderer
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.store import Place, SignIn
from perhop.console.door import Door
from perhop.console.reasons_kept import ReasonsKept
from perhop.gateway.approvals import Approvals

HOME = "/approvals"

# With `no-referrer` a browser would send our own forms with `Origin: null`, as it does those of others.
# Spec: RFC 6454 §7.3
_PROTECTION = {**PROTECTION, "referrer-policy": "same-origin"}


def _renderer() -> Renderer:
    return Renderer("perhop.console", styles=("style.css", "console.css"), protection=_PROTECTION)


class Policies(Protocol):
    """What the console asks of the policies in force."""

    @property
    def version(self) -> str: ...

    def reason_of(self, policy: str) -> str:
        """The `@reason` of a policy, empty if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """One configuration of the console over its running parts; a request keeps the one that it began with.

    `url` is the origin at which people reach it.
    """

    url: str
    door: Door
    issuer: Issuer
    approvals: Approvals
    policies: Policies
    reasons_kept: ReasonsKept
    renderer: Renderer = field(default_factory=_renderer)

    @property
    def site(self) -> Site:
        return Site(Place.CONSOLE, self.door.is_https)

    def now(self) -> int:
        """Seconds since the epoch."""
        return self.issuer.now()

    async def person(self, request: Request) -> SignIn | None:
        """Who is signed in at this browser, at the console.

        Raises: StorageUnavailable
        """
        return await current_sign_in(request, self.site, self.issuer)

    def page(
        self, name: str, values: Mapping[str, Any], *, person: SignIn | None = None, status: int = 200
    ) -> Response:
        """One page; `person` is who is told at its top to be signed in."""
        shown = {**values, "email": person.shown if person is not None else None}
        return self.renderer.page(f"{name}.html", shown, status=status)


CurrentConsole = Callable[[], Console]
"""The console of the configuration in force; asked once per request."""
