"""How pages for people are made: from templates, everything escaped; no scripts, in no frame, kept in no cache.

Spec: RFC 9700 §4.16
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from perhop.rules.visible_text import Seen, seen_in

_HERE = "perhop.authorization_server.interaction"

PROTECTION: Mapping[str, str] = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Renderer:
    """Renders the templates of one package; those of this one are there as well, for what is shared."""

    def __init__(self, package: str, *, styles: Sequence[str], protection: Mapping[str, str] = PROTECTION) -> None:
        self._protection = protection
        self._templates = Environment(
            loader=ChoiceLoader([PackageLoader(package, "templates"), PackageLoader(_HERE, "templates")]),
            autoescape=True,
            undefined=StrictUndefined,
        )
        self._templates.filters["visible"] = visible
        source = "".join(self._templates.get_template(each).render() for each in styles)
        self._style = Markup(source)  # noqa: S704 - our own file, no input in it
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
        self._style_source = f"'sha256-{digest}'"

    def page(
        self, template: str, values: Mapping[str, Any], *, status: int, form_targets: Sequence[str] = ()
    ) -> Response:
        """One page; its forms go to our own origin, and lead to nothing else but `form_targets`."""
        text = self._templates.get_template(template).render(style=self._style, **values)
        form_action = " ".join(("'self'", *form_targets))
        policy = (
            f"default-src 'none'; style-src {self._style_source}; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action {form_action}"
        )
        headers = {**self._protection, "content-security-policy": policy}
        return HTMLResponse(text, status_code=status, headers=headers)


def visible(text: str) -> Markup:
    """A text of somebody else's, escaped, on which no reader is misled by a character that does not show."""
    return Markup("".join(map(_shown, seen_in(text))))  # noqa: S704 - every part of it is escaped


def _shown(part: Seen) -> str:
    escaped = str(escape(part.text))
    return escaped if part.is_plain else f'<span class="unseen">{escaped}</span>'


def in_words(seconds: int) -> str:
    """How long, in the largest unit that fits, rounded up: what is said is never less than what is given."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= 2 * size or size == 1:
            count = -(-seconds // size)
            return f"{count} {unit}" + ("" if count == 1 else "s")
    raise AssertionError("a second always fits")
