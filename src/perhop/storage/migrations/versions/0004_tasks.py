"""Tasks of agents, and under which of them a code or a token was given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table, and the column in both others."""
    op.create_table(
        "agent_task",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("max_calls", sa.Integer),
        sa.Column("max_writes", sa.Integer),
        sa.Column("calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("writes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.Column("approved_at", sa.Integer),
        sa.Column("ended_at", sa.Integer),
        sa.Column("superseded_by", sa.Text),
    )
    op.create_index("agent_task_expires", "agent_task", ["expires_at"])
    op.add_column("authorization_code", sa.Column("task", sa.Text))
    op.add_column("token_record", sa.Column("task", sa.Text))
