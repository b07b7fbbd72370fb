"""How a command changes something, through the running server or in the files, and how it looks something up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perhop.cli.output import config_path
from perhop.control.local import carry_out as carry_out_anywhere
from perhop.control.lookup import look_up as look_up_files
from perhop.settings import load


def carry_out(config: Path | None, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run one operation and give its result; raises the errors that `main` turns into exit codes."""
    settings = load(config_path(config), os.environ)
    return dict(asyncio.run(carry_out_anywhere(settings, operation, arguments)))


def look_up(config: Path | None, what: str) -> list[dict[str, Any]]:
    """Rows for a list command, from the files."""
    settings = load(config_path(config), os.environ)
    return asyncio.run(look_up_files(settings, what))
