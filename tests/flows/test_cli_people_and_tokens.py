"""`perhop account`, `token`, `client`, `resource`, `owner`, `key`, `revoke`: changing standing, and looking at it."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from perhop.authorization_server.refresh_families import hash_refresh_token
from tests.support.commands import Ran, perhop

PASSWORD = "a long enough password"
ISSUE = ("token", "issue", "--client", "planner", "--resource", "calendar")


def _events(folder: Path) -> list[str]:
    return [
        line.split('"event": "')[1].split('"')[0]
        for line in perhop("journal", "query", "--json", folder=folder).out.splitlines()
    ]


def _issue(folder: Path) -> str:
    ran = perhop(*ISSUE, folder=folder)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def _jti(token: str, folder: Path) -> str:
    return str(perhop("token", "inspect", token, "--json", folder=folder).json["claims"]["jti"])


def test_an_account_is_added_listed_changed_and_disabled(folder: Path) -> None:
    """Each step is in the list and in the journal; a password that was made is printed alone."""
    added = perhop("account", "add", "Ann@Example.com", folder=folder)
    assert (added.code, len(added.out.split())) == (0, 1)
    changed = perhop("account", "password", "ann@example.com", "--password-file", "-", folder=folder, stdin=PASSWORD)
    assert (changed.code, changed.out) == (0, "")
    disabled = perhop("account", "disable", "ann@example.com", folder=folder)
    assert disabled.out == "disabled: account ann@example.com; 0 live tokens revoked\n"
    accounts = perhop("account", "list", "--json", folder=folder).json
    assert [(each["email"], each["state"]) for each in accounts] == [
        ("admin", "console only"),
        ("ann@example.com", "disabled"),
    ]
    assert _events(folder)[-4:] == ["account.changed", "account.changed", "account.changed", "revocation"]


def test_a_disabled_account_comes_back(folder: Path) -> None:
    """By its address or its subject, with a record before; a new password alone leaves it disabled, and says so."""
    added = perhop("account", "add", "ann@example.com", "--json", folder=folder).json
    perhop("account", "disable", "ann@example.com", folder=folder)
    changed = perhop("account", "password", "ann@example.com", "--password-file", "-", folder=folder, stdin=PASSWORD)
    assert "perhop account enable ann@example.com" in changed.err
    assert _state(folder) == "disabled"
    enabled = perhop("account", "enable", "Ann@example.com", folder=folder)
    assert (enabled.code, enabled.out) == (0, "enabled: account ann@example.com\n")
    assert _state(folder) == "enabled"
    last = perhop("journal", "query", "--event", "account.changed", "--json", folder=folder).out.splitlines()[-1]
    about = json.loads(last)["about"]
    assert (about["account"], about["change"]) == (added["subject"], "enabled")
    again = perhop("account", "enable", added["subject"], folder=folder)
    assert again.out == "enabled: account ann@example.com (it was enabled)\n"
    changed = perhop("account", "password", "ann@example.com", "--password-file", "-", folder=folder, stdin=PASSWORD)
    assert "disabled" not in changed.err


def _state(folder: Path) -> str:
    accounts = perhop("account", "list", "--json", folder=folder).json
    return str(next(each["state"] for each in accounts if each["email"] == "ann@example.com"))


def test_grants_are_listed_and_taken_back(folder: Path) -> None:
    """Where nobody has allowed anything there is nothing to list or to take back; a revocation names what it is of."""
    listed = perhop("grant", "list", "--json", folder=folder)
    assert (listed.code, listed.json) == (0, [])
    revoked = perhop("grant", "revoke", "--client", "planner", "--yes", folder=folder)
    assert revoked.out == "revoked: 0 grants, with 0 refresh families and 0 live tokens\n"
    assert perhop("grant", "revoke", folder=folder).code == 2
    assert perhop("grant", "revoke", "--person", "nobody@example.com", "--yes", folder=folder).code == 6


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (("add", "ann"), "", 2),
        (("add", "ann@example.com", "--password-file", "-"), "short", 2),
        (("password", "nobody@example.com"), "", 6),
        (("disable", "nobody@example.com"), "", 6),
        (("enable", "nobody@example.com"), "", 6),
        (("enable", "user:nobody"), "", 6),
    ],
)
def test_what_is_no_account_is_refused(words: tuple[str, ...], stdin: str, code: int, folder: Path) -> None:
    """No address, a short password, nobody of that name: an error, and no record."""
    before = _events(folder)
    assert perhop("account", *words, folder=folder, stdin=stdin).code == code
    assert _events(folder) == before


def test_an_account_is_added_once(folder: Path) -> None:
    """The second attempt fails, whatever the case of its letters, and leaves no record."""
    perhop("account", "add", "ann@example.com", folder=folder)
    before = _events(folder)
    again = perhop("account", "add", "ANN@example.com", folder=folder)
    assert (again.code, _events(folder)) == (1, before)
    assert "perhop account password" in again.err


def test_a_password_file_loses_one_newline_and_no_more(folder: Path, tmp_path: Path) -> None:
    """The password is what the file holds; the JSON result does not repeat it."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    added = perhop(
        "account", "add", "ann@example.com", "--json", "--password-file", str(tmp_path / "password"), folder=folder
    )
    assert set(added.json) == {"email", "subject"}
    assert PASSWORD not in added.out + added.err


def test_token_issue_prints_the_token_alone(folder: Path) -> None:
    """One line, a compact JWS, good for the one resource and the scopes that were asked."""
    ran = perhop(*ISSUE, "--scope", "calendar:read", folder=folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("\n") == 1
    inspected = perhop("token", "inspect", "-", "--json", folder=folder, stdin=ran.out).json
    assert inspected["problems"] == []
    assert inspected["header"]["typ"] == "at+jwt"
    assert (inspected["claims"]["scope"], inspected["claims"]["hop"]) == ("calendar:read", 1)
    result = perhop(*ISSUE, "--json", folder=folder).json
    assert result["resource"] == inspected["claims"]["aud"]
    assert result["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("client", "resource", "scope", "code"),
    [
        ("nobody", "calendar", None, 6),
        ("planner", "nosuch", None, 6),
        ("planner", "https://stranger.example.com/mcp", None, 3),
        ("planner", "calendar", "rooms:read", 3),
        ("idler", "rooms", None, 3),
    ],
)
def test_token_issue_refuses_as_the_endpoint_would(
    client: str, resource: str, scope: str | None, code: int, folder: Path
) -> None:
    """What is not defined is not found; what the rules refuse is denied; nothing is printed."""
    scopes = ("--scope", scope) if scope else ()
    ran = perhop("token", "issue", "--client", client, "--resource", resource, *scopes, folder=folder)
    assert (ran.code, ran.out) == (code, "")


DESK = """\
  desk:
    owner: travel
    purpose: shows calendars
    expires: 2099-12-31
    authentication: {method: none}
    redirect_uris: ["http://127.0.0.1:3955/callback"]
    reaches: {calendar: [calendar:read]}
  reader:
    owner: travel
    purpose: reads calendars
    expires: 2099-12-31
    authentication: {method: client_secret_basic, secret: a-secret-of-a-reader-that-is-long-enough}
    reaches: {calendar: [calendar:read]}
"""


@pytest.mark.parametrize(
    ("client", "scope", "said", "remedy"),
    [
        ("reader", "calendar:nope", "`calendar` has no scope `calendar:nope`", "`calendar:read`, `calendar:write`"),
        ("reader", "calendar:write", "client `reader` may not have", "`clients.reader.reaches.calendar`"),
        ("desk", "calendar:read", "it is a public client", "people sign in with it; see `perhop client-config`"),
    ],
)
def test_token_issue_says_what_to_do(client: str, scope: str, said: str, remedy: str, folder: Path) -> None:
    """A scope that does not exist, one that the client may not have, and a public client are told apart."""
    file = folder / "perhop.yaml"
    file.write_text(file.read_text(encoding="utf-8") + DESK, encoding="utf-8")
    ran = perhop("token", "issue", "--client", client, "--resource", "calendar", "--scope", scope, folder=folder)
    assert (ran.code, ran.out) == (3, "")
    problem, advice = ran.err.splitlines()[:2]
    assert said in problem
    assert remedy in advice
    assert _events(folder)[-1] == "token.refused"


def test_token_inspect_says_what_is_wrong(folder: Path) -> None:
    """No network and no configuration are needed; a token with problems ends with exit code 7."""
    token = _issue(folder)
    shown = perhop("token", "inspect", token, folder=folder)
    assert "nothing wrong was found" in shown.out
    broken = perhop("token", "inspect", token.rpartition(".")[0], "--json", folder=folder.parent)
    assert (broken.code, broken.json["claims"]) == (7, {})
    assert broken.json["problems"][0].startswith("token.malformed")


def test_revoke_takes_an_id_or_a_whole_token(folder: Path) -> None:
    """Either way the token's id is revoked, and the whole token is nowhere repeated."""
    first, second = _issue(folder), _issue(folder)
    by_token = perhop("revoke", "--token", first, "--why", "lost", folder=folder)
    assert by_token.out == f"revoked: token {_jti(first, folder)}; 1 live token ended\n"
    by_stdin = perhop("revoke", "--token", "-", "--json", folder=folder, stdin=second)
    assert (by_stdin.json["value"], by_stdin.json["live"], by_stdin.json["known"]) == (_jti(second, folder), 1, True)
    assert first not in perhop("journal", "query", "--json", folder=folder).out


@pytest.mark.parametrize("given", ["{token}.", "{token} {token}", "Bearer", "", "{secret}"])
def test_what_may_be_a_secret_is_neither_recorded_nor_repeated(given: str, folder: Path) -> None:
    """A token with a letter too many, or another secret, is no id: an error, and nothing is said to be revoked."""
    token, secret = _issue(folder), "s3cret-" * 7
    text = given.format(token=token, secret=secret).replace("Bearer", f"Bearer {secret}")
    ran = perhop("revoke", "--token", text, folder=folder)
    assert (ran.code, ran.out) == (2, "")
    assert "neither a token nor the id of one" in ran.err
    kept = perhop("journal", "query", "--json", folder=folder).out
    assert "revocation" not in kept
    assert not any(each in ran.err + kept for each in (token, secret))


@pytest.mark.parametrize("kind", ["agent", "subject", "resource", "tenant", "task", "family"])
def test_a_secret_in_the_place_of_a_name_is_neither_recorded_nor_repeated(kind: str, folder: Path) -> None:
    """It is a slip of the hand in the middle of an incident; a name that is not known is revoked as ever."""
    token, secret = _issue(folder), "s3cret-" * 7
    for given in (token, secret):
        ran = perhop("revoke", f"--{kind}", given, folder=folder)
        assert (ran.code, ran.out) == (2, "")
        assert f"no {kind} of this name is known" in ran.err
        assert given not in ran.err
    assert perhop("revoke", f"--{kind}", "gone-since-long", folder=folder).code == 0
    kept = perhop("journal", "query", "--json", folder=folder).out
    assert "gone-since-long" in kept
    assert not any(each in kept for each in (token, secret))


def test_a_refresh_token_stands_for_its_family(folder: Path) -> None:
    """As at the revocation endpoint: the family ends, and the refresh token itself is nowhere."""
    raw, now = "a-refresh-token-of-a-person-0123456789-0123", int(time.time())
    with closing(sqlite3.connect(folder / "perhop.db")) as database, database:
        columns = "id, code_hash, client_id, subject, resource, scope, terms, began_at, expires_at"
        family = ("the-family", "code", "planner", "user:x", "https://calendar.example.com", "", "", now, now + 99)
        database.execute(f"INSERT INTO refresh_family ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", family)
        token = (hash_refresh_token(raw), "the-family", now, now + 99)
        columns = "token_hash, family, issued_at, expires_at"
        database.execute(f"INSERT INTO refresh_token ({columns}) VALUES (?, ?, ?, ?)", token)
    ran = perhop("revoke", "--token", raw, "--json", folder=folder)
    assert (ran.json["kind"], ran.json["value"], ran.json["families"]) == ("family", "the-family", 1)
    assert raw not in perhop("journal", "query", "--json", folder=folder).out + ran.out + ran.err


@pytest.mark.parametrize("kind", ["token", "agent", "subject", "resource", "tenant"])
def test_what_is_unknown_is_revoked_and_told(kind: str, folder: Path) -> None:
    """Revoking a name that nothing known bears is no error, and is recorded; the person is told."""
    ran = perhop("revoke", f"--{kind}", "nosuch", folder=folder)
    assert (ran.code, ran.out) == (0, f"revoked: {kind} nosuch; 0 live tokens ended\n")
    assert "Nothing known here" in ran.err
    assert _events(folder)[-1] == "revocation"


@pytest.mark.parametrize(
    "named", [("agent", "planner"), ("subject", "planner"), ("resource", "calendar"), ("tenant", "acme")]
)
def test_revoke_by_what_tokens_share(named: tuple[str, str], folder: Path) -> None:
    """Every live token of that name ends. Without a terminal there is nobody to ask."""
    _issue(folder)
    result = perhop("revoke", f"--{named[0]}", named[1], "--json", folder=folder).json
    assert (result["live"], result["known"]) == (1, True)


def test_a_dry_run_of_revoke_revokes_nothing(folder: Path) -> None:
    """It counts, says that nothing was done, and leaves no record."""
    _issue(folder)
    before = _events(folder)
    ran = perhop("revoke", "--resource", "calendar", "--dry-run", folder=folder)
    assert ran.out == "nothing was revoked: resource calendar; 1 live token would end\n"
    assert _events(folder) == before
    assert perhop("revoke", "--resource", "calendar", folder=folder).out.endswith("; 1 live token ended\n")


def test_a_forged_token_is_not_revoked(folder: Path) -> None:
    """A whole token that does not verify is refused: the id in it may be anybody's."""
    token = _issue(folder)
    forged = token[:-8] + ("A" * 8 if not token.endswith("A" * 8) else "B" * 8)
    assert perhop("revoke", "--token", forged, folder=folder).code == 3


def _standing(folder: Path, kind: str, name: str) -> str:
    rows = perhop(kind, "list", "--json", folder=folder).json
    return str(next(row["standing"] for row in rows if row.get("id", row.get("name")) == name))


@pytest.mark.parametrize(("kind", "name"), [("client", "planner"), ("resource", "calendar"), ("owner", "travel")])
def test_what_is_disabled_gets_nothing_until_it_is_enabled(kind: str, name: str, folder: Path) -> None:
    """Its tokens end, no other one is issued, the list shows it; enabling lifts it."""
    _issue(folder)
    disabled = perhop(kind, "disable", name, "--why", "test", folder=folder)
    assert disabled.out == f"disabled: {kind} {name}; 1 live token revoked\n"
    assert _standing(folder, kind, name) == "disabled"
    assert perhop(*ISSUE, folder=folder).code == 3
    assert perhop(kind, "enable", name, folder=folder).out == f"enabled: {kind} {name}\n"
    assert _standing(folder, kind, name) == "enabled"


def test_enabling_what_is_enabled_says_so(folder: Path) -> None:
    """It is no error, and nothing that is not defined can be enabled or disabled."""
    assert perhop("client", "enable", "planner", folder=folder).out == "enabled: client planner (it was enabled)\n"
    assert perhop("client", "enable", "nosuch", folder=folder).code == 6
    assert perhop("resource", "disable", "nosuch", folder=folder).code == 6


def test_lists_are_for_people_too(folder: Path) -> None:
    """Every list has a header and a line for each, whole in its line where there is no terminal."""

    def lines(ran: Ran) -> list[str]:
        return ran.out.splitlines()

    clients = lines(perhop("client", "list", folder=folder))
    assert [line.split()[0] for line in clients] == ["CLIENT", "planner", "idler"]
    assert "expired" in clients[2]
    assert [line.split()[0] for line in lines(perhop("resource", "list", folder=folder))][1:] == ["calendar", "rooms"]
    assert [line.split()[0] for line in lines(perhop("owner", "list", folder=folder))][1:] == ["travel", "rooms-team"]
    assert len(lines(perhop("account", "list", folder=folder))) == 2
    assert len(lines(perhop("key", "list", folder=folder))) == 2


def test_unused_clients_are_those_without_a_permitted_call(folder: Path) -> None:
    """A token that was only issued is no use."""
    _issue(folder)
    unused = perhop("client", "list", "--unused", "--json", folder=folder).json
    assert [each["id"] for each in unused] == ["planner", "idler"]


def test_key_rotate_prepares_and_with_now_activates(folder: Path) -> None:
    """A prepared key signs later, an active one at once; the file of each is for the owner alone."""
    prepared = perhop("key", "rotate", "--json", folder=folder).json
    assert prepared["state"] == "prepared"
    active = perhop("key", "rotate", "--now", "--alg", "Ed25519", "--json", folder=folder).json
    assert (active["state"], active["signs_from"]) == ("active", "now")
    states = {each["kid"]: each["state"] for each in perhop("key", "list", "--json", folder=folder).json}
    assert sorted(states.values()) == ["active", "prepared", "retired"]
    assert states[active["kid"]] == "active"
    header = perhop("token", "inspect", _issue(folder), "--json", folder=folder).json["header"]
    assert (header["alg"], header["kid"]) == ("Ed25519", active["kid"])
    assert {file.stat().st_mode & 0o777 for file in (folder / "keys").glob("*.pem")} == {0o600}
    assert perhop("key", "rotate", "--alg", "HS256", folder=folder).code == 2
