"""Calls that wait for approval, and where a person has signed in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TEXTS = ("agent", "subject", "audience", "method", "params_sha256", "policy_version", "client_id", "resource")


def upgrade() -> None:
    """Make the table and the column. Who is signed in already has signed in to consent."""
    op.create_table(
        "call_approval",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
        sa.Column("task", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("policies", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.Integer),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("used_at", sa.Integer),
        sa.Column("told_at", sa.Integer),
        sa.Column("sealed", sa.LargeBinary),
        sa.CheckConstraint("state IN ('waiting', 'approved', 'denied', 'used', 'expired')", name="call_approval_state"),
    )
    op.create_index("call_approval_digest", "call_approval", ["digest"])
    op.create_index("call_approval_state", "call_approval", ["state", "agent"])
    op.create_index("call_approval_asked", "call_approval", ["asked_at"])
    op.add_column("sign_in", sa.Column("place", sa.Text, nullable=False, server_default="authorize"))
