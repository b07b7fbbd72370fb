"""The gateway's `traceparent`, written and read again."""

from __future__ import annotations

import pytest

from perhop.rules.trace_context import call_id_in, render_traceparent

CALL = "00f067aa0ba902b7"


def test_what_was_written_is_read_again() -> None:
    """The call is found by whoever knows the transaction."""
    assert call_id_in(render_traceparent("txn-1", CALL), "txn-1") == CALL


def test_calls_of_one_transaction_share_a_trace() -> None:
    """The trace id follows from the transaction alone; another transaction is another trace."""
    first, second, other = (
        render_traceparent(transaction, call_id).split("-")[1]
        for transaction, call_id in (("txn-1", CALL), ("txn-1", "b" * 16), ("txn-2", CALL))
    )
    assert first == second != other
    assert "txn-1" not in first


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        render_traceparent("txn-2", CALL),
        render_traceparent("txn-1", CALL).upper(),
        render_traceparent("txn-1", CALL) + "-more",
        render_traceparent("txn-1", CALL).replace("00-", "01-", 1),
        render_traceparent("txn-1", CALL) + "\n",
        render_traceparent("txn-1", "x" * 16),
    ],
)
def test_what_is_not_ours_names_no_call(traceparent: str) -> None:
    """Another transaction's header, or one that is spelled otherwise than we do, says nothing."""
    assert call_id_in(traceparent, "txn-1") is None
