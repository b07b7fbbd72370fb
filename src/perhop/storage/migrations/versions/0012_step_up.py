"""When and how people signed in: of sessions, codes and refresh families; and what a session was begun for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the columns. Of what was there before, nothing is known: whoever wants to know has the person sign in."""
    for table in ("sign_in", "authorization_code", "refresh_family"):
        op.add_column(table, sa.Column("auth_time", sa.Integer))
        op.add_column(table, sa.Column("acr", sa.Text))
    op.add_column("sign_in", sa.Column("occasion", sa.Text))
