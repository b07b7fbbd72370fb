"""Workload identity: the platform that runs an agent says which one it is, and a rule of ours what that gives.

The assertion is all the proof that there is: no client secret lies beside the workload.

Spec: RFC 7523 §2.1
"""

from __future__ import annotations

from perhop.authorization_server.form import Form
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.client_credentials import authorize_itself, default_target
from perhop.authorization_server.grants.spent import spend_assertion
from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.core.assertion import VerifiedAssertion, WorkloadRule
from perhop.core.client import Client
from perhop.errors import AssertionOfAnother
from perhop.rules.resource_indicators import resolve_target
from perhop.rules.scope import parse_scope
from perhop.rules.workload import find_rule


async def authorize(asked: Asked, assertion: VerifiedAssertion, issuer: Issuer) -> Authorized:
    """Authorize a workload as the client that its rule names: at most what that client reaches, and the rule gives.

    Spec: RFC 7521 §5.2
    Raises: AssertionOfAnother, AssertionSpent, TargetMissing, TargetMultiple, TargetInvalid, ScopeInvalid,
        OwnerMissing, DetailsMalformed, TaskRefused, TargetOutsideTask, StorageUnavailable
    """
    rule = _rule(assertion, client_id=asked.client.id)
    target = resolve_target(
        asked.form.all("resource"),
        audience_values=asked.form.all("audience"),
        default=default_target(asked.client, issuer),
    )
    scopes, details = parse_scope(asked.form.one("scope")), asked.form.one("authorization_details")
    authorized = authorize_itself(
        asked.client, target, scopes, issuer, now=asked.now, details=details, within=rule.reaches
    )
    await spend_assertion(assertion, issuer)
    return authorized


def client_of(assertion: VerifiedAssertion, form: Form, issuer: Issuer) -> Client:
    """The client that a workload is, by the first rule that it fits, where nothing else in the request proves one.

    Spec: RFC 7521 §4.1
    Raises: AssertionOfAnother, ClientDisabled, ClientExpired, OwnerMissing
    """
    rule = _rule(assertion, client_id=form.one("client_id"))
    client = issuer.registry.clients.get(rule.client)
    if client is None:
        raise AssertionOfAnother(f"client `{rule.client}` is not defined")
    issuer.standing.check_client(client, issuer.registry, now=issuer.now())
    return client


def _rule(assertion: VerifiedAssertion, *, client_id: str | None) -> WorkloadRule:
    trusted = assertion.issuer
    rule = find_rule(trusted.workloads, assertion.claims, client=client_id)
    if rule is None:
        leads = "" if client_id is None else f" that leads to client `{client_id[:128]}`"
        raise AssertionOfAnother(f"workload `{assertion.subject}` of issuer `{trusted.name}` fits no rule{leads}")
    return rule
