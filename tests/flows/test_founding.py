"""What `perhop init` makes: everything that serving needs, once, and nothing in the place of what was lost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from perhop.authorization_server.interaction.passwords import Passwords
from perhop.core.resource import CredentialKind
from perhop.errors import OperatorError, SettingsError
from perhop.founding import Founded, found
from perhop.journal.keys import load_journal_key
from perhop.journal.query import Filter
from perhop.journal.verify import verify_journal
from perhop.policy.policy_set import load_policies
from perhop.settings import load
from perhop.storage.accounts import SqlAccounts
from perhop.storage.engine import open_database
from perhop.storage.journal_db import open_journal
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot
from perhop.storage.key_states import SqlKeyStates
from perhop.tokens.keys import Algorithm, KeyState, SigningKey
from perhop.wiring.keys import SigningKeys
from tests.support.full_disk import fill_disk

NOW = 1_790_000_000.0
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
LOCAL = "http://127.0.0.1:9001/mcp"


async def _found(folder: Path, **wishes: Any) -> Founded:
    environ: Mapping[str, str] = wishes.pop("environ", {})
    return await found(folder, environ=environ, clock=lambda: NOW, passwords=Passwords(QUICK), **wishes)


async def _account(folder: Path) -> Any:
    database = open_database(folder / "perhop.db")
    try:
        return await SqlAccounts(database).get("admin")
    finally:
        await database.close()


async def test_a_new_folder_has_all_that_serving_needs(tmp_path: Path) -> None:
    """Settings, policy, keys, database, journal and account are there, told, and good."""
    made = await _found(tmp_path / "new")
    folder = made.folder
    assert all((folder / each).exists() for each in made.made)
    assert {re.sub(r"signing-.*\.pem", "signing-KID.pem", each) for each in made.made} == {
        "perhop.yaml",
        "policies/start.cedar",
        "keys/signing-KID.pem",
        "keys/journal.pem",
        "keys/journal.vkey",
        "perhop.db",
        "journal.db",
    }
    settings = load(folder / "perhop.yaml", {})
    assert settings.registry.resources == {}
    assert settings.unsafe() == ()
    load_policies(settings.policies_dir)
    with JournalSnapshot(settings.journal_path) as stored:
        assert verify_journal(stored, load_journal_key(settings.keys_dir).verify_key).ok


async def test_what_is_secret_is_for_the_owner_alone(tmp_path: Path) -> None:
    """Keys, secrets, settings, database and journal cannot be read by others."""
    await _found(tmp_path / "new", upstream_url=LOCAL)
    private = [*(tmp_path / "new/keys").glob("*.pem"), *(tmp_path / "new/keys").glob("*.secret")]
    assert len(private) == 3
    for file in (*private, *((tmp_path / "new" / name) for name in ("perhop.yaml", "perhop.db", "journal.db"))):
        assert file.stat().st_mode & 0o077 == 0, file
    assert (tmp_path / "new/keys").stat().st_mode & 0o777 == 0o700


async def test_the_password_opens_the_account_and_is_told_once(tmp_path: Path) -> None:
    """The account `admin` is for the console only, has the password that was told, and gets no other one."""
    first = await _found(tmp_path)
    second = await _found(tmp_path)
    account = await _account(tmp_path)
    assert account.console_only
    assert account.subject.startswith("user:")
    assert first.admin_password is not None
    assert account.password_hash.startswith("$argon2id$")
    assert await Passwords(QUICK).is_right(account, first.admin_password.reveal())
    assert second.admin_password is None
    assert len(first.admin_password.reveal()) >= 24


async def test_the_first_key_is_active(tmp_path: Path) -> None:
    """The key that was made signs from the start."""
    await _found(tmp_path)
    database = open_database(tmp_path / "perhop.db")
    try:
        states = SqlKeyStates(database)
        keyring = await SigningKeys(tmp_path / "keys", states, clock=lambda: NOW).load()
        assert await states.all() == {keyring.active.kid: (KeyState.ACTIVE, int(NOW))}
        assert keyring.active.algorithm is Algorithm.ES256
    finally:
        await database.close()


async def test_key_and_account_are_recorded(tmp_path: Path) -> None:
    """The journal begins with the first key and the first account, and holds no secret."""
    made = await _found(tmp_path)
    with JournalQueries(tmp_path / "journal.db") as queries:
        records = list(queries.find(Filter()))
    assert [each.text("event") for each in records] == ["key.changed", "account.changed"]
    assert made.admin_password is not None
    assert all(made.admin_password.reveal() not in each.body for each in records)


async def test_a_second_time_makes_nothing(tmp_path: Path) -> None:
    """In a folder that is whole nothing is made, changed or recorded."""
    await _found(tmp_path)
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    again = await _found(tmp_path)
    assert again.made == ()
    files = {file: file.read_bytes() for file in before if file.exists()}
    kept = [file for file in before if not file.name.endswith(("-wal", "-shm"))]
    assert {file: files[file] for file in kept} == {file: before[file] for file in kept}


async def test_the_settings_that_are_there_are_kept(tmp_path: Path) -> None:
    """A file of one's own is kept, and what it names is made where it says."""
    text = "issuer: https://auth.example.com\ndatabase: sqlite:///state/here.db\npolicies: rules\n"
    (tmp_path / "perhop.yaml").write_text(text)
    made = await _found(tmp_path)
    assert (tmp_path / "perhop.yaml").read_text() == text
    assert {"state/here.db", "state/journal.db", "rules/start.cedar"} <= set(made.made)
    assert load_journal_key(tmp_path / "keys").name == "auth.example.com/journal"


async def test_the_environment_counts_here_too(tmp_path: Path) -> None:
    """The database is made where `serve` will look for it."""
    made = await _found(tmp_path, environ={"PERHOP_DATABASE": "sqlite:///other.db"})
    assert "other.db" in made.made


async def test_policies_that_are_there_are_kept(tmp_path: Path) -> None:
    """A folder with a policy in it gets no other one: the starter permits what its owner did not."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/own.cedar").write_text("// nothing is permitted\n")
    await _found(tmp_path)
    assert [each.name for each in (tmp_path / "policies").iterdir()] == ["own.cedar"]


async def test_what_is_missing_is_made(tmp_path: Path) -> None:
    """A policy folder and a database that are gone come back, and the rest stays."""
    await _found(tmp_path)
    shutil.rmtree(tmp_path / "policies")
    for file in tmp_path.glob("perhop.db*"):
        file.unlink()
    again = await _found(tmp_path)
    assert again.made == ("policies/start.cedar", "perhop.db")
    assert again.admin_password is not None


async def test_a_lost_journal_is_not_made_anew(tmp_path: Path) -> None:
    """A journal whose checkpoint is still there is lost, and that is told instead of hidden."""
    await _found(tmp_path)
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    with pytest.raises(OperatorError, match="is lost"):
        await _found(tmp_path)
    assert not (tmp_path / "journal.db").exists()


@pytest.mark.parametrize("lost", [["journal.pem"], ["journal.vkey"], ["journal.pem", "journal.vkey"]])
async def test_a_lost_journal_key_is_not_made_anew(tmp_path: Path, lost: list[str]) -> None:
    """A journal is continued under its own key or not at all."""
    await _found(tmp_path)
    for name in lost:
        (tmp_path / "keys" / name).unlink()
    with pytest.raises(OperatorError, match=f"{lost[0]}` is lost"):
        await _found(tmp_path)
    assert not (tmp_path / "keys" / lost[0]).exists()


async def test_a_running_server_is_not_disturbed(tmp_path: Path) -> None:
    """While the journal has a writer, what needs a record is not done behind its back."""
    await _found(tmp_path)
    for file in tmp_path.glob("perhop.db*"):
        file.unlink()
    journal = open_journal(tmp_path / "journal.db", key=load_journal_key(tmp_path / "keys"), clock=lambda: NOW)
    try:
        with pytest.raises(OperatorError, match="another process writes"):
            await _found(tmp_path)
    finally:
        await journal.close()
    assert (await _found(tmp_path)).admin_password is not None


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256])
async def test_a_key_is_taken_over(tmp_path: Path, algorithm: Algorithm) -> None:
    """A key that exists becomes the active one under its thumbprint, and taking it over again changes nothing."""
    key = SigningKey.generate(algorithm)
    (tmp_path / "old.pem").write_text(key.as_pem().reveal())
    await _found(tmp_path / "new", signing_key_pem=tmp_path / "old.pem")
    await _found(tmp_path / "new", signing_key_pem=tmp_path / "old.pem")
    assert [each.name for each in (tmp_path / "new/keys").glob("signing-*")] == [f"signing-{key.kid}.pem"]
    assert SigningKey.from_pem((tmp_path / f"new/keys/signing-{key.kid}.pem").read_bytes()).kid == key.kid


async def test_a_second_key_is_not_taken_over(tmp_path: Path) -> None:
    """Where a key signs already, another one comes by rotation."""
    (tmp_path / "old.pem").write_text(SigningKey.generate().as_pem().reveal())
    await _found(tmp_path / "new")
    with pytest.raises(OperatorError) as caught:
        await _found(tmp_path / "new", signing_key_pem=tmp_path / "old.pem")
    assert "perhop key rotate" in caught.value.advice()


async def test_an_unusable_key_makes_nothing(tmp_path: Path) -> None:
    """A key that cannot be taken over is told before anything is made."""
    (tmp_path / "bad.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for pem in (tmp_path / "bad.pem", tmp_path / "missing.pem"):
        with pytest.raises(OperatorError):
            await _found(tmp_path / "new", signing_key_pem=pem)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("url", "name", "kind"),
    [
        (LOCAL, "server-9001", CredentialKind.NONE),
        ("http://localhost/calendar/mcp", "calendar", CredentialKind.NONE),
        ("http://[::1]:9001/mcp", "server-9001", CredentialKind.NONE),
        ("https://calendar.example.com/mcp", "calendar", CredentialKind.EXCHANGE),
        ("https://mcp.example.com/", "example", CredentialKind.EXCHANGE),
        ("https://10.0.0.7/v1/mcp", "server-https", CredentialKind.EXCHANGE),
        ("https://tools.example.com/team~a/Search_Engine/mcp?profile=dev", "search_engine", CredentialKind.EXCHANGE),
    ],
)
async def test_an_upstream_becomes_a_resource(tmp_path: Path, url: str, name: str, kind: CredentialKind) -> None:
    """A running server gets a name, one scope over all tools, and a client that reaches it."""
    await _found(tmp_path, upstream_url=url)
    settings = load(tmp_path / "perhop.yaml", {})
    resource = settings.registry.resources[name]
    assert resource.uri == f"http://127.0.0.1:8420/mcp/{name}"
    assert resource.upstream is not None
    assert resource.upstream.credential is kind
    assert (resource.upstream.resource is None) is (kind is CredentialKind.NONE)
    assert resource.scope_for("any_tool") == f"{name}:use"
    assert resource.advertised_scopes() == (f"{name}:use",)
    assert settings.registry.clients["agent"].reaches == {name: (f"{name}:use",)}
    assert settings.unsafe() == ()


async def test_an_upstream_is_not_written_into_a_file_that_is_there(tmp_path: Path) -> None:
    """A kept file stays as it is, and the wish is refused rather than forgotten."""
    await _found(tmp_path)
    before = (tmp_path / "perhop.yaml").read_text()
    with pytest.raises(OperatorError, match="is kept"):
        await _found(tmp_path, upstream_url=LOCAL)
    assert (tmp_path / "perhop.yaml").read_text() == before


async def test_what_is_no_url_makes_nothing(tmp_path: Path) -> None:
    """A URL that no resource could have is told before anything is made."""
    with pytest.raises(SettingsError, match="not the URL of an MCP server"):
        await _found(tmp_path / "new", upstream_url="127.0.0.1:9001/mcp")
    assert not (tmp_path / "new").exists()


async def test_the_comments_of_the_first_file_are_true(tmp_path: Path) -> None:
    """The resource and the client that the file shows as comments load once the marks are taken away."""
    await _found(tmp_path)
    text = (tmp_path / "perhop.yaml").read_text()
    (tmp_path / "perhop.yaml").write_text(re.sub(r"^#(?=\S|  )", "", text, flags=re.MULTILINE))
    (tmp_path / "keys/agent.secret").write_text("0123456789abcdef0123456789abcdef\n")
    settings = load(tmp_path / "perhop.yaml", {})
    assert list(settings.registry.resources) == ["calendar"]
    assert list(settings.registry.clients) == ["agent"]


async def test_the_next_command_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be run next works from where `init` was run, whatever the folder is called."""
    folder = tmp_path / "my perhop"
    assert (await _found(folder)).next_command == f"perhop serve --config '{folder}/perhop.yaml'"
    monkeypatch.chdir(folder)
    assert (await _found(folder)).next_command == "perhop serve"


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file in the way is an operator's problem, not a crash."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot be made"):
        await _found(tmp_path / "file" / "new")


@pytest.mark.parametrize("written", range(5))
async def test_a_full_disk_leaves_nothing_that_passes_for_made(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the disk runs full, the file is named and not there; run again, everything is made."""
    with monkeypatch.context() as patched:
        fill_disk(patched, after=written)
        with pytest.raises(OperatorError, match=r"(perhop\.yaml|start\.cedar|signing-|journal\.).*No space left"):
            await _found(tmp_path)
    assert all(file.stat().st_size > 0 for file in tmp_path.rglob("*") if file.is_file())
    assert not list(tmp_path.rglob("*.new"))
    await _found(tmp_path)
    assert (tmp_path / "policies/start.cedar").read_text(encoding="utf-8")
    assert load_journal_key(tmp_path / "keys")
