"""What an owner's webhook is told of a call that waits for approval, and how that is signed.

Spec: Standard Webhooks 1.0
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime

from perhop.core.approval import Approval
from perhop.core.secret import Secret

REQUESTED = "approval.requested"
ENCODED = "whsec_"
"""What begins a secret whose rest is base64, as receivers' libraries take it."""

MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
MAX_NAME = 256
"""Characters of a tool's name or of a URI, which the caller chooses."""


def parse_signing_key(secret: Secret) -> bytes:
    """The key that a secret stands for; a secret that is not encoded is the key itself, byte for byte.

    Raises: ValueError, for what begins as an encoded one and is none
    """
    text = secret.reveal()
    if not text.startswith(ENCODED):
        return text.encode()
    try:
        key = base64.b64decode(text.removeprefix(ENCODED), validate=True)
    except binascii.Error:
        raise ValueError("is not base64 after `whsec_`") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"must encode {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes after `whsec_`")
    return key


def delivery_id(approval: Approval) -> str:
    """The same for every attempt, so that a receiver can drop what it has had. Holds no full stop."""
    return f"requested_{approval.id}"


def render_requested(approval: Approval, *, owner: str, page: str) -> bytes:
    """The body: who wants to do what, and nothing of what the call says. `page` is the URL where a person decides.

    INVARIANT: no argument, and nothing that was sealed: an Approval has neither.
    """
    call = approval.call
    told = {
        "approval": approval.id,
        "agent": call.agent,
        "client": approval.client_id,
        "subject": call.subject,
        "resource": approval.resource,
        "owner": owner,
        "task": call.task,
        "method": call.method,
        "name": approval.name[:MAX_NAME] if approval.name is not None else None,
        "policies": list(approval.policies),
        "policy_version": call.policy_version,
        "expires_at": _time(approval.expires_at),
        "url": page,
    }
    message = {"type": REQUESTED, "timestamp": _time(approval.asked_at), "data": told}
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode()


def signed_headers(message_id: str, body: bytes, *, key: bytes, now: int) -> dict[str, str]:
    """The headers that say which message this is, when it is sent, and that it comes from whoever has the key."""
    content = b".".join((message_id.encode(), str(now).encode(), body))
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(now), "webhook-signature": f"v1,{signature}"}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
