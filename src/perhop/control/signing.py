"""Seeing to it that the journal is signed up to a record: by the server that writes it, or here if none does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from perhop.errors import JournalLocked, KeyUnusable, OperatorError
from perhop.journal.checkpoint import CheckpointInvalid, parse_checkpoint
from perhop.journal.keys import load_journal_key
from perhop.settings import Settings
from perhop.storage.journal_db import open_journal
from perhop.storage.journal_reader import JournalQueries

SIGNING_SECONDS = 10.0
"""A writer signs every second; one that did not in this time cannot write."""

_RETRY_SECONDS = 0.05


async def sign_up_to(settings: Settings, seq: int) -> None:
    """Return once a checkpoint covers this record. Fewer than 64 records ever wait for one.

    Raises: OperatorError, JournalDamaged, JournalUnavailable
    """
    deadline = time.monotonic() + SIGNING_SECONDS
    while (signed := _signed(settings.journal_path)) < seq:
        try:
            # A journal that is closed is signed to its last record.
            await open_journal(settings.journal_path, key=load_journal_key(settings.keys_dir), clock=time.time).close()
        except JournalLocked:
            if time.monotonic() > deadline:
                raise OperatorError(
                    f"records {signed + 1} to {seq} are not signed yet, though a server writes the journal",
                    advice="see `perhop doctor`",
                ) from None
            await asyncio.sleep(_RETRY_SECONDS)
        except KeyUnusable as error:
            raise OperatorError(
                f"records {signed + 1} to {seq} are not signed yet, and there is no key to sign them: {error.problem}",
                advice="run this where the journal's key is",
            ) from error


def check_signed(journal: Path, seq: int) -> None:
    """Refuse a file, a copy or a segment, that no checkpoint covers up to this record.

    Raises: OperatorError
    """
    signed = _signed(journal)
    if signed < seq:
        raise OperatorError(
            f"records {signed + 1} to {seq} of `{journal}` are not signed",
            advice="copy the journal again, after a second or after its server has stopped",
        )


def _signed(journal: Path) -> int:
    with JournalQueries(journal) as reader:
        try:
            return parse_checkpoint(reader.last_checkpoint() or "").size
        except CheckpointInvalid as error:
            raise OperatorError("the journal has no checkpoint", advice="run `perhop journal verify`") from error
