"""The journal as it was at one moment, for questions that must all be answered from the same records."""

from __future__ import annotations

from perhop.storage.journal_reader import AtOneMoment
from perhop.storage.journal_tally import JournalTallies


class JournalStill(AtOneMoment, JournalTallies):
    """A TallyReader that sees what was there at its first question.

    It keeps the writer's log from shrinking for as long as it lives, so that should be short.
    """
