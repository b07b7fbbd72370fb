"""Where a secret may be, with the reason. What is not in these tables is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from tests.support.leaks.secrets import Kind


@dataclass(frozen=True, slots=True)
class KeptFile:
    """Files that hold secrets on purpose. What they hold of this kind is looked for everywhere else.

    A pattern is for the whole path below the folder of a test; a star stands for any part of it.
    """

    pattern: str
    why: str
    kind: Kind | None = None


FILES = (
    KeptFile("*.pem", "private keys of the installation and of its clients", Kind.PRIVATE_KEY),
    KeptFile("*.secret", "secrets of clients, of mode 0600, which `perhop init` makes", Kind.CLIENT_SECRET),
    KeptFile("*.yaml", "the configuration, in which a test may set a client's secret", Kind.CLIENT_SECRET),
    KeptFile("*/password", "a password that a test gives to a command in a file", Kind.PASSWORD),
    KeptFile("*/sent/*", "what a relay kept of all that the gateway sent to a server, its token included"),
    KeptFile("*-sent/*", "the same, beside the folder of the attacked installation"),
    KeptFile("*/tokens.json", "the store of `mcp-authlab`, which keeps the tokens that it got"),
    KeptFile(
        "*/installation*/servers.log",
        "what the MCP servers of the drill got, by their own word, to count calls by",
        Kind.ARGUMENT,
    ),
    KeptFile(
        "*/installation*/received", "the hop token that a server of the drill got, which it tries elsewhere", Kind.TOKEN
    ),
    KeptFile("*/installation*/trace", "what a process wrote to files and sockets, as the kernel saw it"),
    KeptFile(
        "*/sign-ins.json", "the tokens of a person, which a program keeps in a file of mode 0600 for its next start"
    ),
    KeptFile(
        "*/profile/*", "the profile of a real browser: the addresses that it was at, codes among them, and cookies"
    ),
    KeptFile("*/presented", "the tokens that the shim of the conformance run has presented, for its own check"),
)

COMMANDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("token", "issue"), "prints the token alone, as it is asked to"),
    (("account", "add"), "prints the password that it made, once"),
    (("account", "password"), "prints the password that it made, once"),
)
"""Commands of `perhop` whose stdout is a secret. Their stderr is looked at like any other."""

PROGRAMS: Mapping[str, Kind] = {"node": Kind.SESSION}
"""The reference server says which of its own sessions it opens and ends."""

LOGGERS: Mapping[str, Kind] = {"mcp": Kind.SESSION}
"""The official SDK names the sessions of its own server as it opens and ends them. Those of the gateway are sealed."""

SPAN_ATTRIBUTES: Mapping[str, Kind] = {"mcp.session.id": Kind.SESSION}
"""FastMCP says of each call in which session of its own server it was."""

ANSWERED_HEADERS = {
    "set-cookie": "a browser is given its cookie with whatever page it gets, also with one that refuses",
}
HIDDEN_INPUT = re.compile(rb"<input type=\"hidden\"[^>]*>")
"""Of an answer that refuses: a form that is shown again carries its own seal."""

CONSOLE_PAGE = re.compile(r"/approvals/[A-Za-z0-9_-]+")
"""The page of one approval: it shows a person of the team the call, also when it takes no decision (400, 403)."""


def allowed_in_answer(status: int, path: str) -> Kind | None:
    """What an answer that refuses may hold, if anything."""
    return Kind.ARGUMENT if status in (400, 403) and CONSOLE_PAGE.fullmatch(urlsplit(path).path) else None


def kept_file(place: str) -> KeptFile | None:
    """Why this file may hold secrets, if it may; its place begins with the folder of the test."""
    return next((each for each in FILES if fnmatchcase(place, each.pattern)), None)


def tells_a_secret(words: Sequence[str]) -> bool:
    """True if this command is meant to print a secret on stdout."""
    plain = tuple(word for word in words if not word.startswith("-"))
    return any(_follow(plain, names) for names, _ in COMMANDS)


def _follow(words: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(words[start : start + len(names)] == names for start in range(len(words)))
