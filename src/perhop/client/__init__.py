"""Perhop's client library: one token per resource, and no token sent anywhere but to its audience."""

from perhop.client.agent_task import AgentTask
from perhop.client.auth import TokenAuth
from perhop.client.token_request import AccessToken
from perhop.client.token_source import TokenSource

__all__ = ["AccessToken", "AgentTask", "TokenAuth", "TokenSource"]
