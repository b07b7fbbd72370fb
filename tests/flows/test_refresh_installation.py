"""Refresh tokens of a whole installation: a person's application, `perhop serve`, a restart, and the commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
import pytest

from tests.support.browsers import CHALLENGE, VERIFIER, form_in
from tests.support.commands import make_installation, perhop, ports_of
from tests.support.installations import PERHOP
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.processes import LOOPBACK, Running, started

EMAIL = "ann@example.com"
PASSWORD = THE_SCAN.note("a long passphrase of ann's", Kind.PASSWORD)
CALLBACK = "https://desk.example.com/callback"
ROOMS = "https://rooms.example.com/mcp"
DESK = f"""\
  desk-app:
    owner: travel
    purpose: shows rooms
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: ["{CALLBACK}"]
    reaches: {{rooms: [rooms:read], calendar: [calendar:read, calendar:write]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation with an application of people, and a person."""
    made = tmp_path / "installation"
    make_installation(made)
    with (made / "perhop.yaml").open("a", encoding="utf-8") as settings:
        settings.write(DESK)
    (made / "password").write_text(PASSWORD, encoding="utf-8")
    added = perhop("account", "add", EMAIL, "--password-file", "password", folder=made)
    assert added.code == 0, added.err
    return made


@contextmanager
def served(folder: Path) -> Iterator[Running]:
    with started([PERHOP, "serve"], ports=ports_of(folder), folder=folder) as running:
        yield running


def _issuer(folder: Path) -> str:
    return f"http://{LOOPBACK}:{ports_of(folder)[0]}"


def _signed_in(folder: Path, resource: str = ROOMS) -> dict[str, Any]:
    """What the application gets when the person signs in and consents."""
    issuer = _issuer(folder)
    asked = {
        "response_type": "code",
        "client_id": "desk-app",
        "redirect_uri": CALLBACK,
        "resource": resource,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    with httpx2.Client(timeout=30) as browser:
        page = browser.get(f"{issuer}/authorize?{urlencode(asked)}")
        form = form_in(page)
        sent = browser.post(urljoin(issuer, form.action), data=form.hidden | {"email": EMAIL, "password": PASSWORD})
        page = browser.get(urljoin(issuer, sent.headers["location"]))
        if page.status_code != 303:
            form = form_in(page)
            page = browser.post(urljoin(issuer, form.action), data=form.hidden | {"decision": "allow"})
        code = parse_qs(urlsplit(page.headers["location"]).query)["code"][0]
        THE_SCAN.note(code, Kind.CODE)
        return _ask(issuer, grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)


def _refreshed(folder: Path, token: str) -> dict[str, Any]:
    return _ask(_issuer(folder), grant_type="refresh_token", refresh_token=token)


def _ask(issuer: str, **form: str) -> dict[str, Any]:
    answer = httpx2.post(f"{issuer}/token", data={"client_id": "desk-app", **form}, timeout=30)
    granted = dict(answer.json())
    for name, kind in (("access_token", Kind.TOKEN), ("refresh_token", Kind.REFRESH_TOKEN)):
        if name in granted:
            THE_SCAN.note(granted[name], kind)
    return granted


def _jti(folder: Path, token: str) -> str:
    return str(perhop("token", "inspect", "-", "--json", folder=folder, stdin=token).json["claims"]["jti"])


def test_a_family_lives_until_somebody_ends_it(folder: Path) -> None:
    """Refresh tokens outlive a restart; `trace` names the family, and `revoke --family` counts it, then ends it."""
    with served(folder):
        first = _signed_in(folder)
    with served(folder):
        second = _refreshed(folder, first["refresh_token"])
        jti = _jti(folder, second["access_token"])
        (hop,) = perhop("trace", jti, "--json", folder=folder).json["hops"]
        assert f"refresh family {hop['family']}" in perhop("trace", jti, folder=folder).out
        words = ("revoke", "--family", hop["family"])
        would = perhop(*words, "--dry-run", "--json", folder=folder).json
        assert (would["revoked"], would["known"], would["live"], would["families"]) == (False, True, 2, 1)
        third = _refreshed(folder, second["refresh_token"])
        did = perhop(*words, "--yes", folder=folder)
        assert did.out == f"revoked: family {hop['family']}; 3 live tokens ended, with 1 refresh family\n"
        assert _refreshed(folder, third["refresh_token"])["error"] == "invalid_grant"
        again = perhop(*words, "--yes", "--json", folder=folder).json
        assert (again["known"], again["families"]) == (True, 0)
        assert not perhop("revoke", "--family", "nothing", "--yes", "--json", folder=folder).json["known"]


def test_who_is_disabled_refreshes_no_more(folder: Path, subtests: pytest.Subtests) -> None:
    """What is disabled or revoked while nothing serves gives no token afterwards, also when it is enabled again."""
    ways = (
        ("client", "disable", "desk-app"),
        ("resource", "disable", "rooms"),
        ("owner", "disable", "rooms-team"),
        ("revoke", "--agent", "desk-app", "--yes"),
        ("revoke", "--resource", "rooms", "--yes"),
        ("account", "disable", EMAIL),
    )
    with served(folder):
        token = _signed_in(folder)["refresh_token"]
    for words in ways:
        done = perhop(*words, folder=folder)
        assert done.code == 0, done.err
        kind, verb, name = words[:3]
        is_lifted = verb == "disable" and kind != "account"
        if is_lifted:
            assert perhop(kind, "enable", name, folder=folder).code == 0
        with served(folder):
            with subtests.test(" ".join(words)):
                assert _refreshed(folder, token)["error"] == "invalid_grant"
            if kind != "account":
                token = _signed_in(folder)["refresh_token"]


def test_a_client_that_left_the_file_refreshes_no_more(folder: Path) -> None:
    """A client that is taken out of the configuration and put back stays without its refresh tokens."""
    settings = folder / "perhop.yaml"
    whole = settings.read_text(encoding="utf-8")
    with served(folder):
        token = _signed_in(folder)["refresh_token"]
        settings.write_text(whole.replace(DESK, ""), encoding="utf-8")
        assert perhop("apply", folder=folder).code == 0
        settings.write_text(whole, encoding="utf-8")
        assert perhop("apply", folder=folder).code == 0
        assert perhop("client", "enable", "desk-app", folder=folder).code == 0
        assert _refreshed(folder, token)["error"] == "invalid_grant"


def test_a_client_that_may_ask_for_less_refreshes_for_less(folder: Path) -> None:
    """`apply` takes a scope away: tokens with it end at once, and the refresh token gives the rest."""
    settings = folder / "perhop.yaml"
    with served(folder):
        first = _signed_in(folder, f"{_issuer(folder)}/mcp/calendar")
        assert first["scope"] == "calendar:read calendar:write"
        narrower = settings.read_text(encoding="utf-8").replace(
            "calendar: [calendar:read, calendar:write]}\n", "calendar: [calendar:read]}\n"
        )
        settings.write_text(
            narrower.replace("rooms: [rooms:read], calendar: [calendar:read]", "calendar: [calendar:read]")
        )
        applied = perhop("apply", "--json", folder=folder)
        assert applied.json["revoked"] == 1
        assert _refreshed(folder, first["refresh_token"])["scope"] == "calendar:read"


def test_an_incident_tells_of_a_reuse(folder: Path) -> None:
    """Of a token whose refresh token came a second time, `incident` says so, and names the record."""
    with served(folder):
        first = _signed_in(folder)
        second = _refreshed(folder, first["refresh_token"])
        assert _refreshed(folder, first["refresh_token"])["error"] == "invalid_grant"
        found = perhop("incident", _jti(folder, second["access_token"]), "--json", folder=folder).json
        (signal,) = [each for each in found["signals"] if each["name"] == "refresh-reused"]
        assert (signal["side"], signal["direction"], signal["weight"]) == ("theft", "for", "weak")
        (seq,) = signal["records"]
        query = perhop("journal", "query", "--reason", "refresh.reused", "--json", folder=folder)
        assert query.json["seq"] == seq
        other = perhop("incident", _jti(folder, _signed_in(folder)["access_token"]), "--json", folder=folder).json
        assert "refresh-reused" not in {each["name"] for each in other["signals"]}
