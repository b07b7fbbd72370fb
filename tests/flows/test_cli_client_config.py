"""`perhop client-config`: files that each client's own parser reads, and clear words where there can be none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from perhop.cli.client_formats import FORMATS
from perhop.rules.redirect_uri import check_redirect_uri
from tests.support.commands import SECRET, Ran, perhop
from tests.support.sources import ROOT

PUBLIC = """\
  desk:
    owner: travel
    purpose: shows people their calendar
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: {callbacks}
    reaches: {{calendar: ["calendar:read"]}}
"""
SIGNS_IN = sorted(name for name, form in FORMATS.items() if form.callback is not None)
REGISTERS_ITSELF = sorted(set(FORMATS) - set(SIGNS_IN))

EXPECTED: dict[str, Any] = {
    "claude-code": {
        "mcpServers": {"calendar": {"type": "http", "url": "URL", "oauth": {"clientId": "desk", "callbackPort": 3118}}}
    },
    "claude-desktop": {
        "mcpServers": {
            "calendar": {
                "command": "npx",
                "args": [
                    *("-y", "mcp-remote", "URL", "--host", "127.0.0.1"),
                    *("--static-oauth-client-info", '{"client_id":"desk"}'),
                ],
            }
        }
    },
    "cursor": {"mcpServers": {"calendar": {"url": "URL", "auth": {"CLIENT_ID": "desk", "scopes": ["calendar:read"]}}}},
    "vscode": {"servers": {"calendar": {"type": "http", "url": "URL", "oauth": {"clientId": "desk"}}}},
    "zed": {"context_servers": {"calendar": {"url": "URL", "oauth": {"client_id": "desk"}}}},
    "opencode": {
        "$schema": "https://opencode.ai/config.json",
        "mcp": {"calendar": {"type": "remote", "url": "URL", "enabled": True, "oauth": {"clientId": "desk"}}},
    },
    "goose": {
        "extensions": {
            "calendar": {"type": "streamable_http", "name": "calendar", "enabled": True, "uri": "URL", "timeout": 300}
        }
    },
    "continue": {
        "name": "calendar",
        "version": "0.0.1",
        "schema": "v1",
        "mcpServers": [{"name": "calendar", "type": "streamable-http", "url": "URL"}],
    },
    "windsurf": {"mcpServers": {"calendar": {"serverUrl": "URL"}}},
    "generic": {
        "name": "calendar",
        "url": "URL",
        "transport": "streamable-http",
        "authorization_server": "ISSUER",
        "client_id": "desk",
        "redirect_uri": "http://localhost:3118/callback",
        "scopes": ["calendar:read"],
    },
}


@pytest.fixture
def desk(folder: Path) -> Path:
    """An installation with a public client that could be any of the programs."""
    callbacks = [FORMATS[name].callback for name in ("claude-code", *SIGNS_IN)]
    _add(folder, PUBLIC.format(callbacks=json.dumps(list(dict.fromkeys(callbacks)))))
    return folder


def _add(folder: Path, client: str) -> None:
    file = folder / "perhop.yaml"
    file.write_text(file.read_text(encoding="utf-8") + client, encoding="utf-8")


def _print(folder: Path, name: str, *words: str, resource: str = "calendar") -> Ran:
    return perhop("client-config", "--for", name, "--resource", resource, *words, folder=folder)


def _parsed(name: str, text: str) -> Any:
    return yaml.safe_load(text) if FORMATS[name].syntax == "yaml" else json.loads(text)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_file_is_what_the_client_reads(name: str, desk: Path) -> None:
    """stdout is the file's content alone, in the client's own syntax and words; where it goes is talk."""
    shown = perhop("config", "show", "--json", folder=desk).json
    ran = _print(desk, name)
    assert ran.code == 0, ran.err
    expected = json.dumps(EXPECTED[name]).replace("URL", shown["resources"]["calendar"]["uri"])
    assert _parsed(name, ran.out) == json.loads(expected.replace("ISSUER", shown["issuer"]))
    assert FORMATS[name].file in ran.err
    assert FORMATS[name].page in ran.err


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_secret_is_ever_printed(name: str, desk: Path) -> None:
    """Neither content nor talk holds a client's secret."""
    for ran in (_print(desk, name), _print(desk, name, "--json")):
        assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_programs_get_the_same(name: str, desk: Path) -> None:
    """`--json` holds the content as text, its syntax, the client and the command."""
    told = _print(desk, name, "--json").json
    assert told["content"] == _print(desk, name).out
    assert told["syntax"] == FORMATS[name].syntax.value
    assert told["client"] == ("desk" if name in SIGNS_IN else None)
    assert told["command"].startswith("claude mcp add") == (name == "claude-code")


def test_the_command_of_claude_code_says_the_same(desk: Path) -> None:
    """Its own command line gets client, port, name and address, and options come first."""
    command = _print(desk, "claude-code", "--json").json["command"]
    uri = perhop("config", "show", "--json", folder=desk).json["resources"]["calendar"]["uri"]
    assert command == (
        "claude mcp add --transport http --scope project --client-id desk --callback-port 3118 " + f"calendar {uri}"
    )


def test_a_redirect_uri_without_a_port_leaves_it_to_the_program(folder: Path) -> None:
    """No port is named, in file and command, where none is registered: any is accepted then."""
    _add(folder, PUBLIC.format(callbacks='["http://localhost/callback"]'))
    told = _print(folder, "claude-code", "--json").json
    assert json.loads(told["content"])["mcpServers"]["calendar"]["oauth"] == {"clientId": "desk"}
    assert "--callback-port" not in told["command"]


@pytest.mark.parametrize("name", SIGNS_IN)
def test_what_is_advised_helps(name: str, folder: Path) -> None:
    """Without a fitting client the answer is what to put into perhop.yaml; once it is there, the file is printed."""
    ran = _print(folder, name)
    assert (ran.code, ran.out) == (2, "")
    told = ran.err.splitlines()
    start = next(number for number, line in enumerate(told) if "under `clients`" in line)
    # Inside `clients` of this file an entry stands at two columns.
    _add(folder, "".join(f"{line[2:]}\n" for line in told[start + 1 :]))
    checked = perhop("config", "check", folder=folder)
    assert checked.code == 0, checked.out
    assert _print(folder, name).code == 0


@pytest.mark.parametrize("name", SIGNS_IN)
def test_the_redirect_uri_of_a_program_may_have_any_port(name: str) -> None:
    """What the table names is on this machine, and the authorization server takes it with another port, too."""
    callback = FORMATS[name].callback
    assert callback is not None
    head, _, rest = callback.rpartition(":")
    check_redirect_uri(f"{head}:1234/{rest.partition('/')[2]}", [callback])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--client", "nobody"), 6, "no client `nobody`"),
        (("--client", "planner"), 2, "is not public"),
        (("--client", "desk"), 2, "has no redirect URI for Claude Code"),
    ],
)
def test_a_client_that_cannot_be_it_is_told_why(words: tuple[str, ...], code: int, said: str, folder: Path) -> None:
    """An unknown client, one with a secret, and one with another program's redirect URI are refused with a remedy."""
    _add(folder, PUBLIC.format(callbacks='["http://127.0.0.1:3955/elsewhere"]'))
    ran = _print(folder, "claude-code", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert 'redirect_uris: ["http://localhost:3118/callback"]' in ran.err


def test_a_client_that_does_not_reach_the_resource_is_told_so(desk: Path) -> None:
    """What is missing is `reaches`, and the remedy names the resource's scopes."""
    ran = _print(desk, "vscode", "--client", "desk", resource="rooms")
    assert ran.code == 2
    assert "does not reach `rooms`" in ran.err
    assert 'reaches: {rooms: ["rooms:read"]}' in ran.err


def test_a_program_is_warned_where_tokens_are_bound_to_a_key(desk: Path) -> None:
    """Where a resource takes no bearer tokens, it is said before the program fails for it."""
    words = ("client-config", "--for", "cursor", "--resource", "calendar")
    assert "DPoP" not in perhop(*words, folder=desk).err
    file = desk / "perhop.yaml"
    file.write_text(
        file.read_text("utf-8").replace("    tenant: acme\n", "    tenant: acme\n    sender: dpop\n", 1), "utf-8"
    )
    assert "DPoP" in perhop(*words, folder=desk).err


def test_one_of_several_clients_must_be_chosen(desk: Path) -> None:
    """Where two could be it, nothing is guessed."""
    callbacks = json.dumps([FORMATS["vscode"].callback])
    _add(desk, PUBLIC.format(callbacks=callbacks).replace("  desk:", "  other:"))
    ran = _print(desk, "vscode")
    assert ran.code == 2
    assert "`desk`, `other`" in ran.err
    assert "other" in _print(desk, "vscode", "--client", "other").out


@pytest.mark.parametrize("name", REGISTERS_ITSELF)
def test_a_program_that_registers_itself_takes_no_client(name: str, desk: Path) -> None:
    """That it takes none is said, and `--client` is refused."""
    assert "takes no client id" in _print(desk, name).err
    assert _print(desk, name, "--client", "desk").code == 2


def test_the_guide_knows_every_client_and_where_it_listens() -> None:
    """The page has each name of `--for`, and each redirect URI as the table has it."""
    page = (ROOT / "docs/guide/clients.md").read_text(encoding="utf-8")
    for name, form in FORMATS.items():
        assert f"`{name}`" in page
        if form.callback is not None and name != "generic":
            assert f"| `{name}` | `{form.callback}` |" in page


def test_an_unknown_resource_is_not_found(desk: Path) -> None:
    """The exit code says so, and stdout stays empty."""
    ran = _print(desk, "vscode", resource="nothing")
    assert (ran.code, ran.out) == (6, "")


def test_a_name_that_clients_cannot_take_is_written_so_that_they_can(desk: Path) -> None:
    """Dots of a resource's name become dashes in the client's name for it."""
    file = desk / "perhop.yaml"
    text = file.read_text(encoding="utf-8").replace("  calendar:\n", "  cal.v1:\n").replace("{calendar:", "{cal.v1:")
    file.write_text(text, encoding="utf-8")
    assert list(json.loads(_print(desk, "vscode", resource="cal.v1").out)["servers"]) == ["cal-v1"]


@pytest.mark.parametrize("name", REGISTERS_ITSELF)
def test_a_program_that_registers_itself_is_told_what_lets_it_in(name: str, folder: Path) -> None:
    """Where nobody may register it names the setting; where one may, only who adopts it."""
    closed = _print(folder, name)
    assert "`client_registration: adopted`" in closed.err
    _add(folder, "client_registration: adopted\n")
    opened = _print(folder, name)
    assert opened.out == closed.out
    assert "client_registration" not in opened.err
    assert "registers itself" in opened.err
    assert "`perhop client adopt ID`" in closed.err
    assert "`perhop client adopt ID`" in opened.err
