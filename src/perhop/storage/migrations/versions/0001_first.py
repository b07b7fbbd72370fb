"""The first schema: tokens and their lineage, codes, accounts, consents, revocations, standing, key states."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    _tokens()
    _people()
    _standing()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _tokens() -> None:
    op.create_table(
        "token_record",
        sa.Column("jti", sa.Text, primary_key=True),
        _text("parent_jti", nullable=True),
        _text("parent_audience", nullable=True),
        _text("txn"),
        _number("hop"),
        *(_text(name) for name in ("audience", "subject", "agent", "client_id", "scope")),
        _number("issued_at"),
        _number("expires_at"),
        *(_text(name, nullable=True) for name in ("tenant", "family", "code_hash")),
    )
    op.create_index("token_record_parent", "token_record", ["parent_jti"])
    op.create_index("token_record_code", "token_record", ["code_hash"])
    op.create_index("token_record_expires", "token_record", ["expires_at"])
    op.create_table(
        "authorization_code",
        sa.Column("code_hash", sa.Text, primary_key=True),
        *(_text(name) for name in ("client_id", "subject", "redirect_uri", "code_challenge", "resource", "scope")),
        _number("expires_at"),
        sa.Column("uses", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("authorization_code_expires", "authorization_code", ["expires_at"])
    op.create_table(
        "assertion",
        _text("client_id"),
        _text("jti"),
        _number("expires_at"),
        sa.PrimaryKeyConstraint("client_id", "jti"),
    )
    op.create_index("assertion_expires", "assertion", ["expires_at"])


def _people() -> None:
    op.create_table(
        "account",
        sa.Column("email", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False, unique=True),
        _text("password_hash"),
        _flag("disabled"),
        _flag("console_only"),
    )
    op.create_table(
        "sign_in",
        sa.Column("id_hash", sa.Text, primary_key=True),
        _text("subject"),
        _number("signed_in_at"),
        _number("expires_at"),
    )
    op.create_index("sign_in_subject", "sign_in", ["subject"])
    op.create_index("sign_in_expires", "sign_in", ["expires_at"])
    op.create_table(
        "consent",
        *(_text(name) for name in ("subject", "client_id", "resource", "scope", "terms")),
        _number("granted_at"),
        sa.PrimaryKeyConstraint("subject", "client_id", "resource"),
    )


def _standing() -> None:
    op.create_table(
        "revocation",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        _text("kind"),
        _text("digest"),
        _number("not_before"),
        _number("expires_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("revocation_expires", "revocation", ["expires_at"])
    op.create_table(
        "standing",
        _text("kind"),
        _text("name"),
        sa.Column("defined", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        _text("why"),
        _number("since"),
        sa.PrimaryKeyConstraint("kind", "name"),
        sa.CheckConstraint("kind IN ('client', 'resource', 'owner')", name="standing_kind"),
    )
    op.create_table(
        "key_state",
        sa.Column("kid", sa.Text, primary_key=True),
        _text("state"),
        _number("since"),
        sa.CheckConstraint("state IN ('prepared', 'active', 'retired', 'revoked')", name="key_state_state"),
    )
