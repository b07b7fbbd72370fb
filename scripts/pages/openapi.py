"""docs/reference/openapi.json: the endpoints of the authorization server, from its table of routes.

What each endpoint takes is written down here; that every route is described, and no other, a test of the house holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import perhop
from perhop.authorization_server.app import ACCESS_WELL_KNOWN, ENDPOINTS, WELL_KNOWN
from perhop.authorization_server.endpoints.my_access import PATH as MY_ACCESS_PATH
from perhop.authorization_server.endpoints.register import REGISTER_PATH
from perhop.authorization_server.federation.round_trip import CALLBACK_PATH
from perhop.authorization_server.form import FORM_MEDIA_TYPE
from perhop.core.client import GrantType

_JSON = "application/json"
_TEXT: Mapping[str, Any] = {"type": "string"}
_CREDENTIALS = ("client_id", "client_secret", "client_assertion_type", "client_assertion")
_ASKING = ("response_type", "client_id", "redirect_uri", "resource", "scope", "state", "code_challenge")
_NAMES = (*_ASKING, "code_challenge_method", "authorization_details", "dpop_jkt", "prompt", "max_age", "acr_values")
_IN_PATH = re.compile(r"{(\w+)}")

_FORMS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "/token": (
        ("grant_type",),
        (
            *("resource", "scope", "audience", "code", "redirect_uri", "code_verifier", "refresh_token"),
            *("authorization_details", "subject_token", "subject_token_type", "requested_token_type", "assertion"),
            *_CREDENTIALS,
        ),
    ),
    "/introspect": (("token",), ("token_type_hint", *_CREDENTIALS)),
    "/revoke": (("token",), ("token_type_hint", *_CREDENTIALS)),
    "/authorize": ((), ("email", "password", "decision", "provider")),
    MY_ACCESS_PATH: ((), ("email", "password", "provider", "seal", "client", "resource", "task", "decision")),
}
"""Path -> the parameters of its form that are required, and the others."""

_QUERIES: Mapping[str, Sequence[str]] = {
    "/authorize": _NAMES,
    "/revocations": ("after", "wait"),
    CALLBACK_PATH: ("state", "code", "iss", "error", "error_description"),
}
"""Path -> the parameters of its query."""

_BODIES: Mapping[str, Mapping[str, Any]] = {
    "/tasks": {
        "type": "object",
        "required": ["purpose", "tools", "expires_in"],
        "additionalProperties": False,
        "properties": {
            "purpose": {"type": "string", "minLength": 1, "maxLength": 500},
            "tools": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 100},
            "limits": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: {"type": "integer", "minimum": 0} for name in ("calls", "writes")},
            },
            "expires_in": {"type": "integer", "minimum": 1, "maximum": 2_592_000},
            "supersedes": _TEXT,
            **dict.fromkeys(_CREDENTIALS, _TEXT),
        },
    },
    REGISTER_PATH: {
        "type": "object",
        "required": ["redirect_uris"],
        "properties": {
            "redirect_uris": {"type": "array", "items": _TEXT, "minItems": 1},
            **dict.fromkeys(("client_name", "token_endpoint_auth_method", "application_type", "scope"), _TEXT),
            **{name: {"type": "array", "items": _TEXT} for name in ("grant_types", "response_types")},
        },
    },
    "/records": {
        "type": "object",
        "required": ["records"],
        "properties": {"records": {"type": "array", "items": {"type": "object"}, "maxItems": 500}},
    },
}
_ACCESS: Mapping[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "object"} for name in ("subject", "action", "resource", "context", "options", "page")}
    | {"evaluations": {"type": "array", "items": {"type": "object"}}},
}

_STATUSES: Mapping[str, Sequence[int]] = {
    "/authorize": (200, 303, 400, 429, 503),
    "/token": (200, 400, 401, 408, 413, 429, 503),
    "/introspect": (200, 400, 401, 408, 413, 429, 503),
    "/revoke": (200, 400, 401, 408, 413, 429, 503),
    "/tasks": (201, 400, 401, 408, 413, 429, 503),
    "/records": (200, 400, 401, 403, 408, 413, 503),
    "/revocations": (200, 400, 503),
    "/jwks": (200,),
    MY_ACCESS_PATH: (200, 303, 400, 429, 503),
    CALLBACK_PATH: (303, 400, 403, 404, 503),
    REGISTER_PATH: (201, 400, 404, 408, 413, 429, 503),
}
_ACCESS_STATUSES = (200, 400, 401, 403, 404, 408, 413, 503)
_SAYS = {
    200: "as asked",
    201: "the task has begun, or the client is registered and waits for an owner",
    303: "on to the next page, or back to the redirect URI with a code or an error",
    400: "the request is not good, or not granted: `error` says which",
    401: "the client, or the token, is not authenticated",
    403: "what is asked about is not the client's",
    404: "nothing of the kind is known to the client, or here",
    408: "the body did not arrive in time",
    413: "the body is too large",
    429: "too many requests: `Retry-After` says when again",
    503: "a part that we need is down: nothing was granted, `Retry-After` says when again",
}


def document() -> dict[str, Any]:
    """The description, with every path below the issuer."""
    described = {path: _path(path, methods) for path, _, methods in ENDPOINTS}
    metadata = {path: {"get": _operation(path, "GET", (200,))} for path in (*WELL_KNOWN, ACCESS_WELL_KNOWN)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Perhop's authorization server",
            "version": perhop.__version__,
            "description": "Written by `make docs`. Every path lies below `issuer`; docs/authorization-server.md says "
            "what each parameter means.",
        },
        "paths": dict(sorted((described | metadata).items())),
    }


def render() -> str:
    """The file."""
    return json.dumps(document(), indent=1) + "\n"


def _path(path: str, methods: Sequence[str]) -> dict[str, Any]:
    statuses = _STATUSES.get(path, _ACCESS_STATUSES)
    return {method.lower(): _operation(path, method, statuses) for method in methods}


def _operation(path: str, method: str, statuses: Sequence[int]) -> dict[str, Any]:
    said = {str(status): {"description": _SAYS[status]} for status in statuses}
    operation: dict[str, Any] = {"operationId": _name(path, method), "responses": said}
    if method == "GET":
        names = _QUERIES.get(path, ())
        parameters = [*map(_in_path, _IN_PATH.findall(path)), *map(_parameter, names)]
        return operation | ({"parameters": parameters} if parameters else {})
    return operation | {"requestBody": {"required": True, "content": _content(path)}}


def _content(path: str) -> dict[str, Any]:
    if path not in _FORMS:
        return {_JSON: {"schema": _BODIES.get(path, _ACCESS)}}
    required, others = _FORMS[path]
    properties: dict[str, Any] = dict.fromkeys((*required, *others), _TEXT)
    if path == "/token":
        properties["grant_type"] = {"type": "string", "enum": [grant.value for grant in GrantType]}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {FORM_MEDIA_TYPE: {"schema": schema | ({"required": list(required)} if required else {})}}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": _TEXT}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _name(path: str, method: str) -> str:
    return "-".join((method.lower(), *filter(None, path.replace(".", "").split("/"))))
