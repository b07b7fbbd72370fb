"""For the tests of MCP authors: an issuer to throw away, and a check that a server enforces its audience.

async with throwaway_issuer() as issuer:
    guard = Guard(resource=resource, issuers=[issuer.url])
    await assert_audience_enforced(guard.asgi(app), issuer=issuer, resource=resource)
"""

from perhop.resource_server.testing.audience import Attempt, assert_audience_enforced
from perhop.resource_server.testing.throwaway import ThrowawayIssuer, throwaway_issuer

__all__ = ["Attempt", "ThrowawayIssuer", "assert_audience_enforced", "throwaway_issuer"]
