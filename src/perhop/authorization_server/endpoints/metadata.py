"""Authorization server metadata: what is built, and nothing else.

Spec: RFC 8414 §2
Spec: RFC 9207 §3
Spec: RFC 9396 §10
Spec: RFC 9449 §5.1
Spec: draft-ietf-oauth-client-id-metadata-document §5
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.introspect import INTROSPECT_PATH
from perhop.authorization_server.endpoints.register import REGISTER_PATH
from perhop.authorization_server.endpoints.render import render_public
from perhop.authorization_server.endpoints.tasks import TASKS_PATH
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.records_resource import RECORDS_PATH
from perhop.core.assertion import AssertionKind
from perhop.core.client import GrantType
from perhop.rules.dpop import PROOF_ALGORITHMS
from perhop.rules.task import AGENT_TASK
from perhop.tokens.keys import Algorithm

MAX_AGE = 300
REVOCATIONS_MEMBER = "perhop_revocations_endpoint"
"""Our own member: where the signed feed of revocations is. Spec: RFC 8414 §2."""
RECORDS_MEMBER = "perhop_records_endpoint"
"""Our own member: where servers report what they saw; it is also the audience of tokens for that."""
TASKS_MEMBER = "perhop_tasks_endpoint"
"""Our own member: where clients begin tasks."""
ID_JAG_PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag"
"""Spec: draft-ietf-oauth-identity-assertion-authz-grant"""
CLIENT_AUTHENTICATION_METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")


def metadata_document(issuer: Issuer) -> dict[str, Any]:
    """The document of RFC 8414, served under both well-known names.

    Spec: RFC 8414 §2
    """
    methods = list(CLIENT_AUTHENTICATION_METHODS)
    algorithms = [each.value for each in Algorithm]
    scopes = {name for resource in issuer.registry.resources.values() for name in resource.scopes}
    admission = issuer.newcomers.admission
    registers = {"registration_endpoint": issuer.endpoint(REGISTER_PATH)} if admission.registers else {}
    asserts = bool(issuer.registry.trusted_issuers)
    return {
        "issuer": issuer.url,
        "authorization_endpoint": issuer.endpoint("/authorize"),
        "token_endpoint": issuer.endpoint("/token"),
        "jwks_uri": issuer.endpoint("/jwks"),
        "introspection_endpoint": issuer.endpoint(INTROSPECT_PATH),
        "revocation_endpoint": issuer.endpoint("/revoke"),
        REVOCATIONS_MEMBER: issuer.endpoint("/revocations"),
        RECORDS_MEMBER: issuer.endpoint(RECORDS_PATH),
        TASKS_MEMBER: issuer.endpoint(TASKS_PATH),
        **registers,
        **({"client_id_metadata_document_supported": True} if admission.rules else {}),
        "scopes_supported": sorted(scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [each.value for each in GrantType if asserts or each is not GrantType.JWT_BEARER],
        **_grant_profiles(issuer),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": [AGENT_TASK],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": [each for each in methods if each != "none"],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
    }


def _grant_profiles(issuer: Issuer) -> dict[str, list[str]]:
    """Identity assertions are taken, where an issuer is trusted for them."""
    takes = issuer.registry.trusts(AssertionKind.IDENTITY_ASSERTION)
    return {"authorization_grant_profiles_supported": [ID_JAG_PROFILE]} if takes else {}


async def metadata(_request: Request, issuer: Issuer) -> Response:
    """Answer with the document."""
    return render_public(metadata_document(issuer), max_age=MAX_AGE)
