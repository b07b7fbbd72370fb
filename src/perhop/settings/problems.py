"""Problems of a configuration: collected, each with its place, and told together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from perhop.errors import SettingsError
from perhop.settings.sources import Key, Source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `place` is `FILE:LINE` or the name of a variable."""

    place: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Findings:
    """The problems found so far in one source."""

    source: Source
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Sequence[Key], text: str, advice: str = "") -> None:
        """Note one problem at the key that `path` leads to."""
        self.problems.append(Problem(self.source.place(path), text, advice))

    def add_unknown(self, path: Sequence[Key], noun: str, name: str, known: Iterable[str]) -> None:
        """Note a name that stands for nothing."""
        self.add(path, f"unknown {noun} `{name}` in `{dotted(path)}`", did_you_mean(name, known))


def dotted(path: Sequence[Key]) -> str:
    """The written form of a path: `resources.calendar.uri`."""
    return ".".join(str(key) for key in path)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice that names the closest known word; empty where none is close."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by where they stand; those of variables after those of the file."""

    def position(problem: Problem) -> tuple[bool, int]:
        line = problem.place.rpartition(":")[2]
        return not line.isdecimal(), int(line) if line.isdecimal() else 0

    return sorted(problems, key=position)


def settings_error(problems: Sequence[Problem]) -> SettingsError:
    """One error for all problems, in the order of the file; of several, each carries its advice on its own line."""
    problems = in_order(problems)
    if len(problems) == 1:
        return SettingsError(str(problems[0]), advice=problems[0].advice)
    return SettingsError("\n".join(f"{each}" + (f"; {each.advice}" if each.advice else "") for each in problems))
