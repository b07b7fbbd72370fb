"""What cannot be written: each problem has its line, its text and where possible its cure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from perhop.errors import SettingsError
from perhop.rules.base64url import encode
from perhop.settings import check, load
from perhop.tokens.keys import SigningKey
from tests.support.configuration import EXAMPLE, load_example, write_example

KEYS = "{method: private_key_jwt, jwks_file: trip-planner.jwks.json}"
CALENDAR = "uri: http://127.0.0.1:8420/mcp/calendar"
ROOMS = "uri: http://127.0.0.1:8420/mcp/rooms"
ISSUER = "issuer: http://127.0.0.1:8420"
UPSTREAM = "      resource: http://127.0.0.1:9001/mcp\n"
DESK = 'redirect_uris: ["http://127.0.0.1:3955/callback"]'
HOP = "  - {from: calendar, to: rooms, scopes: {calendar:read: [rooms:read]}}\n"


def _refusal(folder: Path, *changes: tuple[str, str]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_example(folder, *changes)
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "below", "problem"),
    [
        # keys and types
        ("    risk: medium", "    risc: medium", 0, "unknown key `risc` in `resources.calendar`"),
        ("policies:", "policy:", 0, "unknown key `policy`"),
        ("listen: {", "listen: {metrics: 127.0.0.1:1, ", 0, "unknown key `metrics` in `listen`"),
        ("risk: medium", "risk: extreme", 0, "unknown value `extreme` in `resources.calendar.risk`"),
        ("default: true", "default: yes", 0, "`resources.calendar.scopes.calendar:read.default` must be `true` or"),
        ("says: Read your calendar", "says: 3", 0, "must be text"),
        ("serves: [calendar]", "serves: calendar", 0, "`clients.calendar-server.serves` must be a list"),
        ("policies:", "max_call: 0\npolicies:", 0, "`max_call`"),
        ("policies:", "drain: -1\npolicies:", 0, "`drain`"),
        ("policies:", "drain: 3601\npolicies:", 0, "`drain`"),
        ("policies:", "upstream_pool: httpx\npolicies:", 0, "`upstream_pool`"),
        ("policies:", "max_call: true\npolicies:", 0, "`max_call` must be a whole number"),
        ("expires: 2027-01-31", "expires: 2027-02-30", 0, "is not a day of the calendar"),
        ("expires: 2027-01-31", "expires: 20270131", 0, "must be a day"),
        ("tenant: acme", "tenant: a/b", 0, "must be a name"),
        ("    risk: medium", "    sender: bearer", 0, "unknown value `bearer` in `resources.calendar.sender`"),
        ("    risk: medium", "    record_arguments: [a, b, a]", 0, "`a` stands twice in `resources.calendar"),
        ("    risk: medium", "    record_arguments: ['']", 0, "must not be empty"),
        ("policies:", "policy_review: reqired\npolicies:", 0, "unknown value `reqired` in `policy_review`"),
        # ownership
        ("    owner: travel-team\n    tenant", "    tenant", -2, "`resources.calendar` has no `owner` (owner.miss"),
        ("    owner: travel-team\n    purpose", "    purpose", -1, "`clients.trip-planner` has no `owner` (owner.miss"),
        ("    purpose: plans business trips\n", "", -2, "`clients.trip-planner` has no `purpose` (owner.missing)"),
        ("    expires: 2027-01-31\n", "", -3, "`clients.trip-planner` has no `expires` (owner.missing)"),
        ("purpose: plans business trips", "purpose: ''", 0, "must not be empty (owner.missing)"),
        ("purpose: plans business trips", "purpose:", 0, "has no `purpose` (owner.missing)"),
        ("owner: travel-team", "owner: travel-taem", 0, "unknown owner `travel-taem` in `resources.calendar` ("),
        # addresses
        (ISSUER, "issuer: http://auth.example.com", 0, "`issuer` must be https"),
        (ISSUER, "issuer: https://auth.example.com/", 0, "`issuer` is not written as it is compared"),
        (ISSUER, "issuer: https://auth.example.com/a/", 0, "`issuer` is not written as it is compared"),
        (ISSUER, "issuer: https://Auth.example.com", 0, "`issuer` is not written as it is compared"),
        (ISSUER, "issuer: https://auth.example.com:443", 0, "`issuer` is not written as it is compared"),
        (ISSUER, "issuer: https://auth.example.com/a?b=c", 0, "`issuer` has a query"),
        (ISSUER, "issuer: https://auth.example.com#a", 0, "`issuer` is not a canonical URL: the URI has a fragment"),
        (ISSUER, "issuer: auth.example.com", 0, "`issuer` is not a canonical URL"),
        ("traffic: 127.0.0.1:8420", "traffic: 127.0.0.1", 0, "`listen.traffic` is not an address"),
        ("traffic: 127.0.0.1:8420", "traffic: 127.0.0.1:65536", 0, "`listen.traffic` is not an address"),
        ("traffic: 127.0.0.1:8420", "traffic: 8420", 0, "`listen.traffic` is not an address"),
        ("console: 127.0.0.1:8421", "console: 127.0.0.1:8420", 0, "`listen.console` and `listen.traffic` are the same"),
        ("console: 127.0.0.1:8421", "console: 0.0.0.0:8421", 0, "`listen.console` is not on this machine"),
        ("policies:", "console_url: http://console.example.com\npolicies:", 0, "`console_url` must be https"),
        ("policies:", "console_url: https://example.com/console\npolicies:", 0, "`console_url` has a path or a query"),
        ("policies:", "console_url: console.example.com\npolicies:", 0, "`console_url` is not a canonical URI"),
        ("sqlite:///perhop.db", "postgresql://localhost/perhop", 0, "`database` is not one that is served"),
        ("sqlite:///perhop.db", "'sqlite:///'", 0, "`database` is not one that is served"),
        ("sqlite:///perhop.db", "sqlite:///journal.db", 0, "is not the database"),
        ("policies:", "forwarded_from: [10.0.0.1/8]\npolicies:", 0, "is neither an address nor a network"),
        # resources
        (CALENDAR, "uri: http://127.0.0.1:8420/mcp//calendar", 0, "`resources.calendar.uri` is not a canonical URI"),
        (CALENDAR, "uri: http://calendar.example.com/mcp", 0, "must be https: only a loopback address may be http"),
        (ROOMS, CALENDAR, 0, "which is taken: `resources.calendar.uri`"),
        (ROOMS, "uri: HTTP://127.0.0.1:8420/mcp/calendar", 0, "which is taken: `resources.calendar.uri`"),
        (ROOMS, "uri: http://127.0.0.1:9001/mcp", 0, "which is taken: `resources.calendar.upstream.resource`"),
        (CALENDAR, "uri: http://127.0.0.1:8420", 0, "which is taken: the issuer"),
        (CALENDAR, "uri: http://127.0.0.1:8420/records", 0, "which is taken: built in"),
        (CALENDAR, "uri: http://127.0.0.1:8420/canary/x", 0, "which is never a resource"),
        (CALENDAR, "uri: http://127.0.0.1:8420/token", 0, "is a path that Perhop answers itself"),
        (CALENDAR, "uri: http://127.0.0.1:8420/.well-known/x", 0, "is a path that Perhop answers itself"),
        (CALENDAR, "uri: https://127.0.0.1:8420/mcp/rooms", 12, "has the path of `resources.calendar.uri`"),
        (CALENDAR, "uri: http://127.0.0.1:8420/mcp/calendar?a=b", 0, "has a query"),
        ("url: http://127.0.0.1:9001/mcp", "url: http://127.0.0.1:8420/mcp/calendar", 0, "is its own upstream"),
        ("url: http://127.0.0.1:9001/mcp", "url: http://localhost:8420/mcp/calendar", 0, "is its own upstream"),
        ("url: http://127.0.0.1:9001/mcp", 'url: "http://[::1]:8420/mcp/calendar"', 0, "is its own upstream"),
        (UPSTREAM, "", -2, "`resources.calendar.upstream` has no `resource`"),
        ("  calendar:\n", "  cal/endar:\n", 0, "`cal/endar` is not a name"),
        ("      calendar:write:", '      "calendar write":', 0, "`calendar write` is not a scope"),
        ("scopes: {rooms:read: {says: See free rooms, tools: [\"*\"]}}", "scopes: {}", 0, "must not be empty"),
        # clients
        ("  trip-planner:\n", "  user:x:\n", 0, "client id `user:x` starts with a reserved prefix"),
        ("  trip-planner:\n", "  gateway:x:\n", 0, "client id `gateway:x` starts with a reserved prefix"),
        ("  trip-planner:\n", "  tripé:\n", 0, "is not a client id"),
        ("{calendar: [calendar:read, c", "{calendr: [calendar:read, c", 0, "unknown resource `calendr`"),
        ("[calendar:read, calendar:write]", "[calendar:reed]", 0, "unknown scope `calendar:reed` of resource `cal"),
        ("[calendar:read, calendar:write]", "[rooms:read]", 0, "unknown scope `rooms:read` of resource `calendar`"),
        ("[calendar:read, calendar:write]", "[]", 0, "names no scope"),
        ("serves: [calendar]", "serves: [calender]", 0, "unknown resource `calender`"),
        (DESK, "redirect_uris: ['http://example.com/cb']", 0, "`http://example.com/cb` is not a redirect URI"),
        (DESK, "redirect_uris: ['myapp:/cb']", 0, "`myapp:/cb` is not a redirect URI"),
        (DESK, "default_resource: rooms", 0, "unknown reach `rooms`"),
        (DESK, "grants: [refresh_token]", 0, "cannot use `refresh_token`: it has no `redirect_uris`"),
        ("reaches: {calendar: [calendar:read]}", "grants: [refresh_token]", 0, "cannot use `refresh_token` alone"),
        (DESK, "grants: [client_credentials]", 0, "cannot use `client_credentials`"),
        (DESK, "grants: [authorization_code]", 0, "cannot use `authorization_code`: it has no `redirect_uris`"),
        (DESK, "grants: [token_exchange]", 0, "it serves no resource"),
        (DESK, "serves: [rooms]", 0, "so its method cannot be `none`"),
        ("{method: none}", "{method: tls_client_auth}", 0, "unknown value `tls_client_auth`"),
        ("{method: none}", "{method: none, secret: x}", 0, "`secret` does not go with method `none`"),
        ("{method: none}", "{method: client_secret_basic}", 0, "needs `secret` or `secret_file`, one of them"),
        ("{method: none}", "{method: private_key_jwt}", 0, "needs `jwks` or `jwks_file`, one of them"),
        # hops
        (HOP, HOP + HOP, 1, "the hop from `calendar` to `rooms` stands twice"),
        ("from: calendar, to: rooms", "from: calendar, to: calendar", 0, "leads from `calendar` to itself"),
        ("from: calendar, to: rooms", "from: calendar, to: room", 0, "unknown resource `room`"),
        ("{calendar:read: [rooms:read]}", "{rooms:read: [rooms:read]}", 0, "unknown scope `rooms:read` of resource"),
        ("{calendar:read: [rooms:read]}", "{calendar:read: [room:read]}", 0, "unknown scope `room:read` of resource"),
        ("{calendar:read: [rooms:read]}", "{calendar:read: []}", 0, "names no scope"),
        # the file itself
        ("policies:", "issuer: https://x.example\npolicies:", 0, "key `issuer` stands twice"),
        ("      calendar:write: {says", "      calendar:read: {says", 0, "key `calendar:read` stands twice"),
        ("[Ann@example.com]", "&all [Ann@example.com]\n    , deputies: *all", 0, "anchors and aliases are not read"),
        ("risk: medium", "risk: !!python/name:os.system x", 0, "tag `tag:yaml.org,2002:python/name:os.system`"),
        ("policies: policies/", "policies: [", 2, "not readable as YAML"),
        ("policies:", "---\npolicies:", 0, "not readable as YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_it_stands(tmp_path: Path, old: str, new: str, below: int, problem: str) -> None:
    """Each mistake is refused on its line, so many below the change that made it, in words that say what it is."""
    refusal = _refusal(tmp_path, (old, new))
    told = [each for each in refusal.problem.splitlines() if problem in each]
    assert told, refusal.problem
    line = EXAMPLE[: EXAMPLE.index(old)].count("\n") + 1 + below
    assert told[0].startswith(f"{tmp_path}/perhop.yaml:{line}: "), told


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("    risk: medium", "    risc: medium", "did you mean `risk`?"),
        ("risk: medium", "risk: extreme", "one of `low`, `medium`, `high`"),
        ("traffic: 127.0.0.1:8420", "traffic: 8420", 'write HOST:PORT, as in "127.0.0.1:8422"'),
        (ISSUER, "issuer: https://Auth.example.com/", "write `https://auth.example.com`"),
        ("serves: [calendar]", "serves: [calender]", "did you mean `calendar`?"),
        ("[calendar:read, calendar:write]", "[calendar:reed]", "did you mean `calendar:read`?"),
        ("from: calendar, to: rooms", "from: calendar, to: nothing-like-it", ""),
    ],
)
def test_the_cure_is_told(tmp_path: Path, old: str, new: str, advice: str) -> None:
    """A single problem carries its advice apart from its text."""
    refusal = _refusal(tmp_path, (old, new))
    assert refusal.advice() == advice
    assert len(refusal.problem.splitlines()) == 1


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Several mistakes make one error, in the order of the file, each with its cure."""
    file = write_example(
        tmp_path,
        ("serves: [calendar]", "serves: [calender]"),
        ("owner: travel-team", "owner: nobody"),
        (ISSUER, "issuer: http://auth.example.com"),
    )
    problems = check(file, {})
    assert [each.place.rpartition(":")[2] for each in problems] == ["1", "10", "44"]
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    lines = caught.value.problem.splitlines()
    assert len(lines) == 3
    assert lines[2].endswith("in `clients.calendar-server.serves.0`; did you mean `calendar`?")
    assert caught.value.advice() == ""


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    """Checking a file that loads finds nothing."""
    assert check(write_example(tmp_path), {}) == ()


@pytest.mark.parametrize("kind", ["none", "exchange"])
def test_a_far_server_is_not_left_open_by_accident(tmp_path: Path, kind: str) -> None:
    """Presenting nothing to a server elsewhere needs the switch that says so; exchange does not."""
    changes = (
        ("url: http://127.0.0.1:9001/mcp", "url: https://calendar.example.com/mcp"),
        ("credential: {kind: exchange}\n  rooms", f"credential: {{kind: {kind}}}\n  rooms"),
    )
    if kind == "exchange":
        load_example(tmp_path, *changes)
        return
    assert "is `none` for a server that is not on this machine" in _refusal(tmp_path, *changes).problem
    switch = ("credential: {kind: none}", "credential: {kind: none}\n      unsafe_open_upstream: true")
    settings = load_example(tmp_path, *changes, switch)
    assert settings.unsafe() == ("resources.calendar.upstream.unsafe_open_upstream",)


def test_tokens_are_not_sent_in_clear_text_to_another_machine(tmp_path: Path) -> None:
    """An upstream elsewhere that is given tokens is reached by https."""
    changes = (("url: http://127.0.0.1:9001/mcp", "url: http://calendar.example.com/mcp"),)
    assert "`resources.calendar.upstream.url` must be https" in _refusal(tmp_path, *changes).problem


@pytest.mark.parametrize("url", ["http://127.0.0.1.example.com/mcp", "http://0.0.0.0:1/mcp", "http://10.0.0.1/mcp"])
def test_what_only_looks_local_is_not(tmp_path: Path, url: str) -> None:
    """A name that begins like loopback, every address and a private one are not this machine."""
    changes = (
        ("url: http://127.0.0.1:9001/mcp", f"url: {url}"),
        ("credential: {kind: exchange}\n  rooms", "credential: {kind: none}\n  rooms"),
    )
    assert "is `none`" in _refusal(tmp_path, *changes).problem


@pytest.mark.parametrize("path", ["token", "revocations", "jwks", "authorize", "canary/x", ".well-known/jwks"])
def test_paths_of_an_issuer_with_a_path_are_taken(tmp_path: Path, path: str) -> None:
    """Below the issuer's own path its endpoints are its own; the same words elsewhere are free."""
    issuer = (ISSUER, "issuer: http://127.0.0.1:8420/auth")
    taken = _refusal(tmp_path, issuer, (CALENDAR, f"uri: http://127.0.0.1:8420/auth/{path}"))
    assert "Perhop answers itself" in taken.problem or "never a resource" in taken.problem
    load_example(tmp_path, issuer, (CALENDAR, "uri: http://127.0.0.1:8420/authentic/token"))


@pytest.mark.parametrize("length", [31, 32])
def test_a_secret_has_thirty_two_characters(tmp_path: Path, length: int) -> None:
    """One character less is refused, in words that do not hold the secret."""
    change = (KEYS, f"{{method: client_secret_basic, secret: {'s' * length}}}")
    if length == 32:
        load_example(tmp_path, change)
        return
    refusal = _refusal(tmp_path, change)
    assert "is shorter than 32 characters" in refusal.problem
    assert "sss" not in refusal.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"short\n", "is shorter than 32 characters"),
        (b"0123456789abcdef0123456789abcde\n\n", "holds other than printable ASCII characters"),
        (b"\xff" * 40, "holds other than printable ASCII characters"),
    ],
)
def test_a_secret_file_must_hold_a_secret(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A missing file, a short secret and two newlines are told."""
    if content is not None:
        (tmp_path / "agent.secret").write_bytes(content)
    change = (KEYS, "{method: client_secret_basic, secret_file: agent.secret}")
    assert problem in _refusal(tmp_path, change).problem


def test_twins_exclude_each_other(tmp_path: Path) -> None:
    """A secret stands in one place."""
    change = (KEYS, f"{{method: client_secret_basic, secret_file: a, secret: {'s' * 32}}}")
    assert "one of them" in _refusal(tmp_path, change).problem


def _jwk(**members: object) -> dict[str, object]:
    return {**SigningKey.generate().public().as_jwk(), **members}


def _weak_rsa() -> dict[str, object]:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return {"kty": "RSA", "e": "AQAB", "n": encode(weak.public_key().public_numbers().n.to_bytes(128, "big"))}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "is not JSON"),
        ('{"keys": [], "keys": []}', "is not JSON"),
        ("[]", "it has no list `keys` of objects"),
        ('{"keys": {}}', "it has no list `keys` of objects"),
        ('{"keys": []}', "it must have 1 to 50 keys"),
        (json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}), "private or symmetric key"),
        (json.dumps({"keys": [_jwk(d="AAAA")]}), "private or symmetric key"),
        (json.dumps({"keys": [_jwk(use="enc")]}), "not for signatures"),
        (json.dumps({"keys": [_jwk(kid="a"), _jwk(kid="a")]}), "two keys share the `kid`"),
        (json.dumps({"keys": [_jwk(kid=f"k{n}") for n in range(51)]}), "it must have 1 to 50 keys"),
        (json.dumps({"keys": [_weak_rsa()]}), "1024 bits"),
    ],
    ids=["text", "duplicate", "list", "object", "empty", "symmetric", "private", "enc", "kid", "many", "weak"],
)
def test_a_key_set_must_be_good(tmp_path: Path, document: str, problem: str) -> None:
    """Every key of a client must be a strong public key for signatures, under a name of its own."""
    (tmp_path / "own.json").write_text(document)
    change = (KEYS, "{method: private_key_jwt, jwks_file: own.json}")
    assert problem in _refusal(tmp_path, change).problem


@pytest.mark.parametrize("content", [b"issuer: \xff\n", b"- a\n", b"just text\n", b"issuer: a\x00b\n", b""])
def test_a_file_that_is_no_configuration_is_told(tmp_path: Path, content: bytes) -> None:
    """Text in another encoding, a list, a sentence, a control character and nothing at all are refused."""
    (tmp_path / "perhop.yaml").write_bytes(content)
    with pytest.raises(SettingsError):
        load(tmp_path / "perhop.yaml", {})


@pytest.mark.parametrize(
    "content",
    [f"a: {'[' * 100_000}", f"a: {'[' * 1500}{']' * 1500}", f"a: {'{a: ' * 1500}1{'}' * 1500}"],
    ids=["open", "lists", "keys"],
)
def test_a_file_that_is_nested_too_deeply_is_told(tmp_path: Path, content: str) -> None:
    """With its line, and not as an error of ours."""
    (tmp_path / "perhop.yaml").write_text(f"issuer: x\n{content}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"perhop\.yaml:2: not readable as YAML: nested too deeply"):
        load(tmp_path / "perhop.yaml", {})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KEYS, r'{method: private_key_jwt, jwks_file: "a\0b"}'),
        (KEYS, r'{method: client_secret_basic, secret_file: "a\0b"}'),
        ("policies: policies/", r'policies: "a\0b"'),
        ("policies:", 'exports: {a: {format: json, to: "a\\0b"}}\npolicies:'),
        ("sqlite:///perhop.db", r'"sqlite:///a\0b.db"'),
        ("listen: {", r'listen: {authz: "unix:a\0b", '),
        ("listen: {", r'listen: {"a\0b": x, '),
        ("purpose: plans business trips", r'purpose: "plans \ud800"'),
    ],
)
def test_what_no_path_can_hold_is_told(tmp_path: Path, old: str, new: str) -> None:
    """With its line, wherever in the file it stands."""
    line = 1 + EXAMPLE.partition(old)[0].count("\n")
    assert f"perhop.yaml:{line}: not text: it holds a NUL or a lone surrogate" in _refusal(tmp_path, (old, new)).problem
