"""docs/reference/configuration.md: every key of perhop.yaml, from the model that reads it."""

from __future__ import annotations

from perhop.settings.reference import describe

_HEAD = """# Configuration

<!-- written by `make docs` from perhop.settings -->

One YAML file, `perhop.yaml`. A key that is not in this table is refused, with its line and what you may have meant.
Relative paths count from the folder of the file. `NAME` is a name that you choose.

The environment overrides the file: `PERHOP_SECTION__KEY`, for example `PERHOP_LISTEN__TRAFFIC=127.0.0.1:8420`.
`perhop config check` reads the file as `serve` would; `perhop config schema` prints a JSON Schema for your editor.

| Key | Type | Default | Meaning |
| --- | --- | --- | --- |
"""


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


def render() -> str:
    """The page."""
    rows = [
        f"| `{setting.key}` | {_cell(setting.type)} | {_cell(setting.default)} | {_cell(setting.meaning)} |"
        for setting in describe()
    ]
    return _HEAD + "\n".join(rows) + "\n"
