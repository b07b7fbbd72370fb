"""`perhop serve` under Debian's strace: what the kernel was asked for, in which order."""

from __future__ import annotations

from pathlib import Path

from drill.order import traced


def test_the_permit_is_on_disk_before_the_server_gets_the_first_byte(tmp_path: Path) -> None:
    """The fdatasync of the journal with the permit in it is over before the call is given to the server's socket."""
    order = traced(tmp_path / "installation")
    assert order.is_right, "\n".join(order.lines())
