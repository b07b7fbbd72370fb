"""Writing a whole set of policies into its folder: at no moment does the folder hold a part of it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from perhop.errors import OperatorError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def replaced(folder: Path, sources: Mapping[str, str]) -> Iterator[None]:
    """The folder holds these policies in the place of its own while the block runs, and after it if it does not fail.

    Everything else in it (test cases, folders below it, hidden files) is kept.

    Raises: OperatorError
    """
    target = folder.resolve()
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise _cannot(target, error) from error
    other = made / target.name
    try:
        try:
            shutil.copytree(target, other, symlinks=True, ignore=_policies_of(target))
            for name, text in sources.items():
                _write(other / name, text)
            _exchange(other, target)
        except OSError as error:
            raise _cannot(target, error) from error
        try:
            yield
        except BaseException:
            _exchange(other, target)
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _policies_of(folder: Path) -> Callable[[Any, list[str]], list[str]]:
    def ignored(where: Any, names: list[str]) -> list[str]:
        if Path(where) != folder:
            return []
        return [name for name in names if name.endswith(".cedar") and not name.startswith(".")]

    return ignored


def _write(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change names, at once where the system can; else there is none of the name for a moment."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(other))
    exchange_by_turns(one, other)


def exchange_by_turns(one: Path, other: Path) -> None:
    """The same in three steps, for systems that have none for it."""
    aside = one.with_name(f"{one.name}-aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _cannot(folder: Path, error: OSError) -> OperatorError:
    return OperatorError(
        f"the policies in `{folder}` cannot be replaced: {error.strerror}",
        advice="write the files that `perhop policy show` prints where they come from, and run `perhop apply`",
    )
