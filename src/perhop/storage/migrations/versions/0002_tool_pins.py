"""Tools as their resource's owner approved them, and those that have been seen otherwise since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "tool_approval",
        sa.Column("resource", sa.Text, primary_key=True),
        sa.Column("definitions", sa.Text, nullable=False),
        sa.Column("approved_by", sa.Text, nullable=False),
        sa.Column("approved_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "tool_quarantine",
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("definition", sa.Text),
        sa.Column("noticed_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("resource", "tool"),
    )
