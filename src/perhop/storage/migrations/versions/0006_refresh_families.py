"""Refresh families and their tokens, and what the person was shown for a code."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables and the column. A code that was given before begins no family."""
    op.create_table(
        "refresh_family",
        sa.Column("id", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("code_hash", "client_id", "subject", "resource", "scope", "terms")
        ),
        sa.Column("tenant", sa.Text),
        sa.Column("task", sa.Text),
        sa.Column("began_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.Integer),
    )
    op.create_index("refresh_family_code", "refresh_family", ["code_hash"], unique=True)
    op.create_index("refresh_family_client", "refresh_family", ["client_id"])
    op.create_index("refresh_family_subject", "refresh_family", ["subject"])
    op.create_index("refresh_family_expires", "refresh_family", ["expires_at"])
    op.create_table(
        "refresh_token",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("issued_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.Column("spent_at", sa.Integer),
    )
    op.create_index("refresh_token_family", "refresh_token", ["family"])
    live = sa.text("spent_at IS NULL")
    op.create_index("refresh_token_live", "refresh_token", ["family"], unique=True, sqlite_where=live)
    op.add_column("authorization_code", sa.Column("terms", sa.Text))
