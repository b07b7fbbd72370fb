"""The pages that a person sees on the way to a token: sign-in and consent, and what is said where that cannot go on.

Spec: RFC 6749 §10.13
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from perhop.authorization_server.interaction.consent import Terms
from perhop.authorization_server.interaction.rendering import PROTECTION, Renderer, in_words
from perhop.core.client import Client
from perhop.core.provider import Provider, SignInWays
from perhop.core.resource import Resource
from perhop.core.task import EVERYTHING, Task, ToolPattern
from perhop.errors import Refused, SignInFailed, SignInThrottled, Unavailable

_CSP_SOURCE = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?")
_CSP_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


class Pages:
    """Renders pages from the templates beside this file; everything in them is escaped."""

    def __init__(self) -> None:
        self._renderer = Renderer("perhop.authorization_server.interaction", styles=("style.css",))

    def sign_in(
        self,
        *,
        client: Client | None,
        resource: Resource | None,
        redirect_uri: str,
        query: str,
        seal: str,
        action: str,
        ways: SignInWays,
        refused: SignInFailed | SignInThrottled | None = None,
        typed: str = "",
    ) -> Response:
        """The sign-in form, with a button for each provider; `refused` is why it is shown again, with what was `typed`
        as the address."""
        values = {"client": client, "resource": resource, "query": query, "seal": seal, "action": action, "ways": ways}
        notice, status = notice_of(refused)
        page = self._page(
            "sign_in.html", {**values, "notice": notice, "typed": typed}, status=status, redirect_uri=redirect_uri
        )
        if isinstance(refused, SignInThrottled):
            page.headers["retry-after"] = str(refused.retry_after)
        return page

    def my_access(
        self,
        *,
        person: str,
        action: str,
        grants: Sequence[Mapping[str, Any]],
        tasks: Sequence[Mapping[str, Any]],
        sign_out: str,
    ) -> Response:
        """What acts for a person, with a button to stop each; every button has a seal of its own."""
        values = {"person": person, "action": action, "grants": grants, "tasks": tasks, "sign_out": sign_out}
        return self._page("my_access.html", values, status=200)

    def going(self, provider: Provider, url: str) -> Response:
        """The page from which a browser goes on to a provider.

        By itself, and not as what follows a form: a browser would hold every address on the way there against
        `form-action`, and nobody but the provider knows them all.
        """
        host = urlsplit(url).hostname or ""
        return self._page("going.html", {"provider": provider, "url": url, "host": host}, status=200)

    def not_signed_in(self, fact: Refused | Unavailable, provider: Provider | None, *, back: str | None) -> Response:
        """The page where a sign-in at a provider came to nothing; `back` is our own path where it was begun."""
        values = {"description": sentence(fact.description), "provider": provider, "back": back}
        page = self._page("not_signed_in.html", values, status=fact.status)
        if isinstance(fact, Unavailable):
            page.headers["retry-after"] = str(fact.retry_after)
        return page

    def consent(
        self,
        *,
        terms: Terms,
        redirect_uri: str,
        query: str,
        seal: str,
        action: str,
        now: int,
        new: frozenset[str] = frozenset(),
    ) -> Response:
        """The consent form; of a task it says what for, with which tools, and how long and how often.

        `new` are the scopes that are beyond what the person has allowed before, if they have allowed some of it.
        """
        task = task_in_words(terms.task, now=now) if terms.task is not None else None
        values = {"terms": terms, "query": query, "seal": seal, "action": action, "task": task, "new": new}
        return self._page("consent.html", values, status=200, redirect_uri=redirect_uri)

    def refused(self, fact: Refused | Unavailable) -> Response:
        """The page where nothing may be sent back to an application: fixed text."""
        is_down = isinstance(fact, Unavailable)
        page = self._page("refused.html", {"description": fact.description}, status=503 if is_down else 400)
        if isinstance(fact, Unavailable):
            page.headers["retry-after"] = str(fact.retry_after)
        return page

    def _page(self, template: str, values: dict[str, Any], *, status: int, redirect_uri: str = "") -> Response:
        # Browsers hold the redirect that follows a form against `form-action` too.
        targets = (form_target(redirect_uri),) if redirect_uri else ()
        return self._renderer.page(template, values, status=status, form_targets=targets)


def notice_of(refused: SignInFailed | SignInThrottled | None) -> tuple[str, int]:
    """What the sign-in form says above its fields, and the status of its page."""
    match refused:
        case None:
            return "", 200
        case SignInThrottled(retry_after=seconds):
            wait = in_words(seconds)
            return f"Too many wrong passwords came from where you are. Wait {wait}, then try again.", refused.status
        case SignInFailed():
            return "The e-mail address or the password is wrong.", 403


def sentence(text: str) -> str:
    """A fixed text of an error, as people read it."""
    return f"{text[:1].upper()}{text[1:]}."


def task_in_words(task: Task, *, now: int) -> dict[str, Any]:
    """A task as a person can read it: every bound is said, also that there is none."""
    limits = task.limits
    calls = "as many calls as it likes" if limits.calls is None else f"at most {limits.calls} calls"
    writes = "any" if limits.writes is None else f"at most {limits.writes}" if limits.writes else "none"
    return {
        "purpose": task.purpose,
        "tools": [_pattern_in_words(each) for each in task.tools],
        "limits": f"{calls}; {writes} of them may change something",
        "ends": in_words(max(0, task.expires_at - now)),
    }


def _pattern_in_words(pattern: ToolPattern) -> str:
    if pattern.glob == EVERYTHING:
        return f"{pattern.resource}: every tool, prompt and document"
    kind = "every tool named" if EVERYTHING in pattern.glob else "the tool"
    return f"{pattern.resource}: {kind} {pattern.glob}"


def form_target(redirect_uri: str) -> str:
    """The source expression that lets a form end at this redirect URI; its scheme alone where no finer one exists."""
    parts = urlsplit(redirect_uri)
    source = f"{parts.scheme}://{parts.netloc}"
    if _CSP_SOURCE.fullmatch(source):
        return source
    return f"{parts.scheme}:" if _CSP_SCHEME.fullmatch(parts.scheme) else "'none'"


def see_other(url: str) -> RedirectResponse:
    """A redirect after which no browser sends a form again. Spec: RFC 9700 §4.12."""
    return RedirectResponse(url, status_code=303, headers=dict(PROTECTION))
