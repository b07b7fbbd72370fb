"""The record: one event of the journal, as a value.

Never holds a token, a secret or an argument value, but those of the arguments that a resource lists in
`record_arguments`. `seq` and `time` are given by the writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from perhop.core.actor import Actor
from perhop.core.task import Task
from perhop.core.token import BoundToken, Sender, SenderKey, TokenDraft, VerifiedToken


def act_claim(actor: Actor | None) -> dict[str, Any] | None:
    """The chain as the claim has it, outermost first: `{"sub": ..., "act": {...}}`. Spec: RFC 8693 §4.1."""
    claim: dict[str, Any] | None = None
    for subject in reversed(tuple(actor.chain()) if actor else ()):
        claim = {"sub": subject} if claim is None else {"sub": subject, "act": claim}
    return claim


def cnf_claim(sender: Sender | None) -> dict[str, str] | None:
    """The key that a token is bound to, as the claim has it; None for a bearer token. Spec: RFC 9449 §6.1."""
    return {"jkt": sender.thumbprint} if isinstance(sender, SenderKey) else None


class Event(StrEnum):
    """Every event that is recorded."""

    TOKEN_ISSUED = "token.issued"
    TOKEN_REFUSED = "token.refused"
    CALL_PERMITTED = "call.permitted"
    CALL_ENDED = "call.ended"
    CALL_REFUSED = "call.refused"
    CALL_ADMITTED = "call.admitted"
    SESSION_REFUSED = "session.refused"
    ACCESS_EVALUATED = "access.evaluated"
    ACCESS_SEARCHED = "access.searched"
    ACCESS_REFUSED = "access.refused"
    REVOCATION = "revocation"
    KEY_CHANGED = "key.changed"
    POLICY_CHANGED = "policy.changed"
    CONFIG_LOADED = "config.loaded"
    ACCOUNT_CHANGED = "account.changed"
    CLIENT_CHANGED = "client.changed"
    TASK_CHANGED = "task.changed"
    APPROVAL_CHANGED = "approval.changed"
    JOURNAL_SUPPRESSED = "journal.suppressed"
    JOURNAL_ARCHIVED = "journal.archived"


KEPT_HERE: Mapping[str, str] = {"kept": "journal"}
"""In `about` of a `token.issued`: this is the token's only durable record, beside which the database has no row."""


class Part:
    """What the parts have in common that many records share: `written` is their text, once it was made.

    Parts that are new in every record are tuples: nothing is made faster, and their text is not kept.
    """

    __slots__ = ("written",)
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound(Part):
    """The token that came in, or only `unverified` (hex SHA-256 of it) when its signature did not hold.

    `tenant` is the token's own claim, not its resource's tenant. `cnf` says to which key it is bound, if to one.
    `auth_time` and `acr` are what it says of the person's sign-in.
    """

    jti: str | None = None
    aud: str | None = None
    sub: str | None = None
    agent: str | None = None
    client_id: str | None = None
    act: Any | None = None
    scope: str | None = None
    exp: int | None = None
    tenant: str | None = None
    cnf: Mapping[str, str] | None = None
    auth_time: int | None = None
    acr: str | None = None
    unverified: str | None = None

    @classmethod
    def of(cls, token: VerifiedToken | BoundToken) -> Inbound:
        """What the journal keeps of a token whose signature held."""
        verified = token.token if isinstance(token, BoundToken) else token
        return cls(
            jti=verified.jti,
            aud=verified.audience,
            sub=verified.subject,
            agent=verified.agent,
            client_id=verified.client_id,
            act=act_claim(verified.actor),
            scope=" ".join(sorted(verified.scopes)),
            exp=verified.expires_at,
            tenant=verified.tenant,
            cnf=cnf_claim(verified.sender),
            auth_time=verified.authentication.time,
            acr=verified.authentication.acr,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound(Part):
    """The token that went out. `sub` and `act` say for whom and through whom, where no later record would."""

    jti: str
    aud: str
    scope: str
    exp: int
    sub: str | None = None
    act: Any | None = None
    cnf: Mapping[str, str] | None = None

    @classmethod
    def of(cls, draft: TokenDraft) -> Outbound:
        """What the journal keeps of a token that we mint."""
        return cls(
            jti=draft.jti,
            aud=draft.audience,
            scope=" ".join(sorted(draft.scopes)),
            exp=draft.expires_at,
            sub=draft.subject,
            act=act_claim(draft.actor),
            cnf=cnf_claim(draft.sender),
        )


class CallFacts(NamedTuple):
    """The call: `id` is ours, `arguments_mac` an HMAC-SHA-256 of the arguments under a key of the journal.

    `arguments` holds what policy saw of the arguments that the resource lists: a value, None for one that was not
    there, an empty object for one that policy cannot read. `data_plane` is set where another proxy carries the call:
    then we see no outcome of it, and record none.
    """

    id: str
    method: str
    name: str | None = None
    revision: str | None = None
    data_plane: str | None = None
    arguments_mac: str | None = None
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts(Part):
    """What policy said: `effect` is `permit` or `deny`.

    `approval` is the id of the one that lets the call through, that it waits for, or that was denied.
    """

    effect: str
    policies: tuple[str, ...]
    policy_version: str
    approval: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts(Part):
    """The task under which it happened; `purpose` in its client's words, None where the task is not known here."""

    id: str
    purpose: str | None = None

    @classmethod
    def of(cls, task: Task) -> TaskFacts:
        """What the journal keeps of a task that is known."""
        return cls(id=task.id, purpose=task.purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts(Part):
    """Where the request came from; `session` is a fingerprint, never the id.

    `sender_key` is the thumbprint of the key whose possession was proved instead of the token's.
    """

    ip: str | None = None
    user_agent: str | None = None
    session: str | None = None
    sender_key: str | None = None


class ResultFacts(NamedTuple):
    """How it ended: `status` is HTTP's, `error` a JSON-RPC code, `tool_error`, `cut`, `cancelled` or a reason."""

    status: int | None = None
    error: str | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts(Part):
    """Who says so, where it is not we who saw it: `by` is the client that answers for the server.

    `id` is the server's own for this report, `time` the moment by the server's clock, as the journal writes times.
    """

    by: str
    id: str
    time: str


class Record(NamedTuple):
    """One event. `reason` is a dotted code or None; `resource` and `client` are configuration names.

    `txn`, `hop` and `parent_jti` are those of `outbound`; without one, those of `inbound`. `call.id` joins a permit
    and its outcome, and what the server reports of the same call.
    `detail` is for operators: no token, secret or argument value, ever. `about` names the object of a change.
    `alike` is no part of the event: it holds what was written of one like it, see `Alike`.
    """

    event: Event
    reason: str | None = None
    txn: str | None = None
    hop: int | None = None
    parent_jti: str | None = None
    inbound: Inbound | None = None
    outbound: Outbound | None = None
    decision: DecisionFacts | None = None
    task: TaskFacts | None = None
    report: ReportFacts | None = None
    request: RequestFacts | None = None
    owner: str | None = None
    tenant: str | None = None
    resource: str | None = None
    client: str | None = None
    detail: str | None = None
    about: Mapping[str, Any] | None = None
    call: CallFacts | None = None
    result: ResultFacts | None = None
    alike: Alike | None = None


SHARED = Record._fields.index("call")
"""So many members of a record are the same in all that are alike; the call and its result follow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alike:
    """Records that differ only in id, arguments and result of their call: what they share, and what is written of it.

    INVARIANT: the texts and facets count for a record whose members are `members`, of a call that is `called`, and for
    no other; whoever takes them compares. Made by `perhop.journal.alike` only.
    """

    members: tuple[Any, ...]
    called: tuple[str | None, ...]
    until_call: str
    until_id: str
    after_id: str
    until_time: str
    after_time: str
    facets_until_call: tuple[Any, ...]
    facets_until_result: tuple[Any, ...]

    def record(self, call: CallFacts, result: ResultFacts | None) -> Record:
        """A record of this kind. Does not look whether the call is one."""
        return _as_tuple(Record, (*self.members, call, result, self))


_as_tuple = tuple.__new__  # as `Record(...)`, without the function that Python writes for it
