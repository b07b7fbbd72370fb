"""A person's browser, as far as sign-in and consent need one: cookies, forms without scripts, redirects one by one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2

from tests.support.authorization_servers import CALENDAR, CALLBACK, EMAIL, PASSWORD, RunningServer
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

VERIFIER = THE_SCAN.note("the-verifier-of-a-code-in-a-test-0123456789", Kind.VERIFIER)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def a_request(**changes: str | None) -> str:
    """The query of desk-app's authorization request, with these parameters changed or (None) left out."""
    usual: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "desk-app",
        "redirect_uri": CALLBACK,
        "resource": CALENDAR,
        "scope": "calendar:read",
        "state": "xyz &=%",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return urlencode({name: value for name, value in (usual | changes).items() if value is not None})


@dataclass(slots=True)
class Form:
    """The one form of a page: where it goes, its hidden inputs, the names of its fields, its buttons."""

    action: str = ""
    method: str = ""
    hidden: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form = Form()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form.action, self.form.method = given.get("action", ""), given.get("method", "")
        elif tag == "input" and given.get("type") == "hidden":
            self.form.hidden[given["name"]] = given["value"]
        elif tag == "input":
            self.form.fields.append(given["name"])
        elif tag == "button" and "name" in given:
            self.form.buttons.append((given["name"], given["value"]))


def form_in(page: httpx2.Response) -> Form:
    """The form of this page."""
    reader = _FormReader()
    reader.feed(page.text)
    return reader.form


def answer_in(redirect: httpx2.Response) -> dict[str, str]:
    """The parameters that a redirect carries back to the application."""
    assert redirect.status_code == 303, redirect.text
    query = parse_qs(urlsplit(redirect.headers["location"]).query, strict_parsing=True)
    return {name: values[0] for name, values in query.items() if len(values) == 1}


class Browser:
    """One browser at one server. Nothing is followed by itself."""

    def __init__(self, server: RunningServer) -> None:
        self._http = server.http
        self._base = server.issuer.url

    async def open(self, query: str) -> httpx2.Response:
        return await self._http.get(f"{self._base}/authorize?{query}")

    async def send(self, page: httpx2.Response, filled: Mapping[str, str]) -> httpx2.Response:
        """Send the page's form, hidden inputs as they came."""
        form = form_in(page)
        assert form.method == "post"
        return await self._http.post(urljoin(str(page.url), form.action), data={**form.hidden, **filled})

    async def follow(self, redirect: httpx2.Response) -> httpx2.Response:
        assert redirect.status_code == 303, redirect.text
        return await self._http.get(urljoin(str(redirect.url), redirect.headers["location"]))

    async def sign_in(self, query: str, *, email: str = EMAIL, password: str = PASSWORD) -> httpx2.Response:
        """Open the request, sign in, and come to what is next."""
        page = await self.open(query)
        return await self.follow(await self.send(page, {"email": email, "password": password}))

    async def allow(self, page: httpx2.Response) -> httpx2.Response:
        return await self.send(page, {"decision": "allow"})

    async def code(self, query: str | None = None) -> str:
        """The whole way to a code."""
        return answer_in(await self.allow(await self.sign_in(query or a_request())))["code"]


async def redeem(server: RunningServer, code: str, /, **changes: str) -> httpx2.Response:
    """Desk-app redeems a code."""
    usual = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "client_id": "desk-app",
        "code_verifier": VERIFIER,
        "resource": CALENDAR,
    }
    return await server.ask(**(usual | changes))
