"""The configuration of clients that nobody wrote into it: rules by host, and whether clients may register."""

from __future__ import annotations

from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from perhop.errors import SettingsError
from tests.support.certificates import make_ca
from tests.support.configuration import load_example, write_example

HOPS = "hops:\n"
RULE = """\
client_documents:
  - host: claude.ai
    owner: travel-team
    expires: 2027-01-31
    reaches: {calendar: [calendar:read]}
"""


def refusal(folder: Path, old: str, new: str) -> str:
    """What is said of a file with one rule, of which this was replaced."""
    assert old in RULE
    with pytest.raises(SettingsError) as error:
        load_example(folder, (HOPS, RULE.replace(old, new) + HOPS))
    return f"{error.value.problem}; {error.value.advice()}"


def test_without_any_nobody_is_admitted(tmp_path: Path) -> None:
    """By default no host is trusted, and clients cannot register themselves."""
    admission = load_example(tmp_path).admission
    assert (admission.rules, admission.registers) == ({}, False)


def test_a_rule_admits_a_host(tmp_path: Path) -> None:
    """A rule names its host, who answers for its clients, until when, and what they reach."""
    settings = load_example(tmp_path, (HOPS, RULE + "client_registration: adopted\n" + HOPS))
    rule = settings.admission.rules["claude.ai"]
    assert (rule.owner, rule.expires, rule.reaches) == (
        "travel-team",
        date(2027, 1, 31),
        {"calendar": ("calendar:read",)},
    )
    assert settings.admission.registers
    assert settings.unsafe() == ()


def test_inner_networks_are_listed_as_unsafe(tmp_path: Path) -> None:
    """What lets a rule ask inner addresses is told at every start, and the certificates are read at once."""
    ca_pem, _ = make_ca(tmp_path)
    (tmp_path / "ca.pem").write_text(ca_pem, encoding="ascii")
    more = "    unsafe_inner_networks: [10.1.0.0/16, 127.0.0.1]\n    ca_file: ca.pem\n"
    settings = load_example(tmp_path, (HOPS, RULE + more + HOPS))
    rule = settings.admission.rules["claude.ai"]
    assert rule.inner_networks == (ip_network("10.1.0.0/16"), ip_network("127.0.0.1/32"))
    assert rule.ca_pem == ca_pem
    assert settings.unsafe() == ("client_documents.claude.ai.unsafe_inner_networks",)


def test_another_rule_is_another_version(tmp_path: Path) -> None:
    """The version of the configuration changes with its rules, and is what it was without any."""
    versions = [
        load_example(tmp_path, *changes).registry.version
        for changes in ((), ((HOPS, RULE + HOPS),), ((HOPS, RULE.replace("01-31", "02-28") + HOPS),))
    ]
    assert len(set(versions)) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("host: claude.ai", "host: https://claude.ai", "is not a host as URLs have it"),
        ("host: claude.ai", "host: Claude.ai", "is not a host as URLs have it"),
        ("host: claude.ai", "host: claude.ai/oauth", "is not a host as URLs have it"),
        ("host: claude.ai", 'host: "*.claude.ai"', "is not a host as URLs have it"),
        ("host: claude.ai", "host: claude.ai:443", "is not a host as URLs have it"),
        ("host: claude.ai", "host: claude.ai.", "is not a host as URLs have it"),
        ("owner: travel-team", "owner: travel-taem", "unknown owner `travel-taem`"),
        ("    owner: travel-team\n", "", "owner"),
        ("    expires: 2027-01-31\n", "", "expires"),
        ("{calendar: [calendar:read]}", "{calender: [calendar:read]}", "unknown resource `calender`"),
        ("{calendar: [calendar:read]}", "{calendar: [calendar:raed]}", "unknown scope `calendar:raed`"),
        ("{calendar: [calendar:read]}", "{calendar: []}", "names no scope"),
        ("{calendar: [calendar:read]}", "{}", "must not be empty"),
        ("    owner", "    unsafe_inner_networks: [10.1.0.1/16]\n    owner", "neither an address nor a network"),
        ("    owner", "    ca_file: none.pem\n    owner", "cannot be read"),
        ("    owner", "    hosts: [x]\n    owner", "unknown key `hosts`"),
    ],
)
def test_a_rule_that_is_wrong_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    """A host that is no host, and a name that stands for nothing, are problems with their place."""
    assert said in refusal(tmp_path, old, new)


def test_a_host_stands_once(tmp_path: Path) -> None:
    """Two rules for one host are a problem: nobody could tell whose clients they are."""
    twice = RULE + RULE.removeprefix("client_documents:\n")
    write_example(tmp_path)
    with pytest.raises(SettingsError, match=r"`claude\.ai` stands twice"):
        load_example(tmp_path, (HOPS, twice + HOPS))
