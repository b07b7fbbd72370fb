"""Addresses in settings: URIs, the issuer, the listeners, proxies, and where the database lies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from perhop.errors import TargetInvalid
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import HttpUri, parse_http_uri
from perhop.settings.model import ListenSection
from perhop.settings.problems import Findings, dotted
from perhop.settings.sources import Key
from perhop.settings.values import Address, Listen

_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):([0-9]{1,5})")
_DATABASE = re.compile(r"sqlite:///([^?#]+)")


def check_issuer(issuer: str, findings: Findings) -> None:
    """The issuer is compared byte for byte, so it must be written as it is.

    Spec: RFC 8414 §2
    """
    try:
        uri = parse_http_uri(issuer)
    except TargetInvalid as error:
        findings.add(("issuer",), f"`issuer` is not a canonical URL: {error.detail}")
        return
    if uri.query is not None:
        findings.add(("issuer",), "`issuer` has a query")
    if uri.path.endswith("/") or str(uri) != issuer:
        findings.add(("issuer",), "`issuer` is not written as it is compared", f"write `{str(uri).rstrip('/')}`")
    if uri.scheme == "http" and not is_loopback(uri.host):
        findings.add(("issuer",), "`issuer` must be https: only a loopback address may be http")


LISTENERS = ("traffic", "console", "ops")
HOST_AND_PORT = 'write HOST:PORT, as in "127.0.0.1:8422"'


def parse_listen(section: ListenSection, findings: Findings) -> Listen | None:
    """The listeners, no two at one address."""
    parsed = {name: parse_address(name, getattr(section, name), findings) for name in LISTENERS}
    taken: dict[Address, str] = {}
    for name, address in parsed.items():
        if address is not None and address.port and (first := taken.setdefault(address, name)) != name:
            findings.add(("listen", name), f"`listen.{name}` and `listen.{first}` are the same address")
    traffic, console, ops = parsed["traffic"], parsed["console"], parsed["ops"]
    if traffic is None or console is None or ops is None:
        return None
    return Listen(traffic=traffic, console=console, ops=ops)


def parse_address(name: str, text: str, findings: Findings) -> Address | None:
    """HOST:PORT of one listener."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        findings.add(("listen", name), f"`listen.{name}` is not an address", HOST_AND_PORT)
        return None
    return Address(match[1] or match[2], int(match[3]))


def parse_console_url(text: str | None, listen: Listen | None, findings: Findings) -> str | None:
    """The origin under which people reach the console; None if there is none, and the problem is noted."""
    if text is None:
        if listen is not None and not is_loopback(listen.console.host):
            findings.add(
                ("listen", "console"),
                "`listen.console` is not on this machine, and there is no `console_url`: people's passwords go there",
                "let a proxy end TLS, and write what people call: `console_url: https://console.example.com`",
            )
        return None if listen is None else f"http://{listen.console}"
    uri = parse_uri(("console_url",), text, findings)
    if uri is None:
        return None
    if str(uri) != uri.origin:
        findings.add(("console_url",), "`console_url` has a path or a query", f"write `{uri.origin}`")
    if uri.scheme == "http" and not is_loopback(uri.host):
        findings.add(("console_url",), "`console_url` must be https: only a loopback address may be http")
    return uri.origin


def parse_networks(texts: Sequence[str], findings: Findings) -> tuple[IPv4Network | IPv6Network, ...]:
    """Single addresses and networks."""
    parsed = []
    for index, text in enumerate(texts):
        try:
            parsed.append(ip_network(text))
        except ValueError:
            findings.add(("forwarded_from", index), f"`{text}` is neither an address nor a network")
    return tuple(parsed)


def parse_database(text: str, folder: Path, findings: Findings) -> Path | None:
    """Where the database lies; a relative path counts from the folder of the file."""
    match = _DATABASE.fullmatch(text)
    if match is None:
        findings.add(("database",), "`database` is not one that is served", "write `sqlite:///perhop.db`")
        return None
    path = folder / match[1]
    if path.name in ("journal.db", "perhop.sock"):
        findings.add(("database",), f"`{path.name}` beside the database is not the database")
        return None
    return path


def parse_uri(path: tuple[Key, ...], text: str, findings: Findings) -> HttpUri | None:
    """The canonical form; None if there is none, and the problem is noted."""
    try:
        return parse_http_uri(text)
    except TargetInvalid as error:
        findings.add(path, f"`{dotted(path)}` is not a canonical URI: {error.detail}")
        return None
