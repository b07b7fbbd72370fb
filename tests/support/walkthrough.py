"""Walks through a page of the guide as a reader would: makes its files, runs its commands, compares what is printed.

`sh` blocks are run, one after the other, in one shell; a `text` block after one is what it prints, where `…` stands for
anything, an identifier for any identifier, and white space for white space. `console` blocks are for the reader alone.
A comment before a block says more:

    <!-- file: NAME -->     the block is this file          <!-- append: NAME -->   the block goes to its end
    <!-- runs: PORT... -->  the command stays, until the same command comes again; the ports tell that it is up
    <!-- until: TEXT -->    the command is repeated until it prints this
    <!-- person: EMAIL, PASSWORD, DECISION -->  the command prints an address, and a person goes there

The ports of the guide may be taken on this machine: free ones stand in for them, wherever a page or a file names them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpx2

from tests.support.browsers import form_in
from tests.support.leaks.scan import THE_SCAN
from tests.support.processes import Running, free_ports, started

PORTS = ("8420", "8421", "8422", "9001", "9002", "3955")
PATIENCE = 60.0
TALK_SECONDS = 10.0
"""From answering on its ports to having said so."""

_BLOCK = re.compile(r"(?:^<!-- (?P<note>\w+): (?P<about>.*?) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


class PageWrong(AssertionError):
    """A command of the page failed, or printed something else than the page says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One block that is to be done, and what should then be seen."""

    text: str
    note: str = ""
    about: str = ""
    shown: str | None = None


def steps_of(page: str) -> Iterator[Step]:
    """The blocks of a page that mean something to do."""
    blocks = list(_BLOCK.finditer(page))
    for number, block in enumerate(blocks):
        note = block["note"] or ""
        if block["kind"] != "sh" and note not in ("file", "append"):
            continue
        after = blocks[number + 1] if number + 1 < len(blocks) else None
        shown = after["text"] if after is not None and after["kind"] == "text" else None
        yield Step(block["text"], note, block["about"] or "", shown)


def is_as_shown(shown: str, seen: str) -> bool:
    """True if this is in what was printed; see above for what may differ."""
    end = 0
    # One part after the other: as one pattern, a page with many `…` takes minutes where it does not fit.
    for part in shown.split("…"):
        found = re.compile(r"\s+".join(map(_as_pattern, part.split()))).search(seen, end)
        if found is None:
            return False
        end = found.end()
    return True


def _as_pattern(word: str) -> str:
    # 128 bits in base64url, as every id of a token and of a transaction
    return r"[\w-]{22}".join(map(re.escape, re.split(r"(?<![\w-])[\w-]{22}(?![\w-])", word)))


@dataclass(slots=True)
class Walk:
    """A reader with one folder and one shell. `running` are the commands that stay, by their text."""

    folder: Path
    ports: dict[str, str] = field(
        default_factory=lambda: dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    )
    running: dict[str, tuple[ExitStack, Running]] = field(default_factory=dict)
    _shell: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stack, _ in reversed(self.running.values()):
            stack.close()
        if self._shell is not None:
            self._shell.communicate("exit\n", timeout=10)

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}

    def here(self, text: str) -> str:
        """The text with the ports of this walk in the place of the guide's."""
        return _replaced(text, self.ports)

    def there(self, text: str) -> str:
        """The text as the guide would have it."""
        return _replaced(text, {mine: theirs for theirs, mine in self.ports.items()})

    def follow(self, page: Path) -> None:
        """Do what the page says, from its first block to its last.

        Raises: PageWrong
        """
        for step in steps_of(page.read_text(encoding="utf-8")):
            self.take(step)

    def take(self, step: Step) -> None:
        """Do one step, and hold what is seen against what the page shows.

        Raises: PageWrong
        """
        match step.note:
            case "file":
                (self.folder / step.about).write_text(self.here(step.text), encoding="utf-8")
            case "append":
                with (self.folder / step.about).open("a", encoding="utf-8") as file:
                    file.write(self.here(step.text))
            case "runs":
                self._start(step)
            case "until":
                _compare(step, self._repeat(step))
            case "person":
                _compare(step, self._meet_person(step))
            case _:
                _compare(step, self.run(step.text))
        self._move_ports()

    def run(self, command: str) -> str:
        """Run this in the shell, and give all that it prints, as the guide would have it."""
        shell = self._shell
        assert shell is not None
        assert shell.stdin is not None
        assert shell.stdout is not None
        end = "--- the end of this step ---"
        shell.stdin.write(f"{self.here(command)}\necho\necho '{end}'\n")
        shell.stdin.flush()
        lines: list[str] = []
        for line in shell.stdout:
            if line.strip() == end:
                THE_SCAN.show_output(command.split(), "".join(lines), None)
                return self.there("".join(lines))
            lines.append(line)
        raise PageWrong(f"the shell ended in\n{command}\n{''.join(lines)}")

    def _start(self, step: Step) -> None:
        command = step.text.strip()
        if command in self.running:
            self.running.pop(command)[0].close()
        stack = ExitStack()
        ports = [int(self.ports[port]) for port in step.about.split()]
        words = ["bash", "-c", f"exec {self.here(command)}"]
        running = stack.enter_context(
            started(words, ports=ports, folder=self.folder, environment=self._environment(), within=PATIENCE)
        )
        self.running[command] = (stack, running)
        if step.shown is not None:
            deadline = time.monotonic() + TALK_SECONDS
            while not is_as_shown(step.shown, self.there(running.output())) and time.monotonic() < deadline:
                time.sleep(0.05)
            _compare(step, self.there(running.output()))

    def _meet_person(self, step: Step) -> str:
        email, password, decision = step.about.split(", ")
        with subprocess.Popen(
            ["bash", "-c", f"exec {step.text.strip()}"],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as application:
            assert application.stdout is not None
            line = application.stdout.readline()
            try:
                decide_as_person(line.removeprefix("open ").strip(), email, password, decision)
                rest, _ = application.communicate(timeout=PATIENCE)
            finally:
                application.kill()
        return self.there(line + rest)

    def _repeat(self, step: Step) -> str:
        deadline = time.monotonic() + PATIENCE
        while step.about not in (seen := self.run(step.text)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return seen

    def _move_ports(self) -> None:
        # `perhop init` writes the usual ports; here they are others.
        settings = self.folder / "perhop.yaml"
        if settings.exists():
            settings.write_text(self.here(settings.read_text(encoding="utf-8")), encoding="utf-8")


def decide_as_person(url: str, email: str, password: str, decision: str) -> None:
    """Open the address, sign in, decide, and go where that leads, as a browser without scripts does."""
    with httpx2.Client(follow_redirects=True, timeout=PATIENCE) as browser:
        page = browser.get(url)
        for filled in ({"email": email, "password": password}, {"decision": decision}):
            form = form_in(page)
            page = browser.post(urljoin(str(page.url), form.action), data=form.hidden | filled)
        page.raise_for_status()


@contextmanager
def walking(folder: Path) -> Iterator[Walk]:
    """A walk in this folder, which ends with everything that it started."""
    with Walk(folder) as walk:
        yield walk


def move_ports(walk: Walk, files: Sequence[Path]) -> None:
    """Let these files name the ports of the walk."""
    for file in files:
        file.write_text(walk.here(file.read_text(encoding="utf-8")), encoding="utf-8")


def _compare(step: Step, seen: str) -> None:
    if step.shown is not None and not is_as_shown(step.shown, seen):
        raise PageWrong(f"of this step:\n{step.text}\nthe page shows:\n{step.shown}\nbut this was seen:\n{seen}")


def _other_ports() -> dict[str, str]:
    return dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))


def _replaced(text: str, ports: dict[str, str]) -> str:
    return re.sub(r"(?:(?<![\w-])|(?<=%3A))\d{4,5}(?![\w-])", lambda found: ports.get(found[0], found[0]), text)
