"""The signing keys of an installation: files for the keys, the database for their states.

A new key is published before it signs, so that no verifier meets a signature of a key that it has not heard of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perhop.authorization_server.store import KeyStates
from perhop.errors import KeyUnusable, OperatorError
from perhop.journal.whole_file import write_whole
from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.tokens.keys import Algorithm, Keyring, KeyState, SigningKey

PREPARED_SECONDS = 660
"""From publishing to signing: twice the JWKS' `max-age` of 300 s, and a minute for clocks."""

RETIRED_SECONDS = MAX_LIFETIME + 2 * MAX_SKEW
"""From retiring to leaving the JWKS: no token of the key can be in force any more. A key set does not grow for ever."""

AT_ONCE_PAUSE = 30
"""Between two keys that sign at once: a guard looks for a key that it does not know at most so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """A new signing key; `signs_from` is when it becomes active, seconds since the epoch."""

    kid: str
    algorithm: Algorithm
    state: KeyState
    signs_from: int


class SigningKeys:
    """The keys in `keys/signing-KID.pem` and their states."""

    def __init__(self, folder: Path, states: KeyStates, *, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._states = states
        self._clock = clock

    async def load(self) -> Keyring:
        """Read every key file. A key without a state is prepared, unless it is the only one.

        A key that has been retired for RETIRED_SECONDS is not among them.

        Raises: KeyUnusable, StorageUnavailable
        """
        keys = [load_signing_key(file) for file in sorted(self._folder.glob("signing-*.pem"))]
        if not keys:
            raise KeyUnusable(f"there is no signing key in `{self._folder}`", advice="run `perhop init`")
        since = await self._states.all()
        states = {kid: KeyState(state) for kid, (state, _) in since.items()}
        fresh = KeyState.PREPARED if states else KeyState.ACTIVE
        missing = {key.kid: fresh for key in keys if key.kid not in states}
        if missing:
            await self._states.set({kid: state.value for kid, state in missing.items()}, now=self._now())
        lost = [kid for kid, state in states.items() if state is KeyState.ACTIVE and kid not in {k.kid for k in keys}]
        if lost:
            raise KeyUnusable(
                f"the active signing key `{self._folder / f'signing-{lost[0]}.pem'}` is missing",
                advice="restore the file from a backup",
            )
        gone = self._long_retired(since)
        return Keyring(tuple((key, (states | missing)[key.kid]) for key in keys if key.kid not in gone))

    async def rotate(
        self, keyring: Keyring, algorithm: Algorithm | None, *, at_once: bool, revoke_others: bool
    ) -> tuple[Keyring, Rotated]:
        """Make a key, of the active one's algorithm unless named; prepared, or active at once.

        With `revoke_others` it is active at once, and no signature of any other key counts any more: for keys that
        may have leaked. A second one at once within AT_ONCE_PAUSE is refused: a guard might not look for it in time.

        Raises: KeyUnusable, OperatorError, StorageUnavailable
        """
        if at_once and not revoke_others:
            await self._check_pause()
        key = SigningKey.generate(algorithm or keyring.active.algorithm)
        write_signing_key(self._folder, key)
        grown = Keyring((*keyring.entries, (key, KeyState.PREPARED)))
        states = {key.kid: KeyState.PREPARED}
        if at_once or revoke_others:
            states = {keyring.active.kid: KeyState.RETIRED, key.kid: KeyState.ACTIVE}
        if revoke_others:
            states |= {other.kid: KeyState.REVOKED for other, _ in keyring.entries}
        grown = await self._set(grown, states)
        is_active = states[key.kid] is KeyState.ACTIVE
        signs_from = self._now() + (0 if is_active else PREPARED_SECONDS)
        return grown, Rotated(kid=key.kid, algorithm=key.algorithm, state=states[key.kid], signs_from=signs_from)

    async def revoke(self, keyring: Keyring, kids: Sequence[str]) -> Keyring:
        """Let no signature of these keys count any more; the active one must not be among them.

        Raises: KeyUnusable, StorageUnavailable
        """
        return await self._set(keyring, dict.fromkeys(kids, KeyState.REVOKED))

    async def _check_pause(self) -> None:
        """Raises: OperatorError, StorageUnavailable."""
        retired = [since for state, since in (await self._states.all()).values() if state == KeyState.RETIRED]
        wait = max(retired, default=0) + AT_ONCE_PAUSE - self._now()
        if wait > 0:
            raise OperatorError(
                f"another key began to sign less than {AT_ONCE_PAUSE} s ago; guards may not look for a second one yet",
                advice=f"wait {wait} s, or leave out `--now`; if keys have leaked, use `--revoke-others`",
            )

    def _long_retired(self, since: Mapping[str, tuple[str, int]]) -> frozenset[str]:
        last = self._now() - RETIRED_SECONDS
        return frozenset(kid for kid, (state, at) in since.items() if state == KeyState.RETIRED and at <= last)

    async def advance(self, keyring: Keyring) -> Keyring | None:
        """Activate the prepared key whose time has come, and drop those that have been retired long enough.

        None if there is nothing to change.

        Raises: StorageUnavailable
        """
        since = await self._states.all()
        gone = self._long_retired(since) & {key.kid for key, _ in keyring.entries}
        due = [
            key.kid
            for key, state in keyring.entries
            if state is KeyState.PREPARED and since[key.kid][1] + PREPARED_SECONDS <= self._now()
        ]
        kept = Keyring(tuple(entry for entry in keyring.entries if entry[0].kid not in gone)) if gone else keyring
        if due:
            return await self._set(kept, {kept.active.kid: KeyState.RETIRED, due[-1]: KeyState.ACTIVE})
        return kept if gone else None

    async def _set(self, keyring: Keyring, states: Mapping[str, KeyState]) -> Keyring:
        await self._states.set({name: state.value for name, state in states.items()}, now=self._now())
        return keyring.with_states(states)

    def _now(self) -> int:
        return int(self._clock())


def load_signing_key(file: Path) -> SigningKey:
    """Read one private key, and refuse a file that others may read.

    Raises: KeyUnusable
    """
    try:
        if file.stat().st_mode & 0o077:
            raise KeyUnusable(f"others may read `{file}`", advice=f"run `chmod 600 {file}`")
        pem = file.read_bytes()
    except OSError as error:
        raise KeyUnusable(f"cannot read `{file}`: {error.strerror}", advice="run `perhop init`") from error
    try:
        return SigningKey.from_pem(pem)
    except KeyUnusable as error:
        raise KeyUnusable(f"`{file}`: {error.problem}", advice=error.advice()) from error


def write_signing_key(folder: Path, key: SigningKey) -> Path:
    """Write `signing-KID.pem`, mode 0600, which must not exist; whole or not at all.

    Raises: KeyUnusable
    """
    file = folder / f"signing-{key.kid}.pem"
    try:
        write_whole(file, key.as_pem().reveal().encode("ascii"), mode=0o600)
    except OSError as error:
        raise KeyUnusable(f"cannot write `{file}`: {error.strerror}") from error
    return file
