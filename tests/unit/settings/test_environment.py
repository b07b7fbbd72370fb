"""`PERHOP_SECTION__KEY` in place of a value of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from perhop.core.client import ClientSecret
from perhop.errors import SettingsError
from perhop.settings import check, load
from tests.support.configuration import load_example, write_example

SECRET = "0123456789abcdef0123456789abcdef"
KEYS = "{method: private_key_jwt, jwks_file: trip-planner.jwks.json}"


def test_variables_override_the_file(tmp_path: Path) -> None:
    """Values of every kind and depth are replaced, whatever the case of their names."""
    settings = load_example(
        tmp_path,
        environ={
            "PERHOP_ISSUER": "https://auth.example.com",
            "PERHOP_LISTEN__TRAFFIC": "0.0.0.0:9420",
            "PERHOP_MAX_CALL": "30",
            "PERHOP_FORWARDED_FROM": "[10.0.0.1]",
            "PERHOP_RESOURCES__CALENDAR__UPSTREAM__URL": "http://127.0.0.1:9101/mcp",
            "PERHOP_RESOURCES__CALENDAR__UPSTREAM__UNSAFE_OPEN_UPSTREAM": "true",
            "PERHOP_CLIENTS__TRIP_PLANNER__EXPIRES": "2026-12-31",
            "PERHOP_CLIENTS__TRIP_PLANNER__PURPOSE": "123",
        },
    )
    assert settings.issuer == "https://auth.example.com"
    assert str(settings.listen.traffic) == "0.0.0.0:9420"
    assert str(settings.listen.ops) == "127.0.0.1:8422"
    assert settings.max_call == 30
    assert len(settings.forwarded_from) == 1
    upstream = settings.registry.resources["calendar"].upstream
    assert upstream is not None
    assert upstream.url == "http://127.0.0.1:9101/mcp"
    assert settings.unsafe() != ()
    assert settings.registry.clients["trip-planner"].expires.isoformat() == "2026-12-31"
    assert settings.registry.clients["trip-planner"].purpose == "123"


def test_a_section_that_the_file_leaves_out_can_be_set(tmp_path: Path) -> None:
    """A variable reaches keys whose section has only defaults."""
    listen = "listen: {traffic: 127.0.0.1:8420, console: 127.0.0.1:8421, ops: 127.0.0.1:8422}\n"
    settings = load_example(tmp_path, (listen, ""), environ={"PERHOP_LISTEN__OPS": "127.0.0.1:1"})
    assert settings.listen.ops.port == 1


def test_a_secret_may_come_from_the_environment(tmp_path: Path) -> None:
    """A variable takes the place of the file's twin as well."""
    settings = load_example(
        tmp_path,
        (KEYS, "{method: client_secret_basic, secret_file: is-not-there}"),
        environ={"PERHOP_CLIENTS__TRIP_PLANNER__AUTHENTICATION__SECRET": SECRET},
    )
    authentication = settings.registry.clients["trip-planner"].authentication
    assert isinstance(authentication, ClientSecret)
    assert authentication.secret.reveal() == SECRET


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PERHOP_ISUER", "x", "it names nothing: no `isuer`"),
        ("PERHOP_LISTEN__TRAFIC", "x", "it names nothing: no `trafic`"),
        ("PERHOP_CLIENTS__NOBODY__PURPOSE", "x", "it names nothing: no `nobody`"),
        ("PERHOP_ISSUER__X", "x", "it names nothing: no `x`"),
        ("PERHOP_HOPS__0__FROM", "x", "it names nothing: no `0`"),
        ("PERHOP_", "x", "it names nothing"),
        ("PERHOP_MAX_CALL", "[", "its value is not readable as YAML"),
        ("PERHOP_MAX_CALL", "soon", "`max_call` must be a whole number"),
        ("PERHOP_CLIENTS", "[" * 100_000, "its value is not readable as YAML: nested too deeply"),
        ("PERHOP_DATABASE", "sqlite:///\udc80.db", "its value is not text"),
        ("PERHOP_FORWARDED_FROM", '["\\0"]', "its value is not text"),
        ("PERHOP_ISSUER", "http://auth.example.com", "`issuer` must be https"),
    ],
)
def test_a_variable_that_is_wrong_is_told(tmp_path: Path, name: str, value: str, problem: str) -> None:
    """A variable that names nothing, or has a wrong value, is refused under its own name."""
    problems = check(write_example(tmp_path), {name: value})
    assert [str(each).partition(problem)[:2] for each in problems] == [(f"environment variable `{name}`: ", problem)]


def test_the_closest_name_is_told(tmp_path: Path) -> None:
    """A misspelt variable is answered with what it might have meant."""
    (problem,) = check(write_example(tmp_path), {"PERHOP_LISTEN__TRAFIC": "x"})
    assert problem.advice == "did you mean `traffic`?"


def test_other_variables_are_not_ours(tmp_path: Path) -> None:
    """The name of the file, other programs' variables, and what Kubernetes sets beside a service are left alone."""
    environ = {
        "PERHOP_CONFIG": "/etc/perhop.yaml",
        "PATH": "/bin",
        "PERHOPE": "x",
        "PERHOP_PORT": "tcp://10.0.0.1:8420",
        "PERHOP_PORT_8420_TCP_ADDR": "10.0.0.1",
        "PERHOP_SERVICE_HOST": "10.0.0.1",
        "PERHOP_SERVICE_PORT_TRAFFIC": "8420",
    }
    load_example(tmp_path, environ=environ)


def test_a_variable_never_shows_its_value(tmp_path: Path) -> None:
    """What stands in a variable may be a secret, so a refusal names the variable alone."""
    environ = {"PERHOP_CLIENTS__TRIP_PLANNER__AUTHENTICATION__SECRET": "geheim"}
    file = write_example(tmp_path, (KEYS, "{method: client_secret_basic, secret: x}"))
    with pytest.raises(SettingsError) as caught:
        load(file, environ)
    assert "geheim" not in str(caught.value)


DESK_APP = """  desk_app:
    owner: travel-team
    purpose: shows the calendar
    expires: 2027-01-31
    authentication: {method: none}
    redirect_uris: ["http://127.0.0.1:3955/callback"]
    reaches: {calendar: [calendar:read]}
"""


def test_a_variable_that_could_name_two_clients_is_refused(tmp_path: Path) -> None:
    """Neither is overridden, and both are named; other variables still find their own."""
    file = write_example(tmp_path, ("clients:\n", f"clients:\n{DESK_APP}"))
    load(file, {"PERHOP_CLIENTS__TRIP_PLANNER__PURPOSE": "x"})
    (problem,) = check(file, {"PERHOP_CLIENTS__DESK_APP__PURPOSE": "x"})
    assert str(problem) == (
        "environment variable `PERHOP_CLIENTS__DESK_APP__PURPOSE`: "
        "it could name `clients.desk_app` and `clients.desk-app`"
    )
    assert "write it in the file" in problem.advice


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("PERHOP_MAX_CALL", "PERHOP_max_call"),
        ("PERHOP_LISTEN__OPS", "PERHOP_Listen__Ops"),
        (
            "PERHOP_CLIENTS__TRIP_PLANNER__AUTHENTICATION__JWKS",
            "PERHOP_CLIENTS__TRIP_PLANNER__AUTHENTICATION__JWKS_FILE",
        ),
    ],
)
def test_two_variables_for_one_value_are_refused(tmp_path: Path, first: str, second: str) -> None:
    """Which of them wins would be chance, so it is told of both names."""
    problems = check(write_example(tmp_path), {first: "30", second: "31"})
    assert f"environment variable `{second}`: it sets what `{first}` sets" in [str(each) for each in problems]


def test_a_variable_for_a_part_wins_over_one_for_the_whole(tmp_path: Path) -> None:
    """However the two are spelled."""
    environ = {"PERHOP_limits": "{calls_per_agent: 3}", "PERHOP_LIMITS__CALLS_PER_AGENT": "5"}
    assert (
        load_example(tmp_path, environ=environ).rate_limits
        == load_example(tmp_path, environ={"PERHOP_LIMITS__CALLS_PER_AGENT": "5"}).rate_limits
    )
