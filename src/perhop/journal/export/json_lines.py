"""JSON lines: each record byte for byte as the journal has it, so that a copy can be held against a proof."""

from __future__ import annotations

from perhop.journal.query import Entry


def render_json_line(entry: Entry) -> str:
    """The record, without the end of its line."""
    return entry.body
