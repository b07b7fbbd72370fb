"""What a webhook is told, and the signature over it.

Spec: Standard Webhooks 1.0
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from perhop.core.approval import Approval, ApprovalState, ExactCall
from perhop.core.secret import Secret
from perhop.rules.webhook import MAX_NAME, delivery_id, parse_signing_key, render_requested, signed_headers

APPROVAL = Approval(
    id="Ab-9_x",
    call=ExactCall(
        agent="clerk",
        subject="user:ann",
        audience="https://perhop.example.com/mcp/bank",
        task="task-1",
        method="tools/call",
        params_sha256="ab" * 32,
        policy_version="0123456789abcdef",
    ),
    client_id="gateway:calendar",
    resource="bank",
    name="pay",
    policies=("large", "night"),
    state=ApprovalState.WAITING,
    asked_at=1785331800,
    expires_at=1785332700,
)

PAGE = "https://console.example.com/x"


def test_the_signature_is_the_published_one() -> None:
    """The vector of the reference implementations."""
    key = parse_signing_key(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', key=key, now=1614265330)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_every_part_is_signed() -> None:
    """Another id, time, body or key is another signature."""
    told = {
        signed_headers(name, body, key=key, now=now)["webhook-signature"]
        for name in ("a", "b")
        for body in (b"{}", b"{ }")
        for key in (b"k" * 32, b"l" * 32)
        for now in (1, 2)
    }
    assert len(told) == 16


def _encoded(size: int) -> Secret:
    return Secret("whsec_" + base64.b64encode(bytes(size)).decode())


def test_a_secret_is_encoded_or_the_key_itself() -> None:
    """From 24 to 64 bytes behind the prefix; without it, the text as it is."""
    assert [len(parse_signing_key(_encoded(size))) for size in (24, 64)] == [24, 64]
    assert parse_signing_key(Secret("plain-text-of-a-secret-of-the-team")) == b"plain-text-of-a-secret-of-the-team"
    for wrong in (_encoded(23), _encoded(65), Secret("whsec_not base64 not base64 not base64"), Secret("whsec_abc")):
        with pytest.raises(ValueError, match="after `whsec_`"):
            parse_signing_key(wrong)


def test_a_message_says_who_wants_to_do_what() -> None:
    """All of it is here: no digest, no audience and nothing of the arguments is among it."""
    assert json.loads(render_requested(APPROVAL, owner="finance", page=PAGE)) == {
        "type": "approval.requested",
        "timestamp": "2026-07-29T13:30:00Z",
        "data": {
            "approval": "Ab-9_x",
            "agent": "clerk",
            "client": "gateway:calendar",
            "subject": "user:ann",
            "resource": "bank",
            "owner": "finance",
            "task": "task-1",
            "method": "tools/call",
            "name": "pay",
            "policies": ["large", "night"],
            "policy_version": "0123456789abcdef",
            "expires_at": "2026-07-29T13:45:00Z",
            "url": PAGE,
        },
    }


def test_what_is_not_there_is_not_told() -> None:
    """Without a task or a name they are null."""
    bare = replace(APPROVAL, name=None, call=replace(APPROVAL.call, task=None))
    told = json.loads(render_requested(bare, owner="finance", page=PAGE))["data"]
    assert (told["task"], told["name"]) == (None, None)


def test_a_name_that_a_caller_chose_cannot_be_long_or_more_than_text() -> None:
    """It is cut, and is one JSON text in one line of ASCII, whatever stands in it."""
    odd = replace(APPROVAL, name='file:///"},\n"type":"approval.decided' + "\u2028é" * 500)
    body = render_requested(odd, owner="finance", page=PAGE)
    assert body.isascii()
    assert b"\n" not in body
    message = json.loads(body)
    assert (message["type"], len(message["data"]["name"])) == ("approval.requested", MAX_NAME)


def test_the_id_is_of_the_approval_alone() -> None:
    """It stays the same over attempts, and holds no full stop, which parts what is signed."""
    assert delivery_id(APPROVAL) == delivery_id(replace(APPROVAL, name="other", expires_at=1)) == "requested_Ab-9_x"
    assert delivery_id(replace(APPROVAL, id="other")) != delivery_id(APPROVAL)
