"""A person's browser at the attacked installation, and what it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2

from perhop.rules.pkce import code_challenge
from tests.attacks.configuration import CALLBACK
from tests.attacks.row import Seen
from tests.attacks.world import EMAIL, PASSWORD, Parameters, World
from tests.support.browsers import form_in
from tests.support.leaks.secrets import Kind

VERIFIER = "the-verifier-of-an-attacked-code-0123456789"


def a_query(world: World, **changes: str | None) -> str:
    """The query of desk-app's request, with these parameters changed or (None) left out."""
    usual: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "desk-app",
        "redirect_uri": CALLBACK,
        "resource": world.at.uri("calendar"),
        "scope": "calendar:read",
        "state": "a-state",
        "code_challenge": code_challenge(VERIFIER),
        "code_challenge_method": "S256",
    }
    return urlencode({name: value for name, value in (usual | changes).items() if value is not None})


def redeeming(code: str, **changes: str | None) -> Parameters:
    """The parameters with which desk-app redeems a code, changed or (None) left out."""
    usual: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "client_id": "desk-app",
        "code_verifier": VERIFIER,
    }
    return [(name, value) for name, value in (usual | changes).items() if value is not None]


class Visitor:
    """One browser: it keeps cookies, runs no scripts, and follows nothing by itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._http = httpx2.AsyncClient(timeout=15)
        self._url = f"{world.issuer}/authorize"
        world.leaks.note(VERIFIER, Kind.VERIFIER)

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def open(self, query: str) -> httpx2.Response:
        """Go to an authorization request."""
        self._world.tick()
        return self._look(await self._http.get(f"{self._url}?{query}"))

    async def send(self, page: httpx2.Response, filled: Mapping[str, str]) -> httpx2.Response:
        """Send the page's form, hidden inputs as they came unless they are filled otherwise."""
        form = form_in(page)
        return await self.post(urljoin(str(page.url), form.action), {**form.hidden, **filled})

    async def post(self, url: str, fields: Mapping[str, str]) -> httpx2.Response:
        self._world.tick()
        return self._look(await self._http.post(url, data=fields))

    async def sign_in(self, query: str, *, email: str = EMAIL, password: str = PASSWORD) -> httpx2.Response:
        """Sign in at this request, and come to the page that is next."""
        page = await self.open(query)
        redirect = await self.send(page, {"email": email, "password": password})
        if redirect.status_code != 303:
            return redirect
        return await self.open(urlsplit(redirect.headers["location"]).query)

    async def code(self, query: str) -> str:
        """The whole way to a code, as far as it still has to be gone."""
        page = await self.open(query)
        if "email" in form_in(page).fields:
            page = await self.sign_in(query)
        if page.status_code == 200:
            page = await self.send(page, {"decision": "allow"})
        code = sent_back(page)["code"]
        return self._world.leaks.note(code, Kind.CODE)

    def _look(self, answer: httpx2.Response) -> httpx2.Response:
        """What holds for every page and redirect of the authorization endpoint."""
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-frame-options"] == "DENY"
        if "location" in answer.headers:
            assert answer.status_code == 303, "a redirect that repeats the POST carries the password along"
        if "location" in answer.headers and not answer.headers["location"].startswith("/"):
            assert sent_back(answer)["iss"] == self._world.issuer
        return answer


def sent_back(redirect: httpx2.Response) -> dict[str, str]:
    """The parameters that a redirect carries to the application."""
    query = parse_qs(urlsplit(redirect.headers["location"]).query)
    return {name: values[0] for name, values in query.items() if len(values) == 1}


def shown(world: World, page: httpx2.Response, size: int) -> Seen:
    """What a person or an application got: a page by what it asks, a redirect by what it carries."""
    records = world.records_since(size)
    reasons = [each.text("reason") for each in records if each.text("reason")]
    return Seen(observed=_name(page), reason=reasons[-1] if reasons else None, records=len(records))


def _name(page: httpx2.Response) -> str:
    if page.status_code == 303:
        carried = sent_back(page)
        return f"303 {carried.get('error') or 'code' * ('code' in carried) or 'onward'}"
    form = form_in(page)
    kind = "sign-in" if "email" in form.fields else "consent" if form.buttons else ""
    return f"{page.status_code} {kind}".strip()
