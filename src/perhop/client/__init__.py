"""Perhop's client library: one token per resource, and no token sent anywhere but to its audience."""

from perhop.client.agent_task import AgentTask
from perhop.client.auth import TokenAuth
from perhop.client.browser import PersonsBrowser
from perhop.client.identity_assertion import IdentityAssertion
from perhop.client.registered_client import RegisteredClient
from perhop.client.sign_in import SignIn
from perhop.client.token_request import AccessToken
from perhop.client.token_source import TokenSource
from perhop.client.workload_identity import WorkloadIdentity

__all__ = [
    "AccessToken",
    "AgentTask",
    "IdentityAssertion",
    "PersonsBrowser",
    "RegisteredClient",
    "SignIn",
    "TokenAuth",
    "TokenSource",
    "WorkloadIdentity",
]
