"""A disk that is full, for the code under test alone."""

from __future__ import annotations

import errno
import os
import stat

import pytest


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """From now on no file gets to the disk, but for the first few; folders do."""
    sync, left = os.fsync, iter(range(after))

    def full(descriptor: int) -> None:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if is_file and next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
