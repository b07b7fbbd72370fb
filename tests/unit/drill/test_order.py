"""Reading a trace: the permit is on disk before the first byte of the call leaves, or it is said that it is not."""

from __future__ import annotations

import pytest

from drill.installation import DrillFailed
from drill.order import Order, order_in, steps_of

MAC, MARKER, PORT = "mac-of-the-arguments", "text-of-the-call", 9001

PERMIT = f'10 1.000 pwrite64(8</x/journal.db-wal>, "..{MAC}..", 4096, 56) = 4096 <0.000100>'
SYNC = "10 1.001 fdatasync(8</x/journal.db-wal>) = 0 <0.002000>"
OTHER_SYNC = "10 1.001 fdatasync(9</x/perhop.db-wal>) = 0 <0.002000>"
FAILED_SYNC = "10 1.001 fdatasync(8</x/journal.db-wal>) = -1 EIO (Input/output error) <0.002000>"
SOCKET = f"16<TCP:[127.0.0.1:5000->127.0.0.1:{PORT}]>"
HEAD = f'11 1.004 sendto({SOCKET}, "POST /mcp HTTP/1.1\\r\\n..", 300, 0, NULL, 0) = 300 <0.000100>'
BODY = f'11 1.005 sendto({SOCKET}, "..{MARKER}..", 90, 0, NULL, 0) = 90 <0.000100>'
WHOLE = f'11 1.004 sendto({SOCKET}, "POST /mcp HTTP/1.1\\r\\n..{MARKER}..", 390, 0, NULL, 0) = 390 <0.000100>'
EARLIER = f'11 0.900 sendto({SOCKET}, "POST /mcp HTTP/1.1\\r\\n..", 300, 0, NULL, 0) = 300 <0.000100>'
SYNC_BEGINS = "10 1.001 fdatasync(8</x/journal.db-wal> <unfinished ...>"
SYNC_ENDS = "10 1.006 <... fdatasync resumed>) = 0 <0.005000>"


def _order(*lines: str) -> Order:
    return order_in(steps_of("\n".join(lines)), mac=MAC, marker=MARKER, port=PORT)


@pytest.mark.parametrize(
    "lines",
    [
        (PERMIT, SYNC, HEAD, BODY),
        (PERMIT, SYNC, WHOLE),
        (EARLIER, PERMIT, SYNC, HEAD, BODY),
        (PERMIT, SYNC_BEGINS, SYNC_ENDS, WHOLE),
        (PERMIT, OTHER_SYNC, SYNC, WHOLE),
    ],
)
def test_a_permit_on_disk_before_the_call_is_right(lines: tuple[str, ...]) -> None:
    """The sync of the journal's log was over before the request that carries the call began."""
    order = _order(*lines)
    assert order.is_right
    assert list(order.lines())[-1].endswith("yes")


@pytest.mark.parametrize(
    "lines",
    [
        (PERMIT, HEAD, SYNC, BODY),
        (PERMIT, WHOLE, SYNC),
        (PERMIT, WHOLE),
        (SYNC, PERMIT, WHOLE),
        (PERMIT, OTHER_SYNC, WHOLE),
        (PERMIT, FAILED_SYNC, WHOLE),
        (PERMIT, SYNC_BEGINS, HEAD, BODY, SYNC_ENDS),
        (PERMIT, SYNC_BEGINS, WHOLE),
    ],
)
def test_a_call_that_leaves_before_is_said(lines: tuple[str, ...]) -> None:
    """A sync that is missing, of another file, failed, or not over when the first byte left, is no sync."""
    order = _order(*lines)
    assert not order.is_right
    assert list(order.lines())[-1].endswith("NO")


def test_a_trace_that_does_not_show_it_proves_nothing() -> None:
    """Without the permit's write, or without the call, there is nothing to compare."""
    with pytest.raises(DrillFailed, match="the permit"):
        _order(SYNC, WHOLE)
    with pytest.raises(DrillFailed, match="the call leaving"):
        _order(PERMIT, SYNC, HEAD)
