"""docs/reference/configuration.md: every key of perhop.yaml, from the model that reads it."""

from __future__ import annotations

from perhop.settings.reference import describe
from scripts.keys_table import keys_table

_HEAD = """# Configuration

<!-- written by `make docs` from perhop.settings -->

One YAML file, `perhop.yaml`. A key that is not in this table is refused, with its line and what you may have meant.
Relative paths count from the folder of the file. `NAME` is a name that you choose.

The environment overrides the file: `PERHOP_SECTION__KEY`, for example `PERHOP_LISTEN__TRAFFIC=127.0.0.1:8420`.
`perhop config check` reads the file as `serve` would; `perhop config schema` prints a JSON Schema for your editor.

"""


def render() -> str:
    """The page."""
    return _HEAD + keys_table(describe())
