"""Where a secret may be, with the reason. What is not in these tables is looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath

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
    KeptFile("*/keys/*.secret", "secrets of clients, of mode 0600, which `perhop init` makes", Kind.CLIENT_SECRET),
    KeptFile("*.yaml", "the configuration, in which a test may set a client's secret", Kind.CLIENT_SECRET),
)

COMMANDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("token", "issue"), "prints the token alone, as it is asked to"),
    (("account", "add"), "prints the password that it made, once"),
    (("account", "password"), "prints the password that it made, once"),
)
"""Commands of `perhop` whose stdout is a secret. Their stderr is looked at like any other."""

ANSWERED_HEADERS = {
    "set-cookie": "a browser is given its cookie with whatever page it gets, also with one that refuses",
}
HIDDEN_INPUT = re.compile(rb"<input type=\"hidden\"[^>]*>")
"""Of an answer that refuses: a form that is shown again carries its own seal."""


def kept_file(place: PurePath) -> KeptFile | None:
    """Why this file may hold secrets, if it may."""
    return next((each for each in FILES if fnmatchcase(str(place), each.pattern)), None)


def tells_a_secret(words: Sequence[str]) -> bool:
    """True if this command is meant to print a secret on stdout."""
    plain = tuple(word for word in words if not word.startswith("-"))
    return any(_follow(plain, names) for names, _ in COMMANDS)


def _follow(words: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(words[start : start + len(names)] == names for start in range(len(words)))
