"""Policy sets: their files, who brought them in, who approved them, and when each was put in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "policy_version",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("sources", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("kept_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "policy_approval",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("entered_by", sa.Text, nullable=False),
        sa.Column("approved_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "policy_in_force",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("put_by", sa.Text, nullable=False),
        sa.Column("since", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
