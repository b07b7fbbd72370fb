"""Assertions of other issuers that were used, and issuers that may be disabled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables. What is disabled stays so: SQLite changes a check only with the whole table."""
    op.create_table(
        "spent_grant",
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti"),
    )
    op.create_index("spent_grant_expires", "spent_grant", ["expires_at"])
    op.rename_table("standing", "standing_before")
    op.create_table(
        "standing",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("defined", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("since", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
        sa.CheckConstraint("kind IN ('client', 'resource', 'owner', 'issuer')", name="standing_kind"),
    )
    op.execute("INSERT INTO standing SELECT kind, name, defined, disabled, why, since FROM standing_before")
    op.drop_table("standing_before")
