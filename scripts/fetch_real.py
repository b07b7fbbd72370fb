"""Fetches the pinned real software of requirements/npm into .cache, and says where it lies.

Exact versions with the integrity hashes of package-lock.json; no install script runs. Node 22 comes as a package too,
so that the Node of the machine, which only runs npm, does not matter.

    python -m scripts.fetch_real
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "npm"
PLACE = ROOT / ".cache" / "npm"
_STAMP = PLACE / ".ready"
_FILES = ("package.json", "package-lock.json")


class RealSoftwareMissing(RuntimeError):
    """The pinned software is not in .cache, or cannot be fetched."""


def is_fetched() -> bool:
    """True if what lies in .cache is what the pins say now."""
    return _STAMP.is_file() and _STAMP.read_text(encoding="ascii") == _pins_digest()


def fetch() -> None:
    """Install what is pinned, unless it is there. Raises: RealSoftwareMissing without npm or without its registry."""
    if is_fetched():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RealSoftwareMissing("no `npm` found; install Node with npm, any version that npm still supports")
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    for name in _FILES:
        shutil.copyfile(PINS / name, PLACE / name)
    print("fetch: installing what requirements/npm pins into .cache (half a minute the first time)", file=sys.stderr)
    flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--omit-lockfile-registry-resolved")
    done = subprocess.run([npm, "ci", *flags], cwd=PLACE, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise RealSoftwareMissing(f"npm ended with {done.returncode}")
    _STAMP.write_text(_pins_digest(), encoding="ascii")


def node() -> Path:
    """The pinned Node. Raises: RealSoftwareMissing when nothing is fetched, or no Node is packaged for this machine."""
    found = sorted((PLACE / "node_modules").glob("node-*/bin/node")) if is_fetched() else []
    if not found:
        raise RealSoftwareMissing("no pinned Node in .cache; run `make test-real`")
    return found[0]


def version_of(package: str) -> str:
    """The pinned version of a package."""
    pinned = json.loads((PINS / "package.json").read_text(encoding="utf-8"))
    return str(pinned["dependencies"][package])


def entry_of(package: str, command: str) -> Path:
    """The file that Node runs for a command of a package."""
    folder = PLACE / "node_modules" / package
    described = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    entry: str = described["bin"][command]
    return (folder / entry).resolve()


def environment(home: Path) -> dict[str, str]:
    """Variables for a Node program: the pinned Node first, and a home of its own to write in."""
    return {"PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}", "HOME": str(home)}


def _pins_digest() -> str:
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update((PINS / name).read_bytes())
    return digest.hexdigest()


def told(fetch: Callable[[], object]) -> int:
    """Fetch, and say on stderr what went wrong; returns the exit code."""
    try:
        fetch()
    except RealSoftwareMissing as missing:
        print(f"fetch: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(told(fetch))
