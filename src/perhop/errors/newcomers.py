"""What clients are told no with that nobody wrote into the configuration.

Spec: RFC 7591 §3.2.2
"""

from __future__ import annotations

from perhop.errors.authorize import RedirectRefused
from perhop.errors.root import Refused
from perhop.errors.token_endpoint import ClientAuthenticationFailed


class ClientDocumentRefused(ClientAuthenticationFailed):
    """The client's document cannot be had, is not one, or no rule admits its host: one answer for all."""


class ClientUnadopted(ClientAuthenticationFailed):
    """The client registered itself, and no owner answers for it yet."""

    description = "the client is registered, and no team has adopted it yet"
    reason = "owner.missing"


class AuthorizeClientUnadopted(RedirectRefused):
    """The same, as a person reads it."""

    description = (
        "this application has registered itself here, and no team answers for it yet: nothing is given to it until "
        "whoever runs this server adopts it"
    )
    reason = "owner.missing"


class ClientMetadataInvalid(Refused):
    """What a client says of itself cannot be gone by. Spec: RFC 7591 §3.2.2."""

    error = "invalid_client_metadata"
    description = "the client metadata is not valid"


class RedirectUriInvalid(ClientMetadataInvalid):
    """A redirect URI is missing, or is not one that may be registered. Spec: RFC 7591 §3.2.2."""

    error = "invalid_redirect_uri"
    description = "a redirect URI is not valid"


class TooManyRegistrations(Refused):
    """As many clients wait to be adopted as are kept, in all or from one network."""

    status = 429
    error = "temporarily_unavailable"
    description = "too many clients wait to be adopted"
    reason = "limit.exceeded"
