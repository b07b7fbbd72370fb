"""Versions of libraries that must not run here: known holes in what reads tokens and requests.

The pinned requirements hold newer ones; this finds an environment that was put together otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

from perhop.errors import OperatorError

FLOORS: Mapping[str, str] = {
    "aiohttp": "3.13.4",
    "h11": "0.16",
    "joserfc": "1.6.3",
    "starlette": "1.0.1",
}
"""The first version of each that may run."""


def outdated(installed: Callable[[str], str | None]) -> list[str]:
    """Every library that is below its floor, in words."""
    return [
        f"{name} {found} (needs {floor} or newer)"
        for name, floor in FLOORS.items()
        if (found := installed(name)) is not None and _release(found) < _release(floor)
    ]


def installed_version(name: str) -> str | None:
    """The version that is installed; None for a library that is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_libraries(installed: Callable[[str], str | None]) -> None:
    """Refuse to run with a library that is known to be unsafe.

    Raises: OperatorError
    """
    if found := outdated(installed):
        advice = "install the pinned requirements, or newer versions"
        raise OperatorError(f"a library is known to be unsafe: {', '.join(found)}", advice=advice)


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without trailing zeros; a pre-release counts as the version before it."""
    match = re.match(r"(?:\d+!)?(\d+(?:\.\d+)*)", text)
    numbers = [int(each) for each in match[1].split(".")] if match else [0]
    is_before = match is not None and re.match(r"[._-]?(a|b|rc|dev|alpha|beta|c|pre)", text[match.end() :]) is not None
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return (*numbers[:-1], numbers[-1] - 1, 1 << 30) if is_before and numbers else tuple(numbers)
