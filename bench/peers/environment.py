"""Environments of peers: what `requirements/NAME.txt` pins, installed into `.cache/bench/NAME`, hashes checked.

A peer's packages never meet ours, nor those of another peer. An environment is made anew when its pins change.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.fetch_real import ROOT

PLACE = ROOT / ".cache" / "bench"
REQUIREMENTS = Path(__file__).parent / "requirements"


class PeerMissing(RuntimeError):
    """A peer's environment could not be made."""


def bin_of(name: str, tell: Callable[[str], None]) -> Path:
    """The folder of programs of this environment, made if it is not there. Raises: PeerMissing."""
    folder, pins = PLACE / name, REQUIREMENTS / f"{name}.txt"
    stamp, digest = folder / ".ready", hashlib.sha256(pins.read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text(encoding="ascii") == digest):
        tell(f"installing what bench/peers/requirements/{name}.txt pins into .cache (a minute, once)")
        shutil.rmtree(folder, ignore_errors=True)
        _run(name, [sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        _run(name, [*pip, "--no-input", "--require-hashes", "--no-deps", "-r", str(pins)])
        stamp.write_text(digest, encoding="ascii")
    return folder / "bin"


def version_of(name: str, package: str) -> str:
    """The version of a package that is pinned for the running Python.

    Where several are pinned, each for other Pythons, the environment is asked.
    """
    found = re.findall(rf"^{re.escape(package)}==(\S+)", (REQUIREMENTS / f"{name}.txt").read_text("utf-8"), re.M)
    if len(found) == 1:
        return str(found[0])
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run(
        [str(PLACE / name / "bin" / "python"), "-c", ask], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "not installed"


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise PeerMissing(f"the environment of {name} could not be made: `{command[-1]}` ended with {done.returncode}")
