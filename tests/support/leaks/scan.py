"""The scan of one process of the run: it is told of secrets and shown texts, and says which are in which."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tests.support.leaks.exceptions import (
    ANSWERED_HEADERS,
    HIDDEN_INPUT,
    PROGRAMS,
    allowed_in_answer,
    tells_a_secret,
)
from tests.support.leaks.files import Sight, Text, files_in, kept_secrets, texts_of
from tests.support.leaks.secrets import COMPACT, Kind, Secrets
from tests.support.leaks.wire import secrets_in_answer, secrets_in_request
from tests.support.needles import SHORTEST

Headers = Iterable[tuple[str, str]]

Asked = tuple[str, str, Headers, bytes]
"""A request: its method, its target, its headers and its body."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that is where it must not be."""

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what} has leaked: {self.where}"


class Scan:
    """Secrets so far, texts that wait to be looked through, and what has been looked at."""

    def __init__(self) -> None:
        self.secrets = Secrets()
        self.seen: Counter[str] = Counter()
        self.octets = 0
        self._waiting: list[Text] = []
        self._open: list[Path] = []

    def note(self, secret: str, kind: Kind) -> str:
        """Look for this secret from now on; returns it."""
        self.secrets.note(secret, kind)
        return secret

    def show(self, sight: Sight, place: str, text: str | bytes, *, allowed: Kind | None = None) -> None:
        """Look through this text when the test ends, when all of its secrets are known."""
        octets = text.encode("utf-8", "replace") if isinstance(text, str) else text
        self._waiting.append(Text((sight,), place, octets, allowed=allowed))

    def show_output(self, words: Sequence[object], out: str | bytes | None, err: str | bytes | None) -> None:
        """What a process has printed."""
        named = [str(word) for word in words]
        if tells_a_secret(named):
            self._note_told(out)
            out = None
        for stream, text in (("stdout", out), ("stderr", err)):
            if text:
                allowed = PROGRAMS.get(PurePath(named[0]).name)
                self.show(Sight.OUTPUT, f"{stream} of `{_command(named)}`", text, allowed=allowed)

    def note_exchange(self, request: Asked, status: int, headers: Headers, body: bytes) -> None:
        """What in a request and its answer is secret."""
        _, target, sent, content = request
        for secret, kind in secrets_in_request(target, sent, content):
            # A wrong verifier may be anything, also the challenge, which is no secret and is kept.
            if kind is not Kind.VERIFIER or status < 400:
                self.note(secret, kind)
        for secret, kind in secrets_in_answer(status, headers, body):
            self.note(secret, kind)

    def show_exchange(self, request: Asked, status: int, headers: Headers, body: bytes) -> None:
        """A request and its answer: their secrets are noted, and what refuses is looked through."""
        headers = list(headers)
        self.note_exchange(request, status, headers, body)
        method, path = request[0], request[1].partition("?")[0]
        if status >= 400:
            fields = "".join(f"{name}: {value}\n" for name, value in headers if name.lower() not in ANSWERED_HEADERS)
            said = fields.encode("utf-8", "replace") + b"\n" + HIDDEN_INPUT.sub(b"", body)
            allowed = allowed_in_answer(status, path)
            self.show(Sight.ANSWER, f"answer {status} to {method} {path}", said, allowed=allowed)
        elif path.endswith("/metrics"):
            self.show(Sight.METRICS, f"answer to {method} {path}", body)

    def open_folder(self, folder: Path) -> None:
        """Look into this folder when it is no longer used; what its key files hold is known from the next test on."""
        self._open.append(folder)

    def open_folders(self) -> list[Path]:
        """The folders that are still used."""
        return list(self._open)

    def close_folder(self, folder: Path) -> None:
        """Look through all that is in this folder, which nobody uses any more."""
        self._open.remove(folder)
        self.show_folder(folder)

    def show_folder(self, folder: Path) -> None:
        """Take all that is in this folder now, to be looked through with the rest."""
        for file, kept in files_in(folder):
            with contextlib.suppress(OSError):
                if kept is None:
                    self._waiting.extend(texts_of(file, str(file.relative_to(folder.parent))))
                else:
                    for secret, kind in kept_secrets(file, kept):
                        self.note(secret, kind)

    def learn_from_open_folders(self) -> None:
        """Take in the secrets that lie in folders which are still used, if there is anything to look through."""
        for folder in self._open if self._waiting else ():
            for file, kept in files_in(folder):
                with contextlib.suppress(OSError):
                    for secret, kind in kept_secrets(file, kept) if kept is not None else ():
                        self.note(secret, kind)

    def leaks(self) -> list[Leak]:
        """Look through everything that waits."""
        found: dict[tuple[str, str], Leak] = {}
        for text in self._waiting:
            for sight in text.sights:
                self.seen[sight] += text.amount
            self.octets += len(text.octets)
            for each in self.secrets.found_in(text.octets, is_decoded=text.is_decoded):
                if each.kind is text.allowed:
                    continue
                where = "a place that is named after a secret" if self._tells(text.place) else text.where(each.place)
                found.setdefault((str(each), text.place), Leak(str(each), where))
        self._waiting.clear()
        return list(found.values())

    def _tells(self, place: str) -> bool:
        return self.secrets.found_in(place.encode("utf-8", "replace")) != []

    def _note_told(self, out: str | bytes | None) -> None:
        """What a command has printed that is meant to print a token, or a password that it made."""
        text = out.decode("utf-8", "replace") if isinstance(out, bytes) else out or ""
        for token in COMPACT.findall(text.encode("utf-8", "replace")):
            self.note(token.decode("ascii"), Kind.TOKEN)
        password = text.strip()
        with contextlib.suppress(ValueError, TypeError, KeyError):
            password = json.loads(text)["password"]
        if password.isascii() and password.isprintable() and " " not in password and "." not in password:
            self.note(password, Kind.PASSWORD)


def _command(words: Sequence[str]) -> str:
    """How a command is told from others: what it was given may be a secret."""
    return " ".join((PurePath(words[0]).name, *(word if len(word) < SHORTEST else "…" for word in words[1:6])))


THE_SCAN = Scan()
"""Of this process. Support code that sees secrets, or texts which the plugin does not see, tells it."""
