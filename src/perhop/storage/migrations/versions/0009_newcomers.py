"""Clients that nobody wrote into the configuration: documents that are gone by, and registrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "client_document",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("key_set", sa.Text),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("fetched_at", sa.Integer, nullable=False),
        sa.Column("fresh_until", sa.Integer, nullable=False),
        sa.Column("used_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "client_registration",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("registered_at", sa.Integer, nullable=False),
        sa.Column("lapses_at", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("purpose", sa.Text),
        sa.Column("expires", sa.Text),
        sa.Column("reaches", sa.Text),
        sa.Column("adopted_by", sa.Text),
        sa.Column("adopted_at", sa.Integer),
    )
