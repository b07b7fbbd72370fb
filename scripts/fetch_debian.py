"""Fetches nginx and strace as Debian packages them into .cache, unpacked and not installed, and says where they lie.

By the machine's own package lists, so they are the versions that this release of Debian keeps safe; apt checks the
signatures. Shared libraries that they want and the machine lacks are fetched along.

    python -m scripts.fetch_debian
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.fetch_real import ROOT, RealSoftwareMissing, told

PLACE = ROOT / ".cache" / "debian"
PACKAGES = {"nginx": "usr/sbin/nginx", "strace": "usr/bin/strace"}
"""What is fetched, and which program of it is meant."""

_DEPENDENCY = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def nginx() -> Path:
    """The program. Raises: RealSoftwareMissing when it is not fetched."""
    return _program("nginx")


def strace() -> Path:
    """The program. Raises: RealSoftwareMissing when it is not fetched."""
    return _program("strace")


def _program(package: str) -> Path:
    program = PLACE / PACKAGES[package]
    if not program.is_file():
        raise RealSoftwareMissing(f"no {package} in .cache; run `make test-real`")
    return program


def environment() -> dict[str, str]:
    """Variables for a program from there: its libraries lie beside it."""
    folders = sorted({str(each.parent) for each in PLACE.glob("**/*.so*")})
    return {"LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {}


def is_fetched() -> bool:
    """True if all of it is there, and starts."""
    try:
        done = [
            subprocess.run([program, "-V"], env=os.environ | environment(), capture_output=True, check=False)
            for program in (nginx(), strace())
        ]
    except (RealSoftwareMissing, OSError):
        return False
    return all(each.returncode == 0 for each in done)


def fetch() -> None:
    """Download and unpack, unless it is there. Raises: RealSoftwareMissing where there is no apt, or no package."""
    if is_fetched():
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RealSoftwareMissing("no `apt-get`: the tests with nginx and strace need Debian, or a system made from it")
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    print(f"fetch: unpacking Debian's {' and '.join(PACKAGES)} into .cache", file=sys.stderr)
    depends = _unpack(list(PACKAGES))
    lacking = [name for name in depends if name.startswith("lib") and not _is_installed(name)]
    if lacking:
        _unpack(lacking)
    if not is_fetched():
        raise RealSoftwareMissing(f"Debian's {' and '.join(PACKAGES)} do not start here")


def _unpack(packages: Sequence[str]) -> list[str]:
    """Unpack these packages; returns the names that they depend on."""
    with tempfile.TemporaryDirectory() as folder:
        if not _download(packages, folder):
            # A machine that is new has no lists yet; only root can fetch them.
            subprocess.run(["apt-get", "-q", "update"], stdout=sys.stderr, check=False)
            if not _download(packages, folder):
                raise RealSoftwareMissing(f"`apt-get download {' '.join(packages)}` failed; run `apt-get update` first")
        depends: list[str] = []
        for package in sorted(Path(folder).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, PLACE], check=True)
            said = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True)
            depends += [match[0] for each in said.stdout.split(",") if (match := _DEPENDENCY.search(each))]
        return depends


def _download(packages: Sequence[str], folder: str) -> bool:
    command = ["apt-get", "-qq", "download", *packages]
    return subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False).returncode == 0


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "-W", "-f", "${Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.endswith(" installed")


if __name__ == "__main__":
    sys.exit(told(fetch))
