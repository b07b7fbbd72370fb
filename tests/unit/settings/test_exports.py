"""Where an export may go: into a file that is nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from perhop.errors import SettingsError
from tests.support.configuration import load_example


def _with(folder: Path, exports: str) -> None:
    load_example(folder, ("policies:", f"exports: {exports}\npolicies:"))


@pytest.mark.parametrize(
    ("to", "what"),
    [
        ("perhop.db", "the database"),
        ("./perhop.db-wal", "the database"),
        ("journal.db", "the journal"),
        ("sub/../journal.checkpoint", "the journal's checkpoint"),
        ("perhop.yaml", "the configuration file"),
        ("keys/export.jsonl", "in the folder `keys/`"),
        ("link.jsonl", "the journal"),
        ("export-siem.cursor", "where an export keeps how far it got"),
    ],
)
def test_an_export_never_goes_into_what_is_ours(tmp_path: Path, to: str, what: str) -> None:
    """By whatever path, and through a link: the problem names what the file is, and its line."""
    (tmp_path / "link.jsonl").symlink_to("journal.db")
    (tmp_path / "sub").mkdir()
    with pytest.raises(SettingsError, match=rf"perhop.yaml:\d+: `exports.siem.to` is {what}"):
        _with(tmp_path, f"{{siem: {{format: json, to: {to}}}}}")


def test_two_exports_have_two_files(tmp_path: Path) -> None:
    """One file under two paths is refused; stdout, and files that only look alike, are not."""
    with pytest.raises(SettingsError, match=r"`exports.b.to` is the file of `exports.a`"):
        _with(tmp_path, "{a: {format: json, to: out.jsonl}, b: {format: ocsf, to: ./out.jsonl}}")
    _with(tmp_path, "{a: {format: json, to: out.jsonl}, b: {format: json, to: out.jsonl2}}")
    _with(tmp_path, "{a: {format: json, to: '-'}, b: {format: json, to: '-'}}")
