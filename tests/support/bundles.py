"""Bundles taken apart and put together again, as somebody would who means to deceive."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from perhop.journal.bundle.contents import MANIFEST, NAMED, RECORDS

Parts = dict[str, bytes]
"""The files of a bundle, by name."""


def parts_of(bundle: Path) -> Parts:
    """Take it apart."""
    with zipfile.ZipFile(bundle) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(entries: Iterable[tuple[str, bytes]], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these entries, whatever they are called."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened, warnings.catch_warnings(action="ignore"):
        for name, content in entries:
            opened.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def hashed_again(parts: Parts) -> Parts:
    """The same with a manifest that fits, as whoever changes a file would see to; it is signed by nobody."""
    manifest = json.loads(parts[MANIFEST])
    manifest["files"] = {name: hashlib.sha256(parts[name]).hexdigest() for name in NAMED if name in parts}
    manifest["records"] = parts[RECORDS].count(b"\n")
    return parts | {MANIFEST: json.dumps(manifest).encode()}


def with_json(parts: Parts, name: str, change: Callable[[Any], object]) -> Parts:
    """The same with one JSON file changed."""
    found = json.loads(parts[name])
    change(found)
    return parts | {name: json.dumps(found).encode()}


def with_lines(parts: Parts, change: Callable[[list[Any]], object]) -> Parts:
    """The same with the proofs changed."""
    proofs = [json.loads(line) for line in parts[RECORDS].splitlines()]
    change(proofs)
    return parts | {RECORDS: b"".join(json.dumps(each).encode() + b"\n" for each in proofs)}
