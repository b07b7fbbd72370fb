"""What policy is asked, what it answers, and the proof that a call may go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.authentication import UNKNOWN, Authentication, AuthenticationWanted
from perhop.core.call import Call, Target
from perhop.core.resource import Resource
from perhop.core.task import Task
from perhop.core.token import BoundToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to policy. Names are configuration names; `subject` is a person (`user:...`) or None.

    `arguments` holds top-level strings, 64-bit integers and booleans; None stands for any other value that is there,
    and a policy that reads it cannot be evaluated. `actors` is the `act` chain, outermost first. `scopes` and
    `tenant` are the token's; `now` is seconds since the epoch; `ip` is the caller's address or empty. `task` is the one
    that the token names. `groups` are those of the subject, None where they are not known. `authentication` is what the
    token says of the person's sign-in.
    """

    target: Target
    agent: str
    server: str
    subject: str | None
    client_id: str
    actors: tuple[str, ...]
    scopes: frozenset[str]
    hop: int
    now: int
    arguments: Mapping[str, Any]
    tenant: str | None = None
    ip: str = ""
    revision: str = ""
    session: str = ""
    task: Task | None = None
    groups: frozenset[str] | None = None
    authentication: Authentication = UNKNOWN


@dataclass(frozen=True, slots=True)
class Allow:
    """Policy permits; `policies` are the `@id`s that satisfied it (empty where only a forbid could have spoken)."""

    policies: tuple[str, ...]
    policy_version: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """Policy would permit, once a person of the owner's team has approved exactly this call.

    `policies` are the `@id`s that satisfied it, `asking` those of them that want the approval.
    """

    policies: tuple[str, ...]
    policy_version: str
    asking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    """Policy does not permit. `failed` is True when a policy could not be evaluated: unsure means no.

    `wanted` is the sign-in with which it would permit, by the word of all the policies that forbid; None if that would
    change nothing.
    """

    policies: tuple[str, ...]
    policy_version: str
    failed: bool = False
    detail: str = ""
    wanted: AuthenticationWanted | None = None


Decision = Allow | NeedsApproval | Deny


@dataclass(frozen=True, slots=True)
class InForce:
    """A bound token that is good now, and the task that it names, if it names one: in force, too.

    Made by `perhop.gateway.authenticate` only.
    """

    bound: BoundToken
    task: Task | None


@dataclass(frozen=True, slots=True)
class Covered:
    """A call that is within the task of its token, or whose token names none. Made by `perhop.gateway.cover` only."""

    bound: BoundToken
    task: Task | None
    call: Call


@dataclass(frozen=True, slots=True)
class Allowed:
    """A covered call that scope, owner and policy allow, by itself or once a person has approved it.

    Made by `perhop.gateway.decide` only.
    """

    bound: BoundToken
    task: Task | None
    resource: Resource
    call: Call
    decision: Allow | NeedsApproval


@dataclass(frozen=True, slots=True)
class Approved:
    """An allowed call that needs no approval, or whose `approval` was used up for it; it is not counted yet.

    Made by `perhop.gateway.approve` only.
    """

    bound: BoundToken
    task: Task | None
    resource: Resource
    call: Call
    allow: Allow
    approval: str | None


@dataclass(frozen=True, slots=True)
class Permit:
    """Proof that this bound token may make this call on this resource, and that the call is counted.

    `approval` is the id of the one that lets it through, None where none was needed. Made by `perhop.gateway.count`
    only.
    """

    bound: BoundToken
    task: Task | None
    resource: Resource
    call: Call
    allow: Allow
    approval: str | None = None
