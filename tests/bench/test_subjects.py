"""Nothing is measured that does not do what is claimed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.installation import a_call, served_upstream
from bench.load import LoadFailed
from bench.subjects import Subject, prove
from bench.upstream import result_text


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server that stands behind all subjects."""
    with served_upstream() as url:
        yield url


def _subject(server: str) -> Subject:
    """The server itself: on one path it wants a token for that path, on the other none."""
    return Subject(
        name="the server",
        setup="",
        pid=0,
        ask=lambda: a_call(f"{server}/open", tokens=()),
        answer=result_text("echo"),
        refuses=lambda: a_call(f"{server}/work", tokens=["not.for-it"]),
    )


def test_a_subject_that_answers_and_refuses_is_proven(server: str) -> None:
    """The right answer, and a refusal of a token that is not for it, is all that is asked of a subject."""
    prove(_subject(server))


def test_a_subject_with_another_answer_is_not_measured(server: str) -> None:
    """An error in the body of a 200 is not an answer."""
    unknown = replace(_subject(server), ask=lambda: a_call(f"{server}/open", tokens=(), tool="nothing"))
    with pytest.raises(LoadFailed, match="answered 200"):
        prove(unknown)


def test_a_subject_that_refuses_nothing_is_not_measured(server: str) -> None:
    """A peer that is said to check tokens, and takes one for another resource, is not measured as one that checks."""
    careless = replace(_subject(server), refuses=lambda: a_call(f"{server}/open", tokens=["not.for-it"]))
    with pytest.raises(LoadFailed, match="not for it"):
        prove(careless)
