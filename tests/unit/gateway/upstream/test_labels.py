"""Labels: what a caller chose never reaches the server, and comes back to this caller only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.gateway.upstream.framing import Answered, Notified
from perhop.gateway.upstream.labels import (
    SUBSCRIPTION_KEY,
    answer_with_their_labels,
    labels_for,
    notification_with_their_labels,
    progress_label,
    subscription_label,
    with_our_labels,
)

LABELS = st.one_of(st.text(max_size=5), st.integers(-5, 5))


def request(rpc_id: Any, token: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": rpc_id,
        "method": "m",
        "params": {"a": 1, "_meta": {"progressToken": token, "x": 2}},
    }


def notified(method: str, **params: Any) -> Notified:
    return Notified(method, params, {"jsonrpc": "2.0", "method": method, "params": params})


@given(rpc_id=LABELS, token=LABELS, ours=st.integers(1000, 2000))
def test_labels_go_out_as_ours_and_come_back_as_theirs(rpc_id: str | int, token: str | int, ours: int) -> None:
    """Id and progress token are replaced on the way out, put back on the way in, and nothing else changes."""
    message = request(rpc_id, token)
    labels = labels_for(message, ours)
    sent = with_our_labels(message, labels)
    assert sent == {**message, "id": ours, "params": {"a": 1, "_meta": {"progressToken": ours, "x": 2}}}
    assert message == request(rpc_id, token)
    answered = Answered(ours, {"jsonrpc": "2.0", "id": ours, "result": {"b": ours}})
    assert answer_with_their_labels(answered, labels) == {"jsonrpc": "2.0", "id": rpc_id, "result": {"b": ours}}
    told = notified("notifications/progress", progressToken=ours, progress=1)
    assert progress_label(told) == ours
    assert notification_with_their_labels(told, labels)["params"] == {"progressToken": token, "progress": 1}


@given(rpc_id=LABELS, ours=st.integers(1000, 2000))
def test_a_subscription_is_known_by_the_id_of_its_request(rpc_id: str | int, ours: int) -> None:
    """Its notifications, its end and its answer name the caller's own id."""
    labels = labels_for({"id": rpc_id, "method": "subscriptions/listen"}, ours)
    told = notified("notifications/tools/list_changed", _meta={SUBSCRIPTION_KEY: ours, "x": 1})
    assert subscription_label(told) == ours
    assert notification_with_their_labels(told, labels)["params"] == {"_meta": {SUBSCRIPTION_KEY: rpc_id, "x": 1}}
    end = notified("notifications/cancelled", requestId=ours)
    assert subscription_label(end) == ours
    assert notification_with_their_labels(end, labels)["params"] == {"requestId": rpc_id}
    result = {"_meta": {SUBSCRIPTION_KEY: ours}}
    answered = Answered(ours, {"jsonrpc": "2.0", "id": ours, "result": result})
    assert answer_with_their_labels(answered, labels)["result"] == {"_meta": {SUBSCRIPTION_KEY: rpc_id}}


@given(token=st.one_of(st.text(), st.booleans(), st.floats(), st.none(), st.lists(st.integers())))
def test_only_a_whole_number_is_a_label_of_ours(token: Any) -> None:
    """What is like a label in another type, as 1.0, true or a text, is none."""
    assert progress_label(notified("notifications/progress", progressToken=token)) is None
    assert subscription_label(notified("notifications/cancelled", requestId=token)) is None
    assert subscription_label(notified("m", _meta={SUBSCRIPTION_KEY: token})) is None


def test_labels_of_another_call_are_left_as_they_are() -> None:
    """What names another call is not renamed to this one's."""
    labels = labels_for(request("mine", "mine"), 7)
    told = notified("notifications/progress", progressToken=8, progress=1)
    assert notification_with_their_labels(told, labels)["params"] == {"progressToken": 8, "progress": 1}


def test_a_request_without_a_progress_token_gets_none() -> None:
    """A server reports progress only where it was asked for."""
    for params in ({}, {"_meta": {}}, {"_meta": {"x": 1.5}}, {"_meta": "text"}):
        message = {"jsonrpc": "2.0", "id": 1, "method": "m", "params": params}
        assert with_our_labels(message, labels_for(message, 9)) == {**message, "id": 9}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("progressToken", 7.0),
        ("progressToken", True),
        ("progressToken", None),
        ("progressToken", [7]),
        ("ProgressToken", 7),
        ("progre\u017f\u017fTo\u212aen", 7),
        (SUBSCRIPTION_KEY, 7),
        (SUBSCRIPTION_KEY.lower(), 7),
    ],
)
def test_what_a_server_could_read_as_a_label_is_left_out(name: str, value: Any) -> None:
    """A token of another type, one under a name that differs in its case, and the id of a subscription: all go."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"a": 1, "_meta": {name: value, "x": 2}}}
    sent = with_our_labels(message, labels_for(message, 9))
    assert sent == {**message, "id": 9, "params": {"a": 1, "_meta": {"x": 2}}}
