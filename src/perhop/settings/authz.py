"""Where other proxies ask about calls: a socket in the file system, or an address of this machine with a secret.

A yes carries a token for the server, so neither is open to whoever comes.
"""

from __future__ import annotations

import os
from pathlib import Path

from perhop.rules.issuer_uri import is_loopback
from perhop.settings.addresses import parse_address
from perhop.settings.clients import parse_secret
from perhop.settings.model import ListenSection
from perhop.settings.problems import Findings
from perhop.settings.values import AuthzAddress, AuthzSocket, Listen

MAX_SOCKET_PATH = 100
"""Linux takes 108 bytes."""

_UNIX = "unix:"
_SECRETS = ("authz_secret", "authz_secret_file")


def parse_authz(
    section: ListenSection, listen: Listen | None, folder: Path, findings: Findings
) -> AuthzSocket | AuthzAddress | None:
    """The listener for other proxies; None where there is none to be, or a problem was noted."""
    given = [name for name in _SECRETS if getattr(section, name) is not None]
    if section.authz is None or section.authz.startswith(_UNIX):
        for name in given:
            findings.add(("listen", name), f"`listen.{name}` goes with `listen.authz` as HOST:PORT only")
        return None if section.authz is None else _parse_socket(section.authz, folder, findings)
    return _parse_address(section, section.authz, given, listen, folder, findings)


def _parse_socket(text: str, folder: Path, findings: Findings) -> AuthzSocket | None:
    path = folder / text.removeprefix(_UNIX)
    if text == _UNIX or len(os.fsencode(path)) > MAX_SOCKET_PATH:
        findings.add(("listen", "authz"), f"`listen.authz` names no path of at most {MAX_SOCKET_PATH} bytes")
        return None
    return AuthzSocket(path)


def _parse_address(
    section: ListenSection, text: str, given: list[str], listen: Listen | None, folder: Path, findings: Findings
) -> AuthzAddress | None:
    path = ("listen", "authz")
    address = parse_address("authz", text, findings)
    if address is None:
        return None
    if not is_loopback(address.host):
        findings.add(path, "`listen.authz` is not on this machine: tokens go over it in clear text")
    for name in ("traffic", "console", "ops"):
        if listen is not None and address.port and getattr(listen, name) == address:
            findings.add(path, f"`listen.authz` and `listen.{name}` are the same address")
    if len(given) != 1:
        findings.add(
            path,
            f"`listen.authz` at an address needs `{_SECRETS[0]}` or `{_SECRETS[1]}`, one of them",
            "or write `unix:PATH`: then the mode of the socket says who may ask",
        )
        return None
    file = folder / str(section.authz_secret_file)
    secret = parse_secret(("listen", given[0]), section.authz_secret, file, findings, whose="the secret of the proxy")
    return None if secret is None else AuthzAddress(address, secret)
