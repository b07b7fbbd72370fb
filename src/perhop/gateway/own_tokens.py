"""Own tokens: what the gateway presents where it asks an upstream on nobody's behalf."""

from __future__ import annotations

from typing import Protocol

from perhop.core.call import CallBinding
from perhop.core.resource import CredentialKind, Resource, ResourceUri
from perhop.core.token import HopToken
from perhop.gateway.tool_listing import Listing, Presenting, list_tools, present_nothing
from perhop.gateway.upstream.interface import Upstream


class AudienceTokens(Protocol):
    """Tokens that are alike but for their audience."""

    def canary(self) -> ResourceUri:
        """A fresh audience that is registered nowhere."""
        ...

    async def self_test_token(self, resource: Resource, audience: ResourceUri, call: CallBinding) -> HopToken:
        """Raises: StorageUnavailable, JournalUnavailable."""
        ...


async def list_own(upstream: Upstream, resource: Resource, tokens: AudienceTokens) -> Listing:
    """The upstream's tools, asked for with what it takes: a right token, or none.

    Raises: UpstreamUnavailable, AnswerUnfit, StorageUnavailable, JournalUnavailable
    """
    return await list_tools(upstream, presenting_own(resource, tokens))


def presenting_own(resource: Resource, tokens: AudienceTokens) -> Presenting:
    """What a right caller of the resource's upstream presents."""
    if resource.upstream is None or resource.upstream.resource is None or not resource.upstream.credential.is_token:
        return present_nothing
    return presenting(resource, tokens, resource.upstream.resource)


def presenting(resource: Resource, tokens: AudienceTokens, audience: ResourceUri) -> Presenting:
    """Tokens for this audience: one for all messages, or one for each where the upstream takes call tokens."""
    kept: HopToken | None = None
    is_call = resource.upstream is not None and resource.upstream.credential is CredentialKind.CALL

    async def present(call: CallBinding) -> HopToken:
        nonlocal kept
        if kept is None or is_call:
            kept = await tokens.self_test_token(resource, audience, call)
        return kept

    return present
