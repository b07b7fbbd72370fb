"""The drill's ways to hide a record, on a small journal: each is named by the verifier. `make drill` does the same to
a million records."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from drill.tampering import TAMPERINGS, Tampering, Traces
from perhop.storage.journal_db import checkpoint_path
from tests.support.journals import ORIGIN, JournalFolder, a_permit, an_outcome, make_journal


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> tuple[JournalFolder, Path]:
    """A journal, and a copy of it from before the last third was written."""
    made = make_journal(tmp_path_factory.mktemp("tampered"))
    older = tmp_path_factory.mktemp("older") / "journal.db"

    async def write(*numbers: int) -> None:
        async with made.writing() as journal:
            for number in numbers:
                await asyncio.gather(journal.append(a_permit(number)), journal.append(an_outcome(number)))

    asyncio.run(write(*range(100)))
    shutil.copy(made.path, older)
    shutil.copy(checkpoint_path(made.path), checkpoint_path(older))
    asyncio.run(write(*range(100, 150)))
    return made, older


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda each: each.title)
def test_what_was_hidden_is_named(tampering: Tampering, journals: tuple[JournalFolder, Path], tmp_path: Path) -> None:
    """The verifier, with the checkpoint that was kept, names the first record that is bad or missing."""
    made, older = journals
    shutil.copy(made.path, tmp_path / "journal.db")
    copied = JournalFolder(folder=tmp_path, key=made.key)
    kept = checkpoint_path(made.path).read_text()
    assert copied.verify(kept).ok
    traces = Traces(seqs=(211, 212, 213, 240, 241), older=older, name=ORIGIN)
    first, last = tampering.apply(copied.path, traces)
    found = copied.verify(kept)
    assert not found.ok
    assert found.first_bad is not None
    assert first <= found.first_bad <= last
    assert found.problem
