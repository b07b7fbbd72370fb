"""The trail of one request: what the journal will say of it. Every step returns a new trail.

INVARIANT: a trail holds no token; of one whose signature did not hold, only a digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final, assert_never

from perhop.core.call import Call
from perhop.core.decision import Permit
from perhop.core.resource import DataPlane, Resource
from perhop.core.token import HopToken, NoCredential, Onward, TokenDraft, VerifiedToken
from perhop.errors import (
    PerhopError,
    PolicyRefused,
    ProofNonceNeeded,
    Refused,
    SenderMismatch,
    SessionMismatch,
    TokenExpired,
    Unavailable,
)
from perhop.gateway.decide import recorded_arguments
from perhop.gateway.gate import Gate
from perhop.gateway.kept_facts import inbound_facts, outbound_facts, permitting, request_facts
from perhop.gateway.kept_records import KeptRecords, find_kept, keep
from perhop.gateway.request import Request
from perhop.gateway.sessions import session_fingerprint
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Event,
    Inbound,
    Outbound,
    Record,
    RequestFacts,
    ResultFacts,
    TaskFacts,
)
from perhop.rules.bearer import parse_presented
from perhop.rules.refusal_body import refusal_status

MAX_USER_AGENT = 256
INTERNAL = "internal"
"""The `error` of a request that ended in an error of our own."""

_GATEWAY = DataPlane.GATEWAY
_as_tuple = tuple.__new__  # as `CallFacts(...)`, without the function that Python writes for it


class Trail:
    """What is known so far. `permit` and `draft` only once the permit is about to be recorded.

    `unverified` is the digest of what came as a token, once somebody wants it: see `naming_token`. `kept` holds what
    the two records of such a call share, where that was kept.

    Nothing is assigned but where a trail is made, by place: every step of every call makes one.
    """

    __slots__ = (
        *("call_id", "started", "http_method", "resource", "request", "caller", "task"),
        *("call", "facts", "permit", "draft", "kept", "unverified"),
    )

    def __init__(
        self,
        call_id: str,
        started: float,
        http_method: str,
        resource: Resource,
        request: RequestFacts,
        caller: VerifiedToken | None = None,
        task: TaskFacts | None = None,
        call: Call | None = None,
        facts: CallFacts | None = None,
        permit: Permit | None = None,
        draft: TokenDraft | None = None,
        kept: KeptRecords | None = None,
        unverified: str | None = None,
    ) -> None:
        self.call_id: Final = call_id
        self.started: Final = started
        self.http_method: Final = http_method
        self.resource: Final = resource
        self.request: Final = request
        self.caller: Final = caller
        self.task: Final = task
        self.call: Final = call
        self.facts: Final = facts
        self.permit: Final = permit
        self.draft: Final = draft
        self.kept: Final = kept
        self.unverified: Final = unverified

    @classmethod
    def of(cls, request: Request, gate: Gate) -> Trail:
        """The trail of a request of which nothing is known."""
        agent = request.header("user-agent")
        facts = request_facts(request.address, agent[:MAX_USER_AGENT] if agent else None, None)
        return Trail(gate.new_call_id(), gate.clock(), request.http_method, gate.resource, facts)

    def by(self, caller: VerifiedToken, gate: Gate) -> Trail:
        """The token's signature and times hold. Whether the task that it names is any good is not known yet."""
        task = gate.tasks.facts(caller.task)
        return Trail(self.call_id, self.started, self.http_method, self.resource, self.request, caller, task)

    def asking(self, call: Call, gate: Gate) -> Trail:
        """The message is understood. Of its arguments a MAC is kept, and what the resource's owner has recorded."""
        resource, request, arguments = self.resource, self.request, call.arguments
        facts = _as_tuple(
            CallFacts,
            (
                self.call_id,
                call.method,
                call.name,
                call.revision,
                None if resource.data_plane is _GATEWAY else resource.data_plane.value,
                gate.journal.mac(arguments) if arguments is not None else None,
                recorded_arguments(call, gate) if resource.record_arguments else None,
            ),
        )
        if call.session is not None:
            request = request_facts(request.ip, request.user_agent, session_fingerprint(call.session))
        return Trail(
            self.call_id, self.started, self.http_method, resource, request, self.caller, self.task, call, facts
        )

    def permitted(self, permit: Permit, onward: Onward) -> Trail:
        """The call may go on, with this."""
        draft: TokenDraft | None
        match onward:
            case HopToken():
                draft = onward.minted.draft
            case NoCredential():
                draft = None
            case _:
                assert_never(onward)
        kept = find_kept(self, permit, draft) or keep(self._going_on(permit, draft, None))
        return self._going_on(permit, draft, kept)

    def _going_on(self, permit: Permit, draft: TokenDraft | None, kept: KeptRecords | None) -> Trail:
        return Trail(
            self.call_id,
            self.started,
            self.http_method,
            self.resource,
            self.request,
            self.caller,
            self.task,
            self.call,
            self.facts,
            permit,
            draft,
            kept,
        )

    def naming_token(self, request: Request) -> Trail:
        """With a digest of what came as a token, if nothing better is known of it: for a record that says no."""
        if self.caller is not None:
            return self
        unverified = _digest_of_token(request)
        return Trail(self.call_id, self.started, self.http_method, self.resource, self.request, unverified=unverified)

    def permit_record(self) -> Record:
        """The record that must be durable before anything is forwarded."""
        if self.kept is not None and self.facts is not None:
            return self.kept.permit.record(self.facts, None)
        assert self.permit is not None
        allow, approval = self.permit.allow, self.permit.approval
        decision = permitting(allow.policies, allow.policy_version)
        return self._record(
            Event.CALL_PERMITTED,
            inbound=self._inbound(),
            outbound=outbound_facts(self.draft) if self.draft else None,
            decision=decision if approval is None else replace(decision, approval=approval),
        )

    def refusal_record(self, fact: Refused | Unavailable) -> Record:
        """The one record of a request that was not permitted."""
        return self._record(
            Event.SESSION_REFUSED if isinstance(fact, SessionMismatch) else Event.CALL_REFUSED,
            reason=fact.reason,
            inbound=self._inbound(fact),
            decision=_denied(fact),
            # Of a client that has just begun it is no more than the way to a nonce, and must be told apart.
            result=ResultFacts(
                status=refusal_status(fact), error=fact.error if isinstance(fact, ProofNonceNeeded) else None
            ),
            detail=fact.detail or None,
            request=replace(self.request, sender_key=fact.key) if isinstance(fact, SenderMismatch) else self.request,
        )

    def end_record(self, *, status: int | None, error: str | None, now: float, detail: str | None = None) -> Record:
        """The outcome of a permitted call."""
        took = round((now - self.started) * 1000)
        result = _as_tuple(ResultFacts, (status, error, took if took > 0 else 0))
        if self.kept is not None and self.facts is not None and detail is None:
            return self.kept.end.record(self.facts, result)
        return self._record(
            Event.CALL_ENDED,
            inbound=self._inbound(),
            outbound=outbound_facts(self.draft) if self.draft else None,
            result=result,
            detail=detail,
        )

    def failure_record(self, failure: BaseException, *, now: float) -> Record:
        """A request that ended in our own error, or whose caller went away before there was an answer."""
        error = type(failure).__name__
        if self.permit is not None:
            return self.end_record(status=500, error=INTERNAL, now=now, detail=error)
        return self._record(
            Event.CALL_REFUSED, inbound=self._inbound(), result=ResultFacts(status=500, error=INTERNAL), detail=error
        )

    def _inbound(self, fact: Refused | Unavailable | None = None) -> Inbound | None:
        if self.caller is not None:
            return inbound_facts(self.caller)
        if isinstance(fact, TokenExpired) and fact.jti is not None:
            return Inbound(jti=fact.jti)  # its signature held
        return Inbound(unverified=self.unverified) if self.unverified is not None else None

    def _call_facts(self, *, with_arguments: bool) -> CallFacts:
        facts = self.facts
        if facts is None:
            return CallFacts(id=self.call_id, method=self.http_method, data_plane=_data_plane(self.resource))
        return facts if with_arguments or facts.arguments is None else facts._replace(arguments=None)

    def _record(
        self,
        event: Event,
        *,
        reason: str | None = None,
        inbound: Inbound | None = None,
        outbound: Outbound | None = None,
        decision: DecisionFacts | None = None,
        request: RequestFacts | None = None,
        result: ResultFacts | None = None,
        detail: str | None = None,
    ) -> Record:
        draft, caller, resource = self.draft, self.caller, self.resource
        chain = draft or caller
        return Record(
            event=event,
            reason=reason,
            txn=chain.txn if chain is not None else None,
            hop=chain.hop if chain is not None else None,
            parent_jti=draft.parent_jti if draft is not None else None,
            inbound=inbound,
            outbound=outbound,
            call=self._call_facts(with_arguments=decision is not None),
            decision=decision,
            task=self.task,
            request=request or self.request,
            result=result,
            owner=resource.owner,
            tenant=resource.tenant,
            resource=resource.name,
            client=caller.client_id if caller is not None else None,
            detail=detail,
        )


def _data_plane(resource: Resource) -> str | None:
    """The data plane that a record names: None where we carry the call ourselves."""
    return None if resource.data_plane is DataPlane.GATEWAY else resource.data_plane.value


def _denied(fact: Refused | Unavailable) -> DecisionFacts | None:
    """What policy said, where it was asked at all."""
    if isinstance(fact, PolicyRefused) and fact.policy_version:
        return DecisionFacts(
            effect="deny", policies=fact.policies, policy_version=fact.policy_version, approval=fact.approval
        )
    return None


def _digest_of_token(request: Request) -> str | None:
    """The digest of what came as a token, good or not; None if none came."""
    try:
        return hashlib.sha256(parse_presented(request.headers).token.encode()).hexdigest()
    except PerhopError:
        values = request.all("authorization")
        return hashlib.sha256("\n".join(values).encode("latin-1", "replace")).hexdigest() if values else None
