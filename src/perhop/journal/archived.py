"""What the journal says of a segment that left its file: the record `journal.archived`, written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from perhop.journal.record import Event, Record

_HEX = re.compile("[0-9a-f]{64}")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """Records `first` to `last` left the file, under the tree with this `root` (hex); `file` is a name, no path."""

    first: int
    last: int
    root: str
    file: str
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """Its members, as a record has them."""
        return asdict(self)

    def record(self, *, by: str) -> Record:
        """The event as it is recorded, with the cut itself."""
        return Record(event=Event.JOURNAL_ARCHIVED, about={**self.as_json(), "by": by})

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self | None:
        """What a record with these members says; None if it is of another event, or does not say what it must."""
        about = fields.get("about")
        if fields.get("event") != Event.JOURNAL_ARCHIVED.value or not isinstance(about, dict):
            return None
        first, last = about.get("first"), about.get("last")
        root, file, sha256 = (about.get(name) for name in ("root", "file", "sha256"))
        if type(first) is not int or type(last) is not int or not 0 < first <= last:
            return None
        if not (isinstance(file, str) and _NAME.fullmatch(file)):
            return None
        if not all(isinstance(each, str) and _HEX.fullmatch(each) for each in (root, sha256)):
            return None
        return cls(first=first, last=last, root=str(root), file=file, sha256=str(sha256))


def segment_name(first: int, last: int) -> str:
    """The name of the file with these records; names sort as the records do."""
    return f"journal-{first:012}-{last:012}.db"


def sealed_in(archived: tuple[Archived, ...], seq: int) -> str:
    """The file that holds this record, as far as these records name it, in words."""
    named = [each.file for each in archived if each.first <= seq <= each.last]
    return f"`{named[-1]}`" if named else f"the archived segment that holds record {seq}"
