"""Issuers whose word we take for a token, what they may say, and an assertion of theirs that holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class AssertionKind(StrEnum):
    """What an issuer may assert: who a person is, for a client of ours; or which workload speaks."""

    IDENTITY_ASSERTION = "identity_assertion"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True)
class KeysByDiscovery:
    """The keys are where the issuer's own metadata says. Spec: RFC 8414 §3."""


@dataclass(frozen=True, slots=True)
class KeysAt:
    """The keys are at this URL of the configuration."""

    uri: str


@dataclass(frozen=True, slots=True)
class KeysHeld:
    """The keys are those of the configuration, as JWK members, and no others."""

    keys: tuple[Mapping[str, Any], ...]


KeySource = KeysByDiscovery | KeysAt | KeysHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRule:
    """Which workloads of an issuer are which client of ours.

    `subject` may hold `*`. `claims`: name, or JSON pointer, of a claim -> the value that it must have. `reaches`
    narrows what the client reaches; None leaves it.
    """

    subject: str
    claims: Mapping[str, str | int | bool]
    client: str
    reaches: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionIssuer:
    """An issuer that the configuration trusts to assert one kind of thing. `max_lifetime` is in seconds.

    `clients` are those that may bring identity assertions; `tenant` is the one tenant of the issuer that is meant,
    where it has several. `workloads` are looked at in order.
    """

    name: str
    issuer: str
    kind: AssertionKind
    owner: str
    keys: KeySource
    max_lifetime: int
    clients: tuple[str, ...] = ()
    tenant: str | None = None
    workloads: tuple[WorkloadRule, ...] = ()
    single_use: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAssertion:
    """An assertion whose signature, type, issuer, audience and times hold.

    Says nothing of who may bring it, what it gives, or whether it was used before.
    """

    issuer: AssertionIssuer
    subject: str
    jti: str | None
    issued_at: int | None
    expires_at: int
    claims: Mapping[str, Any]
