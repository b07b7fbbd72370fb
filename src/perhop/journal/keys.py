"""The journal's key: Ed25519, signs checkpoints; the key of the argument MAC is derived from it.

The private half is `journal.pem` (PKCS#8, mode 0600), the public half `journal.vkey`, one line of text that names the
log, and that every tool for C2SP notes reads.

Spec: C2SP signed-note §Ed25519 signatures
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from perhop.errors import KeyUnusable
from perhop.journal.whole_file import write_whole

PEM_FILE = "journal.pem"
VKEY_FILE = "journal.vkey"

_ED25519 = b"\x01"
_MAC_PURPOSE = b"perhop journal: arguments_mac: HMAC-SHA-256"
_MAC_LENGTH = 43
"""Letters of 32 bytes in base64url; padding and a line's end would follow."""

_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")


def decode_base64(text: str) -> bytes:
    """Standard base64, one spelling only. Raises: ValueError."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if base64.b64encode(decoded).decode() != text:
        raise ValueError("not canonical base64")
    return decoded


def is_key_name(name: str) -> bool:
    """True for a name that a note may carry: not empty, no space, no control character, no plus."""
    return bool(name) and "+" not in name and name.isprintable() and not any(each.isspace() for each in name)


def origin_of(issuer: str) -> str:
    """The name of the log of this issuer: a URL without its scheme, as C2SP recommends."""
    parts = urlsplit(issuer)
    return f"{parts.netloc}{parts.path.rstrip('/')}/journal"


@dataclass(frozen=True, slots=True)
class JournalVerifyKey:
    """The public half, and the name of the log (its origin)."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that point at the key; a hint, no proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def vkey(self) -> str:
        """The text of `journal.vkey`, without a newline."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def verifies(self, signature: bytes, text: bytes) -> bool:
        """True if the private half signed this text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


def parse_vkey(text: str) -> JournalVerifyKey:
    """Read the line of `journal.vkey`.

    Spec: C2SP signed-note §Signatures
    Raises: KeyUnusable
    """
    name, _, rest = text.strip("\r\n").partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        key = decode_base64(encoded)
    except ValueError as error:
        raise KeyUnusable("the journal's public key is not a verifier key: `name+id+base64`") from error
    if not is_key_name(name) or key[:1] != _ED25519 or len(key) != 33:
        raise KeyUnusable("the journal's public key is not an Ed25519 verifier key: `name+id+base64`")
    verify_key = JournalVerifyKey(name, key[1:])
    if key_id != verify_key.key_id.hex():
        raise KeyUnusable(f"the journal's public key was changed: its id is `{key_id}`, not that of name and key")
    return verify_key


class JournalKey:
    """The private half. Printing it shows the public half only."""

    __slots__ = ("_mac_inner", "_mac_outer", "_private", "verify_key")

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        if not is_key_name(name):
            raise KeyUnusable(f"`{name}` cannot name a journal: it must not be empty, nor hold spaces or `+`")
        self._private = private
        self.verify_key = JournalVerifyKey(name, private.public_key().public_bytes_raw())
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=_MAC_PURPOSE)
        self._mac_inner, self._mac_outer = _keyed(derive.derive(private.private_bytes_raw()))

    @classmethod
    def new(cls, name: str) -> JournalKey:
        """A fresh key for the log of this name."""
        return cls(name, Ed25519PrivateKey.generate())

    @property
    def name(self) -> str:
        return self.verify_key.name

    def sign(self, text: bytes) -> bytes:
        """Ed25519 signature over the text."""
        return self._private.sign(text)

    def mac(self, message: bytes) -> str:
        """HMAC-SHA-256, base64url without padding: equal messages show as equal, and nothing else shows."""
        # Both hashes are keyed already. Python's `hmac` takes three times as long, and `hmac.digest` would let the
        # other thread run in the middle of every call.
        inner, outer = self._mac_inner.copy(), self._mac_outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return binascii.b2a_base64(outer.digest())[:_MAC_LENGTH].translate(_TO_BASE64URL).decode()

    def derive(self, purpose: bytes) -> bytes:
        """32 bytes for another purpose, which say nothing of the key: so that an installation keeps one secret less."""
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"perhop journal: derived: " + purpose)
        return derive.derive(self._private.private_bytes_raw())

    def to_pem(self) -> bytes:
        """The text of `journal.pem`."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return f"JournalKey({self.verify_key.vkey()})"


def _keyed(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The inner and the outer hash of an HMAC-SHA-256, each after its first block: the key, padded (RFC 2104 §2)."""
    block = key.ljust(hashlib.sha256().block_size, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))


def parse_journal_key(pem: bytes, vkey: str) -> JournalKey:
    """Read both halves, and hold that they belong together; the log's name comes from the public half.

    Raises: KeyUnusable
    """
    public = parse_vkey(vkey)
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusable("the journal's key is not an unencrypted PKCS#8 PEM") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable("the journal's key is not an Ed25519 key")
    key = JournalKey(public.name, private)
    if key.verify_key != public:
        raise KeyUnusable("the journal's two key files do not belong together")
    return key


def load_journal_key(folder: Path) -> JournalKey:
    """Read `journal.pem` and `journal.vkey` of this folder.

    Raises: KeyUnusable
    """
    pem_file = folder / PEM_FILE
    pem = _read(pem_file)
    if pem_file.stat().st_mode & 0o077:
        raise KeyUnusable(f"others may read `{pem_file}`", advice=f"run `chmod 600 {pem_file}`")
    return parse_journal_key(pem, load_vkey(folder / VKEY_FILE).vkey())


def load_vkey(file: Path) -> JournalVerifyKey:
    """Read a public half from a file.

    Raises: KeyUnusable
    """
    try:
        return parse_vkey(_read(file).decode())
    except UnicodeDecodeError as error:
        raise KeyUnusable(f"`{file}` is not text") from error


def write_journal_key(folder: Path, key: JournalKey) -> None:
    """Write both files; neither may exist, since a journal without its key cannot be continued.

    Both are there afterwards, whole, or neither is.

    Raises: KeyUnusable
    """
    made: list[Path] = []
    for name, mode, content in (
        (PEM_FILE, 0o600, key.to_pem()),
        (VKEY_FILE, 0o644, f"{key.verify_key.vkey()}\n".encode()),
    ):
        try:
            write_whole(folder / name, content, mode=mode)
        except OSError as error:
            for half in made:
                half.unlink(missing_ok=True)  # one half alone would be taken for a key whose other half was lost
            raise KeyUnusable(f"cannot write `{folder / name}`: {error.strerror}") from error
        made.append(folder / name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise KeyUnusable(f"cannot read `{file}`: {error.strerror}", advice="run `perhop init`") from error
