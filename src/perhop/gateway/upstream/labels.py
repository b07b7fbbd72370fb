"""Labels: ids and progress tokens of callers, replaced by ours on a shared stream and put back on the way out.

Callers choose their ids as they like, and two of them like the same. What a server says under a label of ours can be
for one call only.

Spec: MCP 2026-07-28 basic/patterns/progress
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perhop.gateway.upstream.framing import Answered, Notified

PROGRESS_KEY = "progressToken"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"

_NAMES_OF_LABELS = frozenset({PROGRESS_KEY.casefold(), SUBSCRIPTION_KEY.casefold()})

Label = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """One call's labels: `ours` is the id, and the progress token if it has one, under which the server knows it."""

    ours: int
    rpc_id: Label
    progress_token: Label | None


def labels_for(message: Mapping[str, Any], ours: int) -> Labels:
    """The labels of a request that came with an id."""
    return Labels(ours=ours, rpc_id=message["id"], progress_token=_label(_meta(message).get(PROGRESS_KEY)))


def with_our_labels(message: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    """The request as it goes to the server: of labels it has ours alone.

    What is no label here may be one to the server. JavaScript reads 7.0 as 7, and others read names without regard to
    case, so whatever is in the place of a label is left out.
    """
    relabelled = {**message, "id": labels.ours}
    meta = _meta(message)
    kept = {name: value for name, value in meta.items() if name.casefold() not in _NAMES_OF_LABELS}
    if labels.progress_token is not None:
        kept[PROGRESS_KEY] = labels.ours
    if kept != meta:
        relabelled["params"] = {**message["params"], "_meta": kept}
    return relabelled


def answer_with_their_labels(answered: Answered, labels: Labels) -> dict[str, Any]:
    """The answer as its caller knows it."""
    message = {**answered.message, "id": labels.rpc_id}
    result = message.get("result")
    if isinstance(result, dict) and _is_ours(_of(result, "_meta").get(SUBSCRIPTION_KEY), labels):
        message["result"] = _with_meta(result, SUBSCRIPTION_KEY, labels.rpc_id)
    return message


def notification_with_their_labels(notified: Notified, labels: Labels) -> dict[str, Any]:
    """The notification as the caller knows it, whichever of our labels it carries."""
    params = dict(notified.params)
    if labels.progress_token is not None and _is_ours(params.get(PROGRESS_KEY), labels):
        params[PROGRESS_KEY] = labels.progress_token
    if notified.method == "notifications/cancelled" and _is_ours(params.get("requestId"), labels):
        params["requestId"] = labels.rpc_id
    if _is_ours(_of(params, "_meta").get(SUBSCRIPTION_KEY), labels):
        params = _with_meta(params, SUBSCRIPTION_KEY, labels.rpc_id)
    return {**notified.message, "params": params}


def progress_label(notified: Notified) -> int | None:
    """The label of ours that a progress notification carries."""
    return _our_label(notified.params.get(PROGRESS_KEY)) if notified.method == "notifications/progress" else None


def subscription_label(notified: Notified) -> int | None:
    """The label of ours that a notification for a subscription carries, or that ends one."""
    if notified.method == "notifications/cancelled":
        return _our_label(notified.params.get("requestId"))
    return _our_label(_of(notified.params, "_meta").get(SUBSCRIPTION_KEY))


def _is_ours(value: Any, labels: Labels) -> bool:
    return _our_label(value) == labels.ours


def _our_label(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _label(value: Any) -> Label | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _meta(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return _of(_of(message, "params"), "_meta")


def _of(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name)
    return value if isinstance(value, dict) else {}


def _with_meta(members: Mapping[str, Any], key: str, value: Label) -> dict[str, Any]:
    return {**members, "_meta": {**members["_meta"], key: value}}
