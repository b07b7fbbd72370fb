"""A file that cannot be written whole is not there: of a key as of any other first file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from perhop.errors import KeyUnusable
from perhop.journal.keys import JournalKey, load_journal_key, write_journal_key
from perhop.journal.whole_file import write_whole
from perhop.tokens.keys import SigningKey
from perhop.wiring.keys import load_signing_key, write_signing_key
from tests.support.full_disk import fill_disk


def test_a_full_disk_leaves_no_signing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signing key that could not be written is not there, by no name, and the next attempt writes it."""
    key = SigningKey.generate()
    with monkeypatch.context() as patched:
        fill_disk(patched)
        with pytest.raises(KeyUnusable, match=rf"signing-{key.kid}\.pem.*No space left"):
            write_signing_key(tmp_path, key)
    assert not list(tmp_path.iterdir())
    written = write_signing_key(tmp_path, key)
    assert written.stat().st_mode & 0o777 == 0o600
    assert load_signing_key(written).kid == key.kid
    assert list(tmp_path.iterdir()) == [written]


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk_leaves_no_half_of_a_journal_key(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One half alone would be taken for a key whose other half is lost: neither is there."""
    key = JournalKey.new("log")
    with monkeypatch.context() as patched:
        fill_disk(patched, after=written)
        with pytest.raises(KeyUnusable, match="No space left"):
            write_journal_key(tmp_path, key)
    assert not list(tmp_path.iterdir())
    write_journal_key(tmp_path, key)
    assert load_journal_key(tmp_path).verify_key == key.verify_key


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_is_there_stays(has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file never takes another's place, with or without links, and where there are no links it is written."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    write_whole(tmp_path / "a", b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a", b"second", mode=0o600)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"first")]


def test_a_signing_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Of several key files, the error names the one to look at."""
    (tmp_path / "signing-x.pem").write_bytes(b"")
    (tmp_path / "signing-x.pem").chmod(0o600)
    with pytest.raises(KeyUnusable, match=r"signing-x\.pem"):
        load_signing_key(tmp_path / "signing-x.pem")
