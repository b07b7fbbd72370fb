"""The thief at the journal's file: every way to remove what was done, on a copy, each named by the command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from drill.installation import PERHOP, DrillFailed, Site, clean_environment
from drill.machine import lap, say
from drill.tampering import TAMPERINGS, Tampering, Traces
from perhop.journal.keys import load_vkey
from perhop.journal.query import Filter
from perhop.journal.record import Event
from perhop.storage.journal_reader import JournalQueries

MOST_TRACES = 40
"""Records that are removed; enough to lie under more than one checkpoint in a busy minute."""


def remove_all(site: Site, journal: Path, older: Path, jti: str, *, tell: Callable[[str], None]) -> None:
    """Try every way on a copy of its own, and print what the verifier says. Raises: DrillFailed."""
    kept = journal.with_name("kept.checkpoint")
    shutil.copy(site.folder / "journal.checkpoint", kept)
    traces = Traces(seqs=_seqs(journal, jti), older=older, name=load_vkey(site.folder / "keys" / "journal.vkey").name)
    say(f"{'what was done to a copy':<46} {'first_bad':>10} {'must be':>20} {'after':>9}   what is said")
    for tampering in TAMPERINGS:
        tell(f"{tampering.title}")
        say(_tried(tampering, traces, site, journal, kept))


def _seqs(journal: Path, jti: str) -> list[int]:
    """Records of what was done with the stolen token."""
    done = (Event.CALL_PERMITTED.value, Event.CALL_ENDED.value)
    with JournalQueries(journal) as reader:
        every = [each.seq for each in reader.find(Filter(jti=jti)) if each.fields.get("event") in done]
    middle = len(every) // 2
    return every[middle : middle + MOST_TRACES]


def _tried(tampering: Tampering, traces: Traces, site: Site, journal: Path, kept: Path) -> str:
    copy = journal.with_name("tampered.db")
    shutil.copy(journal, copy)
    first, last = tampering.apply(copy, traces)
    key = str(site.folder / "keys" / "journal.vkey")
    words = ("journal", "verify", str(copy), "--checkpoint", str(kept), "--public-key", key, "--json")
    with lap() as took:
        done = subprocess.run([PERHOP, *words], env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 7:
        raise DrillFailed(f"{tampering.title}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    found = json.loads(done.stdout)
    if found["ok"] or found["first_bad"] is None or not first <= found["first_bad"] <= last:
        raise DrillFailed(f"{tampering.title}: expected {first} to {last}, and the verifier says {found}")
    expected = str(first) if first == last else f"{first} to {last}"
    for left in journal.parent.glob("tampered*"):
        left.unlink()
    return (
        f"{tampering.title:<46} {found['first_bad']:>10} {expected:>20} {took.seconds:>7.1f} s   {done.stderr.strip()}"
    )
