"""What is wrong with the HTTP or MCP message itself."""

from __future__ import annotations

from typing import ClassVar

from perhop.errors.root import Refused


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


class McpTaskUnknown(ParamsMalformed):
    """An McpTask that nobody opened here, or somebody else: one answer for both. Spec: MCP 2025-11-25 tasks."""

    description = "the task is not known"


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
