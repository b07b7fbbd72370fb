"""Fetches nginx, strace, wrk and Chromium as Debian packages them into .cache, unpacked and not installed.

By the machine's own package lists, so they are the versions that this release of Debian keeps safe; apt checks the
signatures. Shared libraries that they want and the machine lacks are fetched along. A Chromium that is installed is
taken as it is.

    python -m scripts.fetch_debian [PROGRAM...]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.fetch_real import ROOT, RealSoftwareMissing, told

PLACE = ROOT / ".cache" / "debian"


@dataclass(frozen=True)
class Program:
    """One program: the packages that are it, where it lies in them, the flag by which it tells its version, and how
    it then ends."""

    packages: tuple[str, ...]
    path: str
    version: str
    ends_with: int = 0


PROGRAMS = {
    "nginx": Program(("nginx",), "usr/sbin/nginx", "-V"),
    "strace": Program(("strace",), "usr/bin/strace", "-V"),
    "wrk": Program(("wrk",), "usr/bin/wrk", "-v", ends_with=1),
    "chromium": Program(("chromium", "chromium-common"), "usr/lib/chromium/chromium", "--version"),
}

_DEPENDENCY = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def nginx() -> Path:
    """The program. Raises: RealSoftwareMissing when it is not fetched."""
    return _program("nginx")


def strace() -> Path:
    """The program. Raises: RealSoftwareMissing when it is not fetched."""
    return _program("strace")


def wrk() -> Path:
    """The program. Raises: RealSoftwareMissing when it is not fetched."""
    return _program("wrk")


def chromium() -> Path:
    """The program: the machine's own, else the fetched one. Raises: RealSoftwareMissing when there is neither."""
    installed = shutil.which("chromium")
    return Path(installed) if installed is not None else _program("chromium")


def _program(name: str) -> Path:
    program = PLACE / PROGRAMS[name].path
    if not program.is_file():
        raise RealSoftwareMissing(f"no {name} in .cache; run `make test-real`")
    return program


def environment() -> dict[str, str]:
    """Variables for a program from there: its libraries lie beside it."""
    folders = sorted({str(each.parent) for each in PLACE.glob("**/*.so*")})
    return {"LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {}


def is_fetched(names: Iterable[str] = PROGRAMS) -> bool:
    """True if all of these are there, and start."""
    return all(_starts(name) for name in names)


def _starts(name: str) -> bool:
    try:
        program = chromium() if name == "chromium" else _program(name)
        command = [str(program), PROGRAMS[name].version]
        done = subprocess.run(command, env=os.environ | environment(), capture_output=True, check=False)
        return done.returncode == PROGRAMS[name].ends_with
    except (RealSoftwareMissing, OSError):
        return False


def fetch(names: Sequence[str]) -> None:
    """Download and unpack what is not there. Raises: RealSoftwareMissing where there is no apt, or no package."""
    lacking = [name for name in names if not _starts(name)]
    if not lacking:
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RealSoftwareMissing(f"no `apt-get`: {', '.join(lacking)} need Debian, or a system made from it")
    PLACE.mkdir(parents=True, exist_ok=True)
    print(f"fetch: unpacking Debian's {', '.join(lacking)} into .cache", file=sys.stderr)
    wanted, had = {package for name in lacking for package in PROGRAMS[name].packages}, set[str]()
    while wanted:
        depends = _unpack(sorted(wanted), is_optional=bool(had))
        had |= wanted
        wanted = {each for each in depends if each.startswith("lib") and each not in had and not _is_installed(each)}
    for name in lacking:
        if not _starts(name):
            raise RealSoftwareMissing(f"Debian's {name} does not start here")


def _unpack(packages: Sequence[str], *, is_optional: bool) -> list[str]:
    """Unpack these packages; returns the names that they depend on. Of optional ones, those that there are."""
    with tempfile.TemporaryDirectory() as folder:
        if not _download(packages, folder) and is_optional:
            # A name that several packages provide can be downloaded by none of them.
            for package in packages:
                _download([package], folder)
        elif not any(Path(folder).glob("*.deb")):
            # A machine that is new has no lists yet; only root can fetch them.
            subprocess.run(["apt-get", "-q", "update"], stdout=sys.stderr, check=False)
            if not _download(packages, folder):
                raise RealSoftwareMissing(f"`apt-get download {' '.join(packages)}` failed; run `apt-get update` first")
        depends: list[str] = []
        for file in sorted(Path(folder).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", file, PLACE], check=True)
            said = subprocess.run(["dpkg-deb", "-f", file, "Depends"], capture_output=True, text=True, check=True)
            depends += [match[0] for each in said.stdout.split(",") if (match := _DEPENDENCY.search(each))]
        return depends


def _download(packages: Sequence[str], folder: str) -> bool:
    command = ["apt-get", "-qq", "download", *packages]
    return subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False).returncode == 0


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "-W", "-f", "${Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.endswith(" installed")


if __name__ == "__main__":
    sys.exit(told(partial(fetch, sys.argv[1:] or list(PROGRAMS))))
