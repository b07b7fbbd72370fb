"""Files stay small, are named for what they hold, and tell nothing of the machine they were written on."""

from __future__ import annotations

import pytest

from tests.support.sources import place, python_files, texts

LONGEST = 500
BANNED_NAMES = {"utils", "helpers", "common", "manager", "service", "base", "misc", "data", "info", "process", "handle"}

# In two halves, so that this file does not hold what it forbids.
FORBIDDEN = tuple(
    first + second
    for first, second in (
        ("/wo", "rk/"),
        ("/opt/", "wheels"),
        ("/opt/", "pypi"),
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("npmjs", ".org"),
        ("npmjs", ".com"),
        ("deb.", "debian.org"),
        ("--index", "-url"),
        ("--extra-index", "-url"),
        ("--find", "-links"),
    )
)


def test_no_file_is_too_long() -> None:
    """A file of code or tests has at most 500 lines."""
    files = python_files("src", "tests", "bench", "conformance", "drill", "scripts", "examples")
    lengths = {place(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    """No module or package bears a name that could hold anything."""
    files = python_files("src", "tests", "conformance", "drill", "scripts")
    named = {file: {file.stem, *file.parent.name.split("/")} for file in files}
    assert [place(file) for file, names in named.items() if names & BANNED_NAMES] == []


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_file_names_a_machine_or_an_index(word: str) -> None:
    """No file holds a path of the machine it was written on or the address of a package index."""
    assert [name for name, text in texts().items() if word in text] == []


def test_every_module_says_what_it_owns() -> None:
    """Every module of the package opens with a docstring; only empty packages may do without."""
    files = [file for file in python_files("src") if file.read_text(encoding="utf-8").strip()]
    assert [place(file) for file in files if not file.read_text(encoding="utf-8").startswith('"""')] == []


def test_no_module_leaves_work_for_later() -> None:
    """Nothing is marked as to be done: what is not built is not there."""
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X ")
    files = python_files("src", "tests", "conformance", "drill", "scripts")
    assert [place(f) for f in files if any(mark in f.read_text(encoding="utf-8") for mark in marks)] == []
