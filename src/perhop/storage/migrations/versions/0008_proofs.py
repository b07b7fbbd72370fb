"""Used proofs of possession, and the keys that codes and refresh families are bound to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table and the columns. Codes and families of before are bound to no key."""
    op.create_table(
        "used_proof",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("used_proof_expires", "used_proof", ["expires_at"])
    op.add_column("authorization_code", sa.Column("sender", sa.Text))
    op.add_column("refresh_family", sa.Column("sender", sa.Text))
