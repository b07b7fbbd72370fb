"""What is shown where there is no other page to show."""

from __future__ import annotations

from starlette.responses import Response

from perhop.authorization_server.interaction.pages import sentence
from perhop.console.console import Console
from perhop.core.provider import Provider
from perhop.errors import Refused, Unavailable


def refused(fact: Refused | Unavailable, console: Console) -> Response:
    """Fixed text; what was wrong in detail is not for whoever asks."""
    page = console.page("refused", {"description": fact.description}, status=fact.status)
    if isinstance(fact, Unavailable):
        page.headers["retry-after"] = str(fact.retry_after)
    return page


def not_signed_in(fact: Refused | Unavailable, provider: Provider | None, console: Console, *, back: str) -> Response:
    """What is shown where a sign-in at a provider came to nothing; `back` is where it was to lead."""
    values = {"description": sentence(fact.description), "provider": provider, "back": f"/sign-in?next={back}"}
    page = console.page("not_signed_in", values, status=fact.status)
    if isinstance(fact, Unavailable):
        page.headers["retry-after"] = str(fact.retry_after)
    return page
