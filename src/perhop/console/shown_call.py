"""What a person is shown of a call that waits, as one value: what was decided on is exactly this."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from perhop.authorization_server.interaction.rendering import visible
from perhop.console.console import Console
from perhop.core.approval import Approval
from perhop.core.client import Client
from perhop.core.owner import Owner
from perhop.core.resource import Resource
from perhop.core.task import Task
from perhop.errors import ApprovalClosed
from perhop.gateway.approvals import StoredApproval
from perhop.rules.approval import call_digest
from perhop.rules.canonical_json import canonical_json

_LINE = 120
"""Characters of a call that stand in the list."""

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(:?)')


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """A call that waits, with what the configuration says of everybody in it.

    `agent` and `presenter` are None if the configuration does not know them any more. `person` is the e-mail address
    for whom the agent acts, None if it acts for itself or the account is gone. `policies` are ids with their reasons.
    """

    approval: Approval
    resource: Resource
    owner: Owner
    agent: Client | None
    presenter: Client | None
    person: str | None
    task: Task | None
    task_approver: str | None
    policies: tuple[tuple[str, str], ...]
    params: Mapping[str, Any]

    @property
    def is_for_itself(self) -> bool:
        """True if no person stands behind the call."""
        return self.approval.call.subject == self.approval.call.agent

    def digest(self) -> str:
        """Hex SHA-256 of everything that stands on the page; a form is good for this only."""
        said = {
            "approval": self.approval.id,
            "call": call_digest(self.approval.call),
            "presenter": self.approval.client_id,
            "name": self.approval.name,
            "agent": _client(self.agent),
            "person": self.person,
            "resource": [self.resource.name, self.resource.uri, self.resource.risk.value, self.owner.name],
            "task": None if self.task is None else [self.task.purpose, self.task_approver],
            "policies": [list(each) for each in self.policies],
        }
        return hashlib.sha256(canonical_json(said)).hexdigest()


def _client(client: Client | None) -> list[str] | None:
    return None if client is None else [client.id, client.purpose, client.owner]


async def shown_call(stored: StoredApproval, owner: Owner, console: Console) -> ShownCall:
    """Look everything up that the page says. Does not look who will see it.

    Raises: ApprovalClosed, StorageUnavailable
    """
    approval, registry = stored.approval, console.issuer.registry
    params = console.approvals.params_of(stored)
    if params is None:
        raise ApprovalClosed(f"what approval `{approval.id}` is about is kept no more")
    task = console.issuer.tasks.find(approval.call.task)
    emails = await emails_by_subject(console)
    return ShownCall(
        approval=approval,
        resource=registry.resources[approval.resource],
        owner=owner,
        agent=registry.clients.get(approval.call.agent),
        presenter=registry.clients.get(approval.client_id),
        person=emails.get(approval.call.subject),
        task=task,
        task_approver=emails.get(task.subject or "", task.subject) if task is not None and task.is_approved else None,
        policies=tuple((each, console.policies.reason_of(each)) for each in approval.policies),
        params=params,
    )


async def emails_by_subject(console: Console) -> Mapping[str, str]:
    """Every account's e-mail address by its subject; of a federated one the address that its provider has verified.

    Raises: StorageUnavailable
    """
    stores = console.issuer.stores
    federated = {each.subject: each.email for each in await stores.federated_accounts.list() if each.email is not None}
    return federated | {account.subject: account.email for account in await stores.accounts.list()}


def first_line(params: Mapping[str, Any]) -> str:
    """The beginning of a call's arguments as one line of JSON, so that calls of one tool can be told apart in a list.

    Not escaped, and nothing to decide on: what is beyond its end is not there.
    """
    arguments = params.get("arguments")
    said = arguments if isinstance(arguments, dict) else {name: each for name, each in params.items() if name != "name"}
    line = ""
    for part in json.JSONEncoder(ensure_ascii=False).iterencode(said):
        line += part[: _LINE + 1]
        if len(line) > _LINE:
            return f"{line[:_LINE]}\u2026"
    return line


def render_params(params: Mapping[str, Any]) -> Markup:
    """The params as JSON of many lines: exact, escaped, and no text in it can change how the rest is read.

    Takes seconds for the longest call that there can be.
    """
    text = json.dumps(params, ensure_ascii=False, indent=2)
    return Markup("".join(_tokens(text)))  # noqa: S704 - every token of it is escaped


def _tokens(text: str) -> Iterator[str]:
    """Each string in an isolate of its own: what is written from right to left turns nothing around it."""
    at = 0
    for match in _STRING.finditer(text):
        yield escape(text[at : match.start()])
        kind, string = ("key", match[0][:-1]) if match[1] else ("text", match[0])
        yield f'<bdi class="{kind}">{visible(string)}</bdi>{match[1]}'
        at = match.end()
    yield escape(text[at:])
