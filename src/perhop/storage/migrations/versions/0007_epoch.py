"""The epoch: which run of the database is the one that counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table. An installation without a row is in its first epoch."""
    op.create_table(
        "epoch",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("began_at", sa.Integer, nullable=False),
        sa.Column("starts", sa.Integer, nullable=False),
        sa.CheckConstraint("id = 1", name="epoch_one"),
    )
