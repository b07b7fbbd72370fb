"""Every deliberate error of Perhop; this docstring is the tree.

PerhopError
├── Refused                    the peer is told no, with fixed text
│   ├── AuthorizeRefused       RFC 6749 §4.1.2.1
│   ├── TokenRefused           RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2
│   ├── BearerRefused          RFC 6750 §3.1: 401, or 403 for a missing scope
│   ├── RequestRefused         the HTTP or MCP message itself is wrong: 400, 404, 405, 413, 415
│   └── PolicyRefused          403 with a JSON-RPC error: the token is good, the call is not allowed
├── Unavailable                a part we need did not answer: 503, always closed
└── OperatorError              a bad setting, policy or key; carries advice, never reaches a peer

A leaf is named after the fact and sets class attributes only. `reason` is the stable dotted code that journal,
probe, metrics and documentation share; `detail` goes to the log and the journal, never to the peer.
"""

from __future__ import annotations

from typing import ClassVar


class PerhopError(Exception):
    """Root of everything that Perhop raises on purpose."""


class Refused(PerhopError):
    """The peer is told no."""

    status: ClassVar[int] = 400
    error: ClassVar[str] = "invalid_request"
    description: ClassVar[str] = "the request was refused"
    reason: ClassVar[str] = "request.malformed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.description)
        self.detail = detail


# --- tokens, at every place that takes one ---------------------------------------------------------------------------


class BearerRefused(Refused):
    """The presented token is not good here. Spec: RFC 6750 §3.1."""

    status = 401
    error = "invalid_token"
    description = "the access token is not valid here"


class TokenMissing(BearerRefused):
    """No token came: a challenge without `error`. Spec: RFC 6750 §3."""

    reason = "token.malformed"
    description = "an access token is required"


class TokenMalformed(BearerRefused):
    reason = "token.malformed"


class TokenSignatureInvalid(BearerRefused):
    reason = "token.signature"


class TokenKeyUnknown(TokenSignatureInvalid):
    """The `kid` names no key that we hold; a verifier may look once for newer keys."""


class TokenTypeWrong(BearerRefused):
    reason = "token.type"


class TokenIssuerUnknown(BearerRefused):
    reason = "token.issuer"


class TokenLifetimeTooLong(BearerRefused):
    reason = "token.lifetime"


class TokenNotYetValid(BearerRefused):
    """`iat` or `nbf` lies further ahead than clocks may differ."""

    reason = "token.lifetime"


class TokenExpired(BearerRefused):
    reason = "token.expired"


class TokenRevoked(BearerRefused):
    reason = "token.revoked"


class AudienceMissing(BearerRefused):
    reason = "audience.missing"


class AudienceMismatch(BearerRefused):
    reason = "audience.mismatch"


class AudienceMultiple(BearerRefused):
    reason = "audience.multiple"


class SenderMismatch(BearerRefused):
    """The token is bound to a key, and the request does not prove possession of it. Spec: RFC 9449 §7.1."""

    reason = "sender.mismatch"


class CallMismatch(BearerRefused):
    """The token is bound to one call, and this is not shown to be that call."""

    reason = "call.mismatch"


class AgentDisabled(BearerRefused):
    reason = "client.disabled"


class AgentExpired(BearerRefused):
    reason = "client.expired"


class ScopeInsufficient(BearerRefused):
    """The token lacks the scope that this call needs; `scope` goes into the challenge. Spec: RFC 6750 §3.1."""

    status = 403
    error = "insufficient_scope"
    description = "the access token lacks a scope that this call needs"
    reason = "scope.insufficient"

    def __init__(self, scope: str, detail: str = "") -> None:
        super().__init__(detail)
        self.scope = scope


# --- the message itself ----------------------------------------------------------------------------------------------


class RequestRefused(Refused):
    """The HTTP or MCP message is wrong; `rpc_code` is the JSON-RPC code, None for no body."""

    rpc_code: ClassVar[int | None] = -32600
    description = "the request is not valid"


class JsonUnparsable(RequestRefused):
    rpc_code = -32700
    description = "the body is not valid JSON"


class RequestMalformed(RequestRefused):
    rpc_code = -32600


class ParamsMalformed(RequestRefused):
    rpc_code = -32602
    description = "the parameters are not valid"


class HeaderMismatch(RequestRefused):
    """A mirrored header is missing, malformed or disagrees with the body. Spec: MCP 2026-07-28 transports."""

    rpc_code = -32020
    reason = "header.mismatch"
    description = "a header does not match the body"


class RevisionUnsupported(RequestRefused):
    """Rendered with `data.supported` and `data.requested`."""

    rpc_code = -32022
    description = "the protocol version is not supported"

    def __init__(self, requested: str, detail: str = "", *, supported: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.requested = requested
        self.supported = supported


class MethodUnknown(RequestRefused):
    rpc_code = -32601
    reason = "method.unknown"
    description = "the method is not known"


class MethodUnknownModern(MethodUnknown):
    """The same under a revision that wants 404 for it. Spec: MCP 2026-07-28 transports."""

    status = 404


class HttpMethodNotAllowed(RequestRefused):
    status = 405
    rpc_code = None
    description = "the HTTP method is not allowed"
    allow: ClassVar[str] = "GET, POST, DELETE"


class OnlyPostAllowed(HttpMethodNotAllowed):
    """The revision has one HTTP method. Spec: MCP 2026-07-28 transports."""

    allow = "POST"


class SessionMismatch(RequestRefused):
    """Unknown, ended, expired or another principal's session: one answer for all."""

    status = 404
    rpc_code = None
    reason = "session.mismatch"
    description = "the session is not known"


class OriginRefused(RequestRefused):
    status = 403
    rpc_code = None
    description = "the origin is not allowed"


class BodyTooLarge(RequestRefused):
    status = 413
    rpc_code = None
    description = "the body is too large"


class BodyTooSlow(RequestRefused):
    status = 408
    rpc_code = None
    description = "the body did not arrive in time"


class HeadersTooLarge(RequestRefused):
    status = 431
    rpc_code = None
    description = "the headers are too large"


class MediaTypeUnsupported(RequestRefused):
    status = 415
    rpc_code = None
    description = "the content type must be application/json"


# --- decisions -------------------------------------------------------------------------------------------------------


class PolicyRefused(Refused):
    """The token is good, the call is not allowed."""

    status = 403
    error = "access_denied"
    description = "the call is not allowed"
    reason = "policy.denied"

    def __init__(self, detail: str = "", *, policies: tuple[str, ...] = (), policy_version: str = "") -> None:
        super().__init__(detail)
        self.policies = policies
        self.policy_version = policy_version


class PolicyDenied(PolicyRefused):
    pass


class PolicyUndecidable(PolicyRefused):
    """A policy failed to evaluate; unsure means no."""

    reason = "policy.error"


class TaskOutside(PolicyRefused):
    """The token names a task that does not cover this call."""

    reason = "task.outside"


# --- token endpoint --------------------------------------------------------------------------------------------------


class TokenRefused(Refused):
    """The token endpoint says no. Spec: RFC 6749 §5.2."""

    description = "the request is not valid"


class TokenRequestMalformed(TokenRefused):
    """A parameter is missing, repeated or unusable."""


class ClientAuthenticationFailed(TokenRefused):
    status = 401
    error = "invalid_client"
    description = "client authentication failed"
    reason = "client.authentication"


class AssertionReplayed(ClientAuthenticationFailed):
    reason = "assertion.replayed"


class ClientDisabled(ClientAuthenticationFailed):
    reason = "client.disabled"


class ClientExpired(ClientAuthenticationFailed):
    reason = "client.expired"


class GrantTypeUnsupported(TokenRefused):
    error = "unsupported_grant_type"
    description = "the grant type is not supported"


class GrantTypeNotAllowed(TokenRefused):
    error = "unauthorized_client"
    description = "the client may not use this grant type"
    reason = "presenter.mismatch"


class CodeInvalid(TokenRefused):
    error = "invalid_grant"
    description = "the authorization code is not valid"


class CodeReplayed(CodeInvalid):
    reason = "code.replayed"


class TargetInvalid(TokenRefused):
    """The resource is missing, unknown, or given twice. Spec: RFC 8707 §2."""

    error = "invalid_target"
    description = "the resource is not valid"
    reason = "audience.mismatch"


class TargetMissing(TargetInvalid):
    reason = "audience.missing"


class TargetMultiple(TargetInvalid):
    reason = "audience.multiple"


class HopUnknown(TargetInvalid):
    reason = "hop.unknown"


class TargetForbidden(TargetInvalid):
    """Policy forbids it; the wire does not tell that from an unknown resource."""

    reason = "policy.denied"


class TargetUndecidable(TargetInvalid):
    reason = "policy.error"


class ScopeInvalid(TokenRefused):
    error = "invalid_scope"
    description = "the scope is not valid"
    reason = "scope.insufficient"


class SubjectTokenRefused(TokenRefused):
    """The subject token is not good; carries the reason of the fact that said so. Spec: RFC 8693 §2.2.2."""

    description = "the subject token is not valid"

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class PresenterMismatch(TokenRefused):
    """The presenter is not the one whom the subject token addresses, or `may_act` names another."""

    reason = "presenter.mismatch"
    description = "the subject token is not valid"


class ChainTooDeep(TokenRefused):
    reason = "chain.depth"
    description = "the subject token is not valid"


class ChainCycle(TokenRefused):
    reason = "chain.cycle"
    description = "the subject token is not valid"


class RevocationNotAllowed(TokenRefused):
    """The token is another client's. Spec: RFC 7009 §2.1."""

    error = "unauthorized_client"
    description = "the client may not revoke this token"
    reason = "presenter.mismatch"


# --- authorization endpoint ------------------------------------------------------------------------------------------


class AuthorizeRefused(Refused):
    """Sent back to the redirect URI, with `iss`. Spec: RFC 6749 §4.1.2.1, RFC 9207 §2."""


class AuthorizeRequestMalformed(AuthorizeRefused):
    description = "the request is not valid"


class ResponseTypeUnsupported(AuthorizeRefused):
    error = "unsupported_response_type"
    description = "the response type is not supported"


class AuthorizeClientNotAllowed(AuthorizeRefused):
    error = "unauthorized_client"
    description = "the client may not ask for this"
    reason = "presenter.mismatch"


class ConsentDenied(AuthorizeRefused):
    error = "access_denied"
    description = "access was denied"
    reason = "policy.denied"


class SignInFailed(Refused):
    """Wrong e-mail address or password, or an account that may not sign in here: one answer for all."""

    description = "the e-mail address or the password is wrong"
    reason = "client.authentication"


class RedirectRefused(Refused):
    """Client or redirect URI is unknown: shown to the person, never redirected. Spec: RFC 6749 §4.1.2.1."""

    description = "the application or its redirect address is not known here"
    reason = "client.authentication"


# --- parts that did not answer ---------------------------------------------------------------------------------------


class Unavailable(PerhopError):
    """A part that we need is down: 503 with `Retry-After`, closed, never open."""

    status: ClassVar[int] = 503
    error: ClassVar[str] = "temporarily_unavailable"
    description: ClassVar[str] = "the service is not available"
    reason: ClassVar[str] = "upstream.unavailable"
    retry_after: ClassVar[int] = 1

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.description)
        self.detail = detail


class JournalUnavailable(Unavailable):
    reason = "journal.unavailable"


class StorageUnavailable(Unavailable):
    """The database did not answer. Shares the journal's code: nothing can be recorded, so nothing is done."""

    reason = "journal.unavailable"


class UpstreamUnavailable(Unavailable):
    reason = "upstream.unavailable"


class AnswerTooLong(Unavailable):
    """The upstream's answer did not end in the time that a call may take."""

    reason = "upstream.unavailable"
    description = "the call took too long"


class AnswerUnfit(Unavailable):
    """What the upstream answered cannot be judged, so it does not pass."""

    reason = "upstream.unavailable"
    description = "the answer cannot be passed on"


class UpstreamOpen(Unavailable):
    """The upstream took a token that is good nowhere, or could not be shown to refuse it."""

    reason = "upstream.open"
    retry_after = 30


class KeysUnavailable(Unavailable):
    """The issuer's keys, or its revocation feed, could not be had or are stale."""

    reason = "upstream.unavailable"


class IssuerUnavailable(Unavailable):
    """The authorization server did not answer, or did not answer as itself. Spec: RFC 8414 §3.3."""

    reason = "upstream.unavailable"


class OwnerMissing(Unavailable):
    """Client or resource has no owner in force: nothing is issued, nothing passes."""

    reason = "owner.missing"
    retry_after = 30


# --- operators -------------------------------------------------------------------------------------------------------


class OperatorError(PerhopError):
    """A mistake that an operator can mend: what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, advice: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self._advice = advice

    def advice(self) -> str:
        """One sentence that says what to do; may be empty."""
        return self._advice


class SettingsError(OperatorError):
    exit_code = 2


class PolicyError(OperatorError):
    pass


class KeyUnusable(OperatorError):
    """A key file that is missing, weak, unreadable or open to others."""


class JournalDamaged(OperatorError):
    """The journal's file cannot be read, or does not hold together; nothing is written to it any more."""

    exit_code = 7


class NotFound(OperatorError):
    exit_code = 6


class CheckFailed(OperatorError):
    """A check found problems."""

    exit_code = 7


class TokenNotGranted(OperatorError):
    """The authorization server refused our own token request; `error` is its code. Spec: RFC 6749 §5.2."""

    exit_code = 3

    def __init__(self, error: str, *, description: str = "", advice: str = "") -> None:
        super().__init__(f"the authorization server refused a token: `{error}` {description}".rstrip(), advice=advice)
        self.error = error


class WrongDestination(OperatorError):
    """A request that carries a token would have gone elsewhere than to the token's audience."""
