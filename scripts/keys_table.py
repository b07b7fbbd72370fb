"""A table of the keys of a file, for the generated pages."""

from __future__ import annotations

from collections.abc import Iterable

from perhop.settings.reference import Setting

_COLUMNS = "| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"


def keys_table(settings: Iterable[Setting]) -> str:
    """One row a key, in the order given."""
    rows = (
        f"| `{setting.key}` | {_cell(setting.type)} | {_cell(setting.default)} | {_cell(setting.meaning)} |"
        for setting in settings
    )
    return _COLUMNS + "\n".join(rows) + "\n"


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")
