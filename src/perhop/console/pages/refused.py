"""What is shown where there is no other page to show."""

from __future__ import annotations

from starlette.responses import Response

from perhop.console.console import Console
from perhop.errors import Refused, Unavailable


def refused(fact: Refused | Unavailable, console: Console) -> Response:
    """Fixed text; what was wrong in detail is not for whoever asks."""
    page = console.page("refused", {"description": fact.description}, status=fact.status)
    if isinstance(fact, Unavailable):
        page.headers["retry-after"] = str(fact.retry_after)
    return page
