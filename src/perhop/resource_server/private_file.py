"""A file for its owner alone, and what SQLite puts beside it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from perhop.errors import SettingsError

_BESIDE = ("", "-wal", "-shm")
"""SQLite makes the companions with the mode of the file."""


def make_private(path: Path) -> None:
    """Make the file if it is not there. One that others may read, or whose companions they may, is refused.

    Raises: SettingsError, OSError
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Looked at by name: to close a file that this process has open elsewhere would give up SQLite's locks on it.
    opened = [each for end in _BESIDE if _is_open_to_others(each := path.with_name(path.name + end))]
    if opened:
        names = " ".join(str(each) for each in opened)
        raise SettingsError(f"others may read `{names}`", advice=f"run `chmod 600 {names}`")


if sys.platform == "win32":

    def _is_open_to_others(_path: Path) -> bool:
        return False  # the mode says nothing there

else:

    def _is_open_to_others(path: Path) -> bool:
        try:
            return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
        except FileNotFoundError:
            return False
