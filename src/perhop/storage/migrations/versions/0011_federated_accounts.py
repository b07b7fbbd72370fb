"""Accounts of people whom OpenID providers sign in, and when a consent was last used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the table and the column. Of a consent that was used before, nobody knows when."""
    op.create_table(
        "federated_account",
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject_there", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False, unique=True),
        sa.Column("email", sa.Text),
        sa.Column("groups", sa.Text),
        sa.Column("seen_at", sa.Integer, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("issuer", "subject_there"),
    )
    op.add_column("consent", sa.Column("used_at", sa.Integer))
