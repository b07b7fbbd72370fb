"""Call binding: which one message a call token is good for. Gateway and guard compute it by this one rule.

Spec: RFC 8785 §3.2
Spec: RFC 9396 §2
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from perhop.core.call import CallBinding
from perhop.errors import CallMismatch, ParamsMalformed
from perhop.rules.canonical_json import canonical_json
from perhop.rules.mcp_message import Message

MAX_NAME_BYTES = 2048
"""As JSON text in ASCII: a token with a longer one would not fit its own bound."""


def binding_of(message: Message) -> CallBinding:
    """The binding of one message. A stream, a session's end and a response are bound by their kind alone, and so
    differ from every call.

    Raises: ParamsMalformed
    """
    return bind_call(message.method, message.params)


def bind_call(method: str, params: Mapping[str, Any]) -> CallBinding:
    """The binding of a method and its params; what stands in `_meta` is not bound.

    Raises: ParamsMalformed
    """
    name = next((params[key] for key in ("name", "uri") if isinstance(params.get(key), str)), None)
    if name is not None and len(json.dumps(name)) > MAX_NAME_BYTES:
        raise ParamsMalformed(f"a name of more than {MAX_NAME_BYTES} bytes is bound to no token")
    return CallBinding(
        method=method,
        name=name,
        arguments_sha256=_digest(params.get("arguments", {})),
        params_sha256=_digest({key: value for key, value in params.items() if key != "_meta"}),
    )


def check_call(bound_to: CallBinding, asked: CallBinding) -> None:
    """Refuse a message that is not the one that the token is bound to.

    Raises: CallMismatch
    """
    for part in ("method", "name", "arguments_sha256", "params_sha256"):
        if getattr(bound_to, part) != getattr(asked, part):
            raise CallMismatch(f"the token is bound to another call: `{part}` differs")


def _digest(value: Any) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(canonical_json(value)).digest()).rstrip(b"=").decode("ascii")
