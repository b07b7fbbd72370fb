"""Checkpoints as C2SP signed notes, with the key and note of the format's reference implementation."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import KeyUnusable
from perhop.journal.checkpoint import (
    MAX_SIGNATURES,
    CheckpointInvalid,
    parse_checkpoint,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
)
from perhop.journal.keys import (
    JournalKey,
    load_journal_key,
    load_vkey,
    origin_of,
    parse_journal_key,
    parse_vkey,
    write_journal_key,
)
from perhop.journal.tree import Frontier, leaf_hash

# From golang.org/x/mod/sumdb/note: an example key that is public on purpose.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
STRANGER = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)

KEY = JournalKey("example.com/log", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TREE = Frontier().grown(leaf_hash(str(number).encode()) for number in range(5))
NOTE = sign_checkpoint(KEY, TREE)


def test_the_reference_key_signs_the_reference_note() -> None:
    """Key id, verifier key and signature line are byte for byte those of the reference implementation."""
    key = JournalKey("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED))
    assert key.verify_key.vkey() == VKEY
    assert sign_note(key, TEXT) == SIGNATURE


def test_strangers_signatures_are_passed_over() -> None:
    """A note with our signature and another's verifies; with only the other's it does not."""
    key = parse_vkey(VKEY)
    assert verify_note(f"{TEXT}\n{SIGNATURE}{STRANGER}", key) == TEXT
    with pytest.raises(CheckpointInvalid, match="not signed by"):
        verify_note(f"{TEXT}\n{STRANGER}", key)


@pytest.mark.parametrize(
    "note",
    [
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{SIGNATURE[:-1]}",
        f"\x01{TEXT}\n{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE.replace('PeterNeumann', 'Bad Name')}",
        f"{TEXT}\n{SIGNATURE.replace('PeterNeumann', 'a+b')}",
        f"{TEXT}\n{SIGNATURE}Unexpected line.\n",
        f"{TEXT}\n{SIGNATURE.replace(chr(0x2014), '-')}",
        f"{TEXT}\n{SIGNATURE.replace('nAM=', 'nAN=')}",
        f"{TEXT}\n{SIGNATURE * (MAX_SIGNATURES + 1)}",
        f"\n{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE}" + "x" * 70_000,
    ],
)
def test_malformed_notes_are_refused(note: str) -> None:
    """Anything but text, a blank line and signature lines is no note."""
    with pytest.raises(CheckpointInvalid):
        verify_note(note, parse_vkey(VKEY))


def test_a_wrong_signature_under_our_name_spoils_the_note() -> None:
    """A good signature does not help beside a bad one that claims our key."""
    bad = SIGNATURE.replace("ZJku", "ZJkv")
    with pytest.raises(CheckpointInvalid, match="not right"):
        verify_note(f"{TEXT}\n{SIGNATURE}{bad}", parse_vkey(VKEY))


def test_a_checkpoint_says_origin_size_and_root() -> None:
    """What was signed comes back, and the text has the three lines of the format."""
    checkpoint = verify_checkpoint(NOTE, KEY.verify_key)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == ("example.com/log", 5, TREE.root())
    assert NOTE.split("\n")[:4] == ["example.com/log", "5", base64.b64encode(TREE.root()).decode(), ""]
    assert parse_checkpoint(NOTE) == checkpoint


def test_every_changed_character_is_noticed() -> None:
    """No single character of a checkpoint can be changed."""
    for at, old in enumerate(NOTE):
        changed = NOTE[:at] + chr(ord(old) ^ 1) + NOTE[at + 1 :]
        with pytest.raises(CheckpointInvalid):
            verify_checkpoint(changed, KEY.verify_key)


@pytest.mark.parametrize(
    "text",
    [
        "example.com/log\n5\n",
        "example.com/log\n05\n" + "A" * 43 + "=\n",
        "example.com/log\n-1\n" + "A" * 43 + "=\n",
        "example.com/log\n5\nAAAA\n",
        "example.com/log\n5\n" + "A" * 43 + "=\nextension\n",
        "example.com/other\n5\n" + "A" * 43 + "=\n",
    ],
)
def test_signed_text_that_is_no_checkpoint_of_this_log(text: str) -> None:
    """A right signature over anything else than this log's checkpoint is refused."""
    with pytest.raises(CheckpointInvalid):
        verify_checkpoint(f"{text}\n{sign_note(KEY, text)}", KEY.verify_key)


def test_every_changed_character_of_a_verifier_key_is_noticed() -> None:
    """The key id binds name and key, so that no part of the line can be changed alone."""
    for at, old in enumerate(VKEY):
        with pytest.raises(KeyUnusable):
            parse_vkey(VKEY[:at] + chr(ord(old) + 1) + VKEY[at + 1 :])
    for end in range(len(VKEY)):
        with pytest.raises(KeyUnusable):
            parse_vkey(VKEY[:end])


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_other_kinds_of_verifier_keys_are_refused(vkey: str) -> None:
    """A key of the wrong length or of an unknown kind is refused although its id is right."""
    with pytest.raises(KeyUnusable):
        parse_vkey(vkey)


def test_key_files_round_trip(tmp_path: Path) -> None:
    """What is written is read back, the private half for the owner alone, and never overwritten."""
    key = JournalKey.new("127.0.0.1:8420/journal")
    write_journal_key(tmp_path, key)
    assert (tmp_path / "journal.pem").stat().st_mode & 0o777 == 0o600
    assert load_journal_key(tmp_path).verify_key == load_vkey(tmp_path / "journal.vkey") == key.verify_key
    with pytest.raises(KeyUnusable, match="cannot write"):
        write_journal_key(tmp_path, key)


def test_a_private_key_open_to_others_is_refused(tmp_path: Path) -> None:
    """A private half that others may read is not used."""
    write_journal_key(tmp_path, JournalKey.new("log"))
    (tmp_path / "journal.pem").chmod(0o640)
    with pytest.raises(KeyUnusable, match="others may read"):
        load_journal_key(tmp_path)


def test_halves_of_different_keys_are_refused() -> None:
    """Both files must belong together, or the log would be signed by a key that nobody verifies with."""
    with pytest.raises(KeyUnusable, match="do not belong together"):
        parse_journal_key(JournalKey.new("log").to_pem(), JournalKey.new("log").verify_key.vkey())


def test_only_ed25519_signs() -> None:
    """Another kind of key, or no key at all, is refused."""
    rsa = generate_private_key(public_exponent=65537, key_size=2048)
    pem = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (pem, b"", b"-----BEGIN PRIVATE KEY-----\n"):
        with pytest.raises(KeyUnusable):
            parse_journal_key(wrong, VKEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b"])
def test_names_that_a_note_cannot_carry(name: str) -> None:
    """A log's name holds no space, no plus and no control character."""
    with pytest.raises(KeyUnusable):
        JournalKey.new(name)


def test_the_origin_is_the_issuer_without_its_scheme() -> None:
    """The name of the log follows from the issuer."""
    assert origin_of("http://127.0.0.1:8420") == "127.0.0.1:8420/journal"
    assert origin_of("https://auth.example.com/tenant/") == "auth.example.com/tenant/journal"


def test_the_mac_depends_on_key_and_message_only() -> None:
    """Equal arguments give equal MACs under one key, and nothing recognisable under another."""
    other = JournalKey.new("example.com/log")
    assert KEY.mac(b"{}") == KEY.mac(b"{}") != KEY.mac(b'{"a":1}')
    assert KEY.mac(b"{}") != other.mac(b"{}")
    assert len(KEY.mac(b"{}")) == 43


@given(message=st.binary(max_size=200))
def test_the_mac_is_an_hmac_under_a_key_that_hkdf_derives(message: bytes) -> None:
    """Python's own HMAC-SHA-256 over the message, under the key of the format's page, in base64url."""
    info = b"perhop journal: arguments_mac: HMAC-SHA-256"
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(bytes(32))
    expected = hmac.digest(key, message, hashlib.sha256)
    assert base64.urlsafe_b64decode(KEY.mac(message) + "=") == expected


def test_printing_a_key_shows_the_public_half() -> None:
    """The private half is in no text."""
    assert repr(KEY) == f"JournalKey({KEY.verify_key.vkey()})"
