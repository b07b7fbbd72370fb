"""A bundle that somebody changed, and a file that was made to harm whoever checks it: each is named, exit code 7."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perhop.journal.bundle.contents import FILES, KEY, MANIFEST, NAMED, RADIUS, RECORDS
from perhop.journal.checkpoint import parse_checkpoint, sign_note
from perhop.journal.keys import JournalKey, load_vkey
from perhop.storage.bundle_file import LARGEST_BUNDLE
from tests.support.bundles import Parts, hashed_again, parts_of, with_json, with_lines, zipped
from tests.support.commands import Ran, perhop
from tests.support.incidents import LEAKED, STORIES, tell


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with a bundle of its incident beside it."""
    folder = tmp_path_factory.mktemp("verified") / "installation"
    tell(STORIES["mixed"](), folder)
    assert perhop("incident", LEAKED, "--bundle", "bundle.zip", folder=folder).code == 0
    return folder


@pytest.fixture
def parts(bundled: Path) -> Parts:
    return parts_of(bundled / "bundle.zip")


def _verify(content: bytes, folder: Path, *words: str) -> Ran:
    (folder / "handed-over.zip").write_bytes(content)
    return perhop("journal", "verify-bundle", "handed-over.zip", "--json", *words, folder=folder)


def _checked(content: bytes, bundled: Path, tmp_path: Path) -> Ran:
    return _verify(content, tmp_path, "--public-key", str(bundled / "keys/journal.vkey"))


def _forged(parts: Parts, key: JournalKey) -> Parts:
    """The checkpoint under another key of the same name, and in all proofs."""
    text = parse_checkpoint(parts["checkpoint"].decode()).text()
    note = f"{text}\n{sign_note(key, text)}"
    changed = with_lines(parts, lambda proofs: [each.update(checkpoint=note) for each in proofs])
    return changed | {"checkpoint": note.encode()}


def _body(change: Callable[[str], str], at: int = 2) -> Callable[[Parts], Parts]:
    def changed(parts: Parts) -> Parts:
        return with_lines(parts, lambda proofs: proofs[at].update(record=change(proofs[at]["record"])))

    return changed


def _proof(at: int = 2, **members: Any) -> Callable[[Parts], Parts]:
    return lambda parts: with_lines(parts, lambda proofs: proofs[at].update(members))


def _both(change: Callable[[Any], object]) -> Callable[[Parts], Parts]:
    """The blast radius in both places where it stands."""

    def changed(parts: Parts) -> Parts:
        parts = with_json(parts, RADIUS, change)
        return with_json(parts, "incident.json", lambda found: change(found["blast_radius"]))

    return changed


def _swap(proofs: list[Any]) -> None:
    proofs[2], proofs[3] = proofs[3], proofs[2]


TAMPERED: dict[str, tuple[Callable[[Parts], Parts], str]] = {
    "one letter of a record": (_body(lambda body: body.replace("list_events", "lost_events")), "line 3 of"),
    "a record under another number": (_body(lambda body: body.replace('"seq":', '"seq":1')), "line 3 of"),
    "a record as another": (_proof(seq=7), "the path does not lead from record 7"),
    "a shorter path": (_proof(path=[]), "the path does not lead from record"),
    "a path that is none": (_proof(path=[1]), "line 3 of `records.jsonl`: the proof is malformed"),
    "a proof of another format": (_proof(format="other/1"), "this is not a proof in the format"),
    "a number that is none": (_proof(seq=True), "one has the wrong type"),
    "a proof under another checkpoint": (_proof(checkpoint="x"), "under another checkpoint than"),
    "a record removed": (lambda p: with_lines(p, lambda proofs: proofs.pop(1)), "the report rests on record"),
    "an outcome removed": (lambda p: with_lines(p, lambda proofs: proofs.pop(2)), "`trace.json` is not the tree"),
    "all records removed": (lambda p: with_lines(p, list.clear), "the report rests on record"),
    "a record twice": (
        lambda p: with_lines(p, lambda proofs: proofs.insert(2, proofs[2])),
        "stands there twice, or out of order",
    ),
    "records swapped": (lambda p: with_lines(p, _swap), "stands there twice, or out of order"),
    "a cut end": (lambda p: p | {RECORDS: p[RECORDS][:-9]}, "ends within a line"),
    "a line that is no JSON": (lambda p: p | {RECORDS: p[RECORDS] + b"{\n"}, "is not JSON"),
    "a line that is no object": (lambda p: p | {RECORDS: p[RECORDS] + b"[]\n"}, "is not a JSON object"),
    "a checkpoint over more": (
        lambda p: p | {"checkpoint": p["checkpoint"].replace(b"\n2", b"\n3", 1)},
        "`checkpoint` does not verify: the signature is not right",
    ),
    "a checkpoint of another key": (
        lambda p: _forged(p, JournalKey.new("127.0.0.1:8420/journal")),
        "`checkpoint` does not verify: not signed by the key",
    ),
    "a checkpoint that is none": (lambda p: p | {"checkpoint": b"\xff"}, "`checkpoint` is not text"),
    "a key that is none": (lambda p: p | {KEY: b"key"}, "is not a public key of a journal"),
    "another key": (
        lambda p: p | {KEY: JournalKey.new("127.0.0.1:8420/journal").verify_key.vkey().encode()},
        "is not the key that was given",
    ),
    "a count": (_both(lambda radius: radius["did"][0].update(count=99)), "`did` in `blast-radius.json` is not what"),
    "a tool": (_both(lambda radius: radius["did"][0].update(name="harmless")), "`did` in `blast-radius.json`"),
    "a refusal left out": (_both(lambda radius: radius["refused"].clear()), "`refused` in `blast-radius.json`"),
    "a token issued that was not": (_both(lambda radius: radius["got"].append({})), "`got` in `blast-radius.json`"),
    "a token left out": (_both(lambda radius: radius["tokens"].clear()), "does not name the tokens"),
    "one blast radius of two": (
        lambda p: with_json(p, RADIUS, lambda radius: radius["did"].clear()),
        "the blast radius of `incident.json` is not",
    ),
    "a call in the tree": (
        lambda p: with_json(p, "trace.json", lambda tree: tree["hops"][0]["calls"].pop()),
        "`trace.json` is not the tree that the records make",
    ),
    "a hop in the tree": (lambda p: with_json(p, "trace.json", lambda tree: tree["hops"].clear()), "is not the tree"),
    "a tree that is none": (lambda p: with_json(p, "trace.json", dict.clear), "the report lacks a member"),
    "a signal that rests on nothing": (
        lambda p: with_json(p, "incident.json", lambda found: found["signals"][0]["records"].append(4711)),
        "the report rests on record 4711",
    ),
    "the token of the report": (
        lambda p: with_json(p, "incident.json", lambda found: found["token"].update(jti="another")),
        "speak of different tokens",
    ),
    "the token of the manifest": (
        lambda p: with_json(p, MANIFEST, lambda found: found.update(token="another")),
        "speak of different tokens",
    ),
    "the root of the report": (
        lambda p: with_json(p, "incident.json", lambda found: found["rests_on"].update(root="00")),
        "does not rest on the journal of",
    ),
    "a larger journal in the report": (
        lambda p: with_json(p, "incident.json", lambda found: found["rests_on"].update(records=10**6)),
        "does not rest on the journal of",
    ),
    "a member twice": (
        lambda p: p | {"incident.json": p["incident.json"].replace(b"{", b'{"signals": [],', 1)},
        "`incident.json` is not JSON",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_was_changed_is_named(what: str, parts: Parts, bundled: Path, tmp_path: Path) -> None:
    """Also by somebody who sees to it that the manifest fits again."""
    change, problem = TAMPERED[what]
    ran = _checked(zipped(hashed_again(change(parts)).items()), bundled, tmp_path)
    assert (ran.code, ran.json["ok"]) == (7, False), what
    assert problem in ran.json["problem"]
    assert ran.json["problem"] in ran.err


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_the_manifest_does_not_know_is_named(
    name: str, parts: Parts, bundled: Path, tmp_path: Path
) -> None:
    """One byte more in any file, without a change of the manifest."""
    ran = _checked(zipped((parts | {name: parts[name] + b"\n"}).items()), bundled, tmp_path)
    assert (ran.code, ran.json["problem"]) == (7, f"`{name}` is not the file that `manifest.json` names")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(name: str, parts: Parts, bundled: Path, tmp_path: Path) -> None:
    """Whichever it is."""
    del parts[name]
    ran = _checked(zipped(parts.items()), bundled, tmp_path)
    assert (ran.code, ran.json["problem"]) == (7, f"the bundle has no `{name}`")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda found: found.update(format="perhop-incident-bundle/2"), "is not of the format"),
        (lambda found: found.update(files=[]), "does not name the files"),
        (lambda found: found["files"].pop("README.txt"), "does not name the files"),
        (lambda found: found["files"].update({"../evil": "00"}), "does not name the files"),
        (lambda found: found.pop("token"), "does not say whose bundle"),
        (lambda found: found.update(records=3), "`records.jsonl` has"),
        (dict.clear, "is not of the format"),
    ],
)
def test_a_manifest_that_is_none_is_named(
    change: Callable[[Any], object], problem: str, parts: Parts, bundled: Path, tmp_path: Path
) -> None:
    """Its format, its files and its count are held to what a bundle has."""
    ran = _checked(zipped(with_json(parts, MANIFEST, change).items()), bundled, tmp_path)
    assert ran.code == 7
    assert problem in ran.json["problem"]


def test_whoever_signs_it_all_anew_is_found_by_the_key_that_came_another_way(
    parts: Parts, bundled: Path, tmp_path: Path
) -> None:
    """A forger's bundle holds together, and says that its key is its own; against the journal's key it is nothing."""
    forger = JournalKey.new(load_vkey(bundled / "keys/journal.vkey").name)
    content = zipped(hashed_again(_forged(parts, forger) | {KEY: forger.verify_key.vkey().encode()}).items())
    alone = _verify(content, tmp_path)
    assert (alone.code, alone.json["ok"], alone.json["key"]) == (0, True, "bundle")
    assert "not whose journal it is" in alone.err
    ran = _checked(content, bundled, tmp_path)
    assert (ran.code, ran.json["key"]) == (7, "given")
    assert "this is another journal's bundle" in ran.json["problem"]


def _entry(name: str, change: Callable[[zipfile.ZipInfo], object]) -> Callable[[Parts], bytes]:
    """A zip whose directory says something else of one file than is the case."""

    def changed(parts: Parts) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
            for each, content in parts.items():
                opened.writestr(each, content)
            change(opened.getinfo(name))
        return out.getvalue()

    return changed


def _with_zip64(parts: Parts) -> bytes:
    """A directory that sends whoever follows it to another one, from within a comment of its last file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for name, content in parts.items():
            opened.writestr(name, content)
        opened.getinfo(MANIFEST).comment = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[Parts], bytes], str]] = {
    "a path upwards": (lambda p: zipped([*p.items(), ("../../evil", b"")]), "holds a file `../../evil`"),
    "a path from the root": (lambda p: zipped([*p.items(), ("/etc/passwd", b"")]), "holds a file `/etc/passwd`"),
    "a folder": (lambda p: zipped([*p.items(), ("folder/", b"")]), "holds a file `folder/`"),
    "a name with a hidden end": (
        lambda p: zipped([*p.items(), ("README.txt_x", b"")]).replace(b"README.txt_x", b"README.txt\0x"),
        "which no bundle has",
    ),
    "a name twice": (lambda p: zipped([*p.items(), (RECORDS, b"")]), "holds `records.jsonl` 2 times"),
    "many files": (lambda p: zipped([*p.items(), *((f"f{n}", b"") for n in range(99))]), "its directory is not"),
    "a bomb": (lambda p: zipped((p | {"incident.html": bytes(65 * 2**20)}).items()), "`incident.html` is larger than"),
    "a long line": (
        lambda p: zipped(hashed_again(p | {RECORDS: b" " * (5 * 2**20)}).items()),
        "has a line of more than",
    ),
    "a deep document": (
        lambda p: zipped(hashed_again(p | {"incident.json": b"[" * 10**6}).items()),
        "`incident.json` is not JSON",
    ),
    "a promise of too much": (
        _entry(RECORDS, lambda entry: setattr(entry, "file_size", 2**31)),
        "which is too much",
    ),
    "a promise of too little": (_entry(RECORDS, lambda entry: setattr(entry, "file_size", 9)), "cannot be unpacked"),
    "a wrong checksum": (_entry(RECORDS, lambda entry: setattr(entry, "CRC", 1)), "cannot be unpacked"),
    "an encrypted file": (_entry(KEY, lambda entry: setattr(entry, "flag_bits", 1)), "cannot be unpacked"),
    "another name inside": (
        lambda p: zipped(p.items()).replace(b"journal.vkey", b"journal.vkex", 1),
        "cannot be unpacked",
    ),
    "another way of packing": (lambda p: zipped(p.items(), method=zipfile.ZIP_LZMA), "in a way that no bundle uses"),
    "another directory": (_with_zip64, "its directory is not that of one"),
    "something before it": (lambda p: b"#!/bin/sh\n" + zipped(p.items()), "its directory is not that of one"),
    "something behind it": (lambda p: zipped(p.items()) + b"\n", "does not end as a zip file does"),
    "a cut end": (lambda p: zipped(p.items())[:-30], "does not end as a zip file does"),
    "nothing": (lambda _: b"", "it is not a zip file"),
    "a text": (lambda _: b"this is no bundle at all, whatever its name says", "does not end as a zip file does"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_means_harm_is_named(what: str, parts: Parts, bundled: Path, tmp_path: Path) -> None:
    """Nothing is unpacked, nothing is read beyond its bound, and what is wrong is said."""
    make, problem = HOSTILE[what]
    ran = _checked(make(parts), bundled, tmp_path)
    assert ran.code == 7, ran.err
    assert problem in ran.err
    assert [each.name for each in tmp_path.iterdir()] == ["handed-over.zip"]


def test_a_file_beyond_the_bound_is_not_read(bundled: Path, tmp_path: Path) -> None:
    """Its size alone is enough; it takes no room on the disk here."""
    with (tmp_path / "huge.zip").open("wb") as file:
        file.truncate(LARGEST_BUNDLE + 1)
    ran = perhop("journal", "verify-bundle", "huge.zip", folder=tmp_path)
    assert ran.code == 7
    assert "has more than" in ran.err


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    """Exit code 6 for the bundle, 1 for the key."""
    assert perhop("journal", "verify-bundle", "nosuch.zip", folder=tmp_path).code == 6
    assert perhop("journal", "verify-bundle", "nosuch.zip", "--public-key", "nosuch", folder=tmp_path).code == 1


def test_the_untouched_bundle_verifies(parts: Parts, bundled: Path, tmp_path: Path) -> None:
    """Taken apart and put together again nothing is wrong with it, so whatever else was found was what was changed."""
    ran = _checked(zipped(hashed_again(parts).items()), bundled, tmp_path)
    assert (ran.code, ran.json["problem"], ran.json["records"]) == (0, "", len(parts[RECORDS].splitlines()))
    assert json.loads(parts[MANIFEST])["records"] == ran.json["records"]
