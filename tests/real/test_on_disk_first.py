"""`perhop serve` under Debian's strace: what the kernel was asked for, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from drill.order import traced, traced_under_load
from perhop.core.resource import UpstreamPool


def test_the_permit_is_on_disk_before_the_server_gets_the_first_byte(tmp_path: Path) -> None:
    """The fdatasync of the journal with the permit in it is over before the call is given to the server's socket."""
    order = traced(tmp_path / "installation")
    assert order.is_right, "\n".join(order.lines())


@pytest.mark.parametrize("pool", [each.value for each in UpstreamPool])
def test_under_load_no_call_leaves_before_its_permit_is_on_disk(tmp_path: Path, pool: str) -> None:
    """With all that is kept in use and 32 calls at a time, each call waits for its own permit, with each pool."""
    orders = traced_under_load(tmp_path / "installation", calls=120, at_once=32, pool=pool)
    assert len(orders) == 120
    wrong = [order for order in orders if not order.is_right]
    assert not wrong, "\n".join(wrong[0].lines())
