"""What a good file comes to."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from perhop.core.client import ClientSecret, GrantType, NoAuthentication, PrivateKeyJwt
from perhop.core.resource import CredentialKind, Hop, Risk, SenderConstraint, UpstreamPool
from perhop.errors import SettingsError
from perhop.settings import Address, load, render, show
from tests.support.configuration import EXAMPLE, load_example, write_example

SECRET = "0123456789abcdef0123456789abcdef"
KEYS = "{method: private_key_jwt, jwks_file: trip-planner.jwks.json}"


def _with_secret(member: str) -> tuple[str, str]:
    return KEYS, f"{{method: client_secret_post, {member}}}"


def test_the_example_loads(tmp_path: Path) -> None:
    """The configuration of the guide is understood as it is meant."""
    settings = load_example(tmp_path)
    calendar = settings.registry.resources["calendar"]
    assert settings.issuer == "http://127.0.0.1:8420"
    assert settings.listen.traffic == Address("127.0.0.1", 8420)
    assert calendar.uri == "http://127.0.0.1:8420/mcp/calendar"
    assert calendar.server_uri == "http://127.0.0.1:9001/mcp"
    assert (calendar.tenant, calendar.risk, list(calendar.scopes)) == (
        "acme",
        Risk.MEDIUM,
        ["calendar:read", "calendar:write"],
    )
    assert settings.registry.hops == (
        Hop(source="calendar", target="rooms", scopes={"calendar:read": ("rooms:read",)}),
    )
    assert settings.registry.owners["travel-team"].members == ("ann@example.com",)
    assert settings.unsafe() == ()


def test_senders_are_bound_where_the_file_says_so(tmp_path: Path) -> None:
    """`sender: dpop` stands at a resource and at a client, and by default at neither."""
    plain = load_example(tmp_path).registry
    assert {each.sender for each in (*plain.resources.values(), *plain.clients.values())} == {SenderConstraint.ANY}
    authentication = f"    authentication: {KEYS}"
    strict = load_example(
        tmp_path,
        ("    risk: medium", "    risk: medium\n    sender: dpop"),
        (authentication, f"    sender: dpop\n{authentication}"),
    ).registry
    assert strict.resources["calendar"].must_be_bound
    assert not strict.resources["rooms"].must_be_bound
    assert strict.clients["trip-planner"].sender is SenderConstraint.DPOP
    assert strict.version != plain.version


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """A file with an issuer alone is whole."""
    (tmp_path / "perhop.yaml").write_text("issuer: https://auth.example.com\nowners:\nclients:\n")
    settings = load(tmp_path / "perhop.yaml", {})
    assert [str(each) for each in (settings.listen.traffic, settings.listen.console, settings.listen.ops)] == [
        "127.0.0.1:8420",
        "127.0.0.1:8421",
        "127.0.0.1:8422",
    ]
    assert settings.database_path == tmp_path / "perhop.db"
    assert settings.journal_path == tmp_path / "journal.db"
    assert settings.socket_path == tmp_path / "perhop.sock"
    assert settings.keys_dir == tmp_path / "keys"
    assert settings.policies_dir == tmp_path / "policies"
    assert (settings.max_call, settings.drain, settings.forwarded_from) == (600, 8, ())
    assert settings.upstream_pool is UpstreamPool.AIOHTTP
    assert settings.registry.resources == {}


def test_the_pool_is_chosen_by_the_file_or_the_environment(tmp_path: Path) -> None:
    """It changes no definition: the version of the configuration stays."""
    file = write_example(tmp_path, ("policies: policies/", "policies: policies/\nupstream_pool: own"))
    chosen = load(file, {})
    assert chosen.upstream_pool is UpstreamPool.OWN
    as_ever = load(file, {"PERHOP_UPSTREAM_POOL": "aiohttp"})
    assert as_ever.upstream_pool is UpstreamPool.AIOHTTP
    assert as_ever.registry.version == chosen.registry.version


def test_relative_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command is run does not matter; absolute paths stay."""
    file = write_example(tmp_path, ("sqlite:///perhop.db", "sqlite:////var/lib/perhop.db"))
    monkeypatch.chdir(tmp_path.parent)
    settings = load(file.relative_to(tmp_path.parent), {})
    assert settings.folder == tmp_path
    assert settings.policies_dir == tmp_path / "policies"
    assert settings.database_path == Path("/var/lib/perhop.db")


def test_settings_are_frozen(tmp_path: Path) -> None:
    """Nobody changes settings after they were loaded."""
    settings = load_example(tmp_path)
    with pytest.raises(FrozenInstanceError):
        settings.issuer = "https://other.example.com"  # type: ignore[misc]


def test_grants_follow_from_what_a_client_has(tmp_path: Path) -> None:
    """Without `grants` a client may use what its redirect URIs, reaches and services call for."""
    clients = load_example(tmp_path).registry.clients
    assert clients["trip-planner"].grants == {GrantType.CLIENT_CREDENTIALS}
    assert clients["desk-app"].grants == {GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN}
    assert clients["calendar-server"].grants == {GrantType.TOKEN_EXCHANGE, GrantType.CLIENT_CREDENTIALS}
    assert clients["desk-app"].expires == date(2027, 1, 31)


@pytest.mark.parametrize("word", ["token_exchange", "urn:ietf:params:oauth:grant-type:token-exchange"])
def test_grants_narrow(tmp_path: Path, word: str) -> None:
    """`grants` takes away; exchange has a short name and its wire word."""
    change = ("serves: [calendar]", f"serves: [calendar]\n    reaches: {{rooms: [rooms:read]}}\n    grants: [{word!r}]")
    assert load_example(tmp_path, change).registry.clients["calendar-server"].grants == {GrantType.TOKEN_EXCHANGE}


def test_ways_to_authenticate(tmp_path: Path) -> None:
    """Key sets, secrets and public clients become values that hide what they hold."""
    clients = load_example(tmp_path).registry.clients
    assert isinstance(clients["desk-app"].authentication, NoAuthentication)
    keys = clients["trip-planner"].authentication
    assert isinstance(keys, PrivateKeyJwt)
    assert [each["kty"] for each in keys.keys] == ["EC"]
    with_secret = load_example(tmp_path, _with_secret(f"secret: {SECRET}")).registry.clients["trip-planner"]
    assert isinstance(with_secret.authentication, ClientSecret)
    assert with_secret.authentication.secret.reveal() == SECRET
    assert SECRET not in repr(with_secret)


def test_a_key_set_may_stand_in_the_file(tmp_path: Path) -> None:
    """`jwks` is the same as `jwks_file`; without `kid` a key has its thumbprint."""
    jwk = "{kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}"
    settings = load_example(tmp_path, (KEYS, f"{{method: private_key_jwt, jwks: {{keys: [{jwk}]}}}}"))
    keys = settings.registry.clients["trip-planner"].authentication
    assert isinstance(keys, PrivateKeyJwt)
    assert keys.keys[0]["crv"] == "Ed25519"


@pytest.mark.parametrize(
    ("written", "kept"),
    [(SECRET, SECRET), (f"{SECRET}\n", SECRET), (f"{SECRET}\r\n", SECRET), (f" {SECRET} \n", f" {SECRET} ")],
)
def test_a_secret_file_loses_one_newline(tmp_path: Path, written: str, kept: str) -> None:
    """One newline at the end is the editor's; everything else is the secret's."""
    (tmp_path / "agent.secret").write_bytes(written.encode())
    client = load_example(tmp_path, _with_secret("secret_file: agent.secret")).registry.clients["trip-planner"]
    assert isinstance(client.authentication, ClientSecret)
    assert client.authentication.secret.reveal() == kept


def test_uris_are_canonical_once_loaded(tmp_path: Path) -> None:
    """Upper case, a default port and a lone slash are dropped at input."""
    settings = load_example(
        tmp_path,
        ("uri: http://127.0.0.1:8420/mcp/rooms", "uri: HTTPS://Rooms.Example.COM:443/"),
        ("resource: http://127.0.0.1:9002/mcp", "resource: http://ROOMS.internal:80/mcp"),
    )
    assert settings.registry.resources["rooms"].uri == "https://rooms.example.com"
    assert settings.registry.resources["rooms"].server_uri == "http://rooms.internal/mcp"


def test_a_resource_may_stand_without_a_gateway(tmp_path: Path) -> None:
    """Without `upstream` the server itself is at `uri`."""
    upstream = "{url: http://127.0.0.1:9002/mcp, resource: http://127.0.0.1:9002/mcp, credential: {kind: exchange}}"
    rooms = load_example(tmp_path, (f"    upstream: {upstream}\n", "")).registry.resources["rooms"]
    assert rooms.upstream is None
    assert rooms.server_uri == rooms.uri


def test_an_open_upstream_is_told_as_unsafe(tmp_path: Path) -> None:
    """The one switch that weakens is on the list of what is told at every start."""
    change = ("url: http://127.0.0.1:9001/mcp", "unsafe_open_upstream: true\n      url: http://127.0.0.1:9001/mcp")
    assert load_example(tmp_path, change).unsafe() == ("resources.calendar.upstream.unsafe_open_upstream",)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9001/mcp", "http://localhost:9001/mcp", "http://[::1]:9001/mcp"])
def test_a_server_on_this_machine_may_get_nothing(tmp_path: Path, url: str) -> None:
    """`kind: none` is for loopback upstreams, and needs no audience."""
    change = (
        "url: http://127.0.0.1:9001/mcp\n      resource: http://127.0.0.1:9001/mcp\n      credential: {kind: exchange}",
        f"url: {url}\n      credential: {{kind: none}}",
    )
    upstream = load_example(tmp_path, change).registry.resources["calendar"].upstream
    assert upstream is not None
    assert (upstream.credential, upstream.resource, upstream.url) == (CredentialKind.NONE, None, url)


def test_proxies_are_addresses_or_networks(tmp_path: Path) -> None:
    """A single address is a network of one."""
    settings = load_example(tmp_path, ("policies:", "forwarded_from: [10.0.0.1, 10.1.0.0/16, '::1']\npolicies:"))
    assert settings.forwarded_from == (ip_network("10.0.0.1"), ip_network("10.1.0.0/16"), ip_network("::1"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:1", Address("0.0.0.0", 1)),
        ("'[::1]:65535'", Address("::1", 65535)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses_to_listen_on(tmp_path: Path, text: str, address: Address) -> None:
    """Names, both families and a port that the system chooses."""
    settings = load_example(tmp_path, ("traffic: 127.0.0.1:8420", f"traffic: {text}"))
    assert settings.listen.traffic == address
    assert str(address) == text.strip("'")


@pytest.mark.parametrize(
    ("listen", "said", "url"),
    [
        ("127.0.0.1:8421", "", "http://127.0.0.1:8421"),
        ("'[::1]:9'", "", "http://[::1]:9"),
        ("127.0.0.1:8421", "console_url: https://Console.example.com/", "https://console.example.com"),
        ("0.0.0.0:8421", "console_url: https://console.example.com:8443", "https://console.example.com:8443"),
        ("0.0.0.0:8421", "console_url: http://localhost:8421", "http://localhost:8421"),
    ],
)
def test_where_people_reach_the_console(tmp_path: Path, listen: str, said: str, url: str) -> None:
    """On this machine it is where it listens; elsewhere it is what the file says."""
    changes = (("console: 127.0.0.1:8421", f"console: {listen}"), ("policies:", f"{said}\npolicies:"))
    assert load_example(tmp_path, *changes).console_url == url


def test_yaml_means_what_it_looks_like(tmp_path: Path) -> None:
    """`no` is a name, a number of digits is a name, and a date is a date."""
    settings = load_example(
        tmp_path,
        ("owners:\n", "owners:\n  no: {contact: on}\n  12: {contact: 'yes'}\n"),
        ("owner: travel-team", "owner: no"),
    )
    assert settings.registry.owners["no"].contact == "on"
    assert "12" in settings.registry.owners
    assert settings.registry.resources["calendar"].owner == "no"


def test_the_version_changes_with_the_definitions_alone(tmp_path: Path) -> None:
    """Comments and addresses leave the version; every change of a definition, a secret's too, makes another."""
    secret = _with_secret(f"secret: {SECRET}")
    write_example(tmp_path)
    plain = load(tmp_path / "perhop.yaml", {}).registry.version
    (tmp_path / "perhop.yaml").write_text(EXAMPLE.replace("traffic: 127.0.0.1:8420", "traffic: 127.0.0.1:9420") + "# x")
    assert load(tmp_path / "perhop.yaml", {}).registry.version == plain
    versions = {
        plain,
        load_example(tmp_path, ("risk: medium", "risk: high")).registry.version,
        load_example(tmp_path, ("members: [Ann@example.com]", "members: []")).registry.version,
        load_example(tmp_path, ("{calendar:read: [rooms:read]}}", "{calendar:write: [rooms:read]}}")).registry.version,
        load_example(tmp_path, secret).registry.version,
        load_example(tmp_path, _with_secret(f"secret: {SECRET[::-1]}")).registry.version,
        load_example(tmp_path, ("expires: 2027-01-31", "expires: 2027-02-01")).registry.version,
    }
    assert len(versions) == 7


def test_the_order_of_scopes_is_part_of_the_version(tmp_path: Path) -> None:
    """Which scope is named first to a refused caller is a definition as well."""
    lines = EXAMPLE.splitlines()
    at = next(number for number, line in enumerate(lines) if "calendar:read: {says" in line)
    swapped = "\n".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])
    before = load_example(tmp_path)
    (tmp_path / "perhop.yaml").write_text(swapped)
    after = load(tmp_path / "perhop.yaml", {})
    assert after.registry.version != before.registry.version
    assert replace(after, registry=before.registry) == before


def test_what_is_shown_has_defaults_and_no_secret(tmp_path: Path) -> None:
    """The configuration in force is shown whole, but for secrets and what stands in a query."""
    file = write_example(
        tmp_path,
        _with_secret(f"secret: {SECRET}"),
        ("url: http://127.0.0.1:9001/mcp", "url: http://127.0.0.1:9001/mcp?key=geheim"),
    )
    shown = show(file, {"PERHOP_MAX_CALL": "30"})
    assert SECRET not in str(shown)
    assert "geheim" not in str(shown)
    assert shown["clients"]["trip-planner"]["authentication"]["secret"] == "(redacted)"
    assert shown["resources"]["rooms"]["risk"] == "medium"
    assert shown["hops"][0]["from"] == "calendar"
    assert shown["max_call"] == 30


def test_what_is_shown_loads_again(tmp_path: Path) -> None:
    """The text that is shown is a configuration, and the same one."""
    before = load_example(tmp_path)
    (tmp_path / "perhop.yaml").write_text(render(show(tmp_path / "perhop.yaml", {})))
    assert load(tmp_path / "perhop.yaml", {}) == before


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """No file is an error with advice."""
    with pytest.raises(SettingsError, match="there is no") as caught:
        load(tmp_path / "perhop.yaml", {})
    assert "perhop init" in caught.value.advice()
    assert caught.value.exit_code == 2
