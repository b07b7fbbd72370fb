"""The tables of `perhop.db`, as SQLAlchemy Core.

The migrations make them; a test holds that both say the same. Times are seconds since the epoch. What must not be
read back from a stolen file (codes, cookies) is kept as its SHA-256.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()

AS_ADDED = text("rowid")
"""The order in which rows came, for those of one second. SQLite's own number of a row."""

token_record = Table(
    "token_record",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("parent_jti", Text),
    Column("parent_audience", Text),
    Column("txn", Text, nullable=False),
    Column("hop", Integer, nullable=False),
    Column("audience", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("issued_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("tenant", Text),
    Column("family", Text),
    Column("code_hash", Text),
    Column("task", Text),
    Index("token_record_parent", "parent_jti"),
    Index("token_record_code", "code_hash"),
    Index("token_record_expires", "expires_at"),
)

authorization_code = Table(
    "authorization_code",
    metadata,
    Column("code_hash", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("code_challenge", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("uses", Integer, nullable=False, server_default="0"),
    Column("task", Text),
    Column("terms", Text),
    Column("sender", Text),
    Column("auth_time", Integer),
    Column("acr", Text),
    Index("authorization_code_expires", "expires_at"),
)

# What was fixed when a code was redeemed; only `ended_at` ever changes.
refresh_family = Table(
    "refresh_family",
    metadata,
    Column("id", Text, primary_key=True),
    Column("code_hash", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("tenant", Text),
    Column("task", Text),
    Column("began_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("ended_at", Integer),
    Column("sender", Text),
    Column("auth_time", Integer),
    Column("acr", Text),
    Index("refresh_family_code", "code_hash", unique=True),
    Index("refresh_family_client", "client_id"),
    Index("refresh_family_subject", "subject"),
    Index("refresh_family_expires", "expires_at"),
)

# Spent ones stay as long as their family: whoever brings one again has a copy. One at most is not spent.
refresh_token = Table(
    "refresh_token",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("family", Text, nullable=False),
    Column("issued_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("spent_at", Integer),
    Index("refresh_token_family", "family"),
    Index("refresh_token_live", "family", unique=True, sqlite_where=text("spent_at IS NULL")),
)

assertion = Table(
    "assertion",
    metadata,
    Column("client_id", Text, nullable=False),
    Column("jti", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
    PrimaryKeyConstraint("client_id", "jti"),
    Index("assertion_expires", "expires_at"),
)

# `expires_at` is the last second in which the proof would be taken.
used_proof = Table(
    "used_proof",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("expires_at", Integer, nullable=False),
    Index("used_proof_expires", "expires_at"),
)

# Of issuers that assert: what was used, by the issuer that made it.
spent_grant = Table(
    "spent_grant",
    metadata,
    Column("issuer", Text, nullable=False),
    Column("jti", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
    PrimaryKeyConstraint("issuer", "jti"),
    Index("spent_grant_expires", "expires_at"),
)

account = Table(
    "account",
    metadata,
    Column("email", Text, primary_key=True),
    Column("subject", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("console_only", Boolean, nullable=False, server_default=false()),
)

# A person whom an OpenID provider signs in. `groups` is a JSON array, null where they are not known.
federated_account = Table(
    "federated_account",
    metadata,
    Column("issuer", Text, nullable=False),
    Column("subject_there", Text, nullable=False),
    Column("subject", Text, nullable=False, unique=True),
    Column("email", Text),
    Column("groups", Text),
    Column("seen_at", Integer, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("issuer", "subject_there"),
)

sign_in = Table(
    "sign_in",
    metadata,
    Column("id_hash", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("signed_in_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("place", Text, nullable=False, server_default="authorize"),
    Column("auth_time", Integer),
    Column("acr", Text),
    Column("occasion", Text),
    Index("sign_in_subject", "subject"),
    Index("sign_in_expires", "expires_at"),
)

consent = Table(
    "consent",
    metadata,
    Column("subject", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("granted_at", Integer, nullable=False),
    Column("used_at", Integer),
    PrimaryKeyConstraint("subject", "client_id", "resource"),
)

# `seq` is what a feed's reader has seen last, so a number is never given twice, even after rows are forgotten.
revocation = Table(
    "revocation",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("not_before", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Index("revocation_expires", "expires_at"),
    sqlite_autoincrement=True,
)

# One row at most; see `authorization_server.epoch`.
epoch = Table(
    "epoch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("began_at", Integer, nullable=False),
    Column("starts", Integer, nullable=False),
    CheckConstraint("id = 1", name="epoch_one"),
)

standing = Table(
    "standing",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("defined", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", Integer, nullable=False),
    PrimaryKeyConstraint("kind", "name"),
    CheckConstraint("kind IN ('client', 'resource', 'owner', 'issuer')", name="standing_kind"),
)

key_state = Table(
    "key_state",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", Integer, nullable=False),
    CheckConstraint("state IN ('prepared', 'active', 'retired', 'revoked')", name="key_state_state"),
)

# The definitions are one canonical JSON array: what was approved was approved as a whole.
tool_approval = Table(
    "tool_approval",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("definitions", Text, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("approved_at", Integer, nullable=False),
)

# `definition` is null where there is none that could be approved.
tool_quarantine = Table(
    "tool_quarantine",
    metadata,
    Column("resource", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("definition", Text),
    Column("noticed_at", Integer, nullable=False),
    PrimaryKeyConstraint("resource", "tool"),
)

# Every policy set that was proposed or in force, whole: `sources` is a JSON object of file names and texts.
policy_version = Table(
    "policy_version",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("sources", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("kept_at", Integer, nullable=False),
)

policy_approval = Table(
    "policy_approval",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("reviewer", Text, nullable=False),
    Column("entered_by", Text, nullable=False),
    Column("approved_at", Integer, nullable=False),
)

# A row for each time that another set was put in force; the last one is in force.
policy_in_force = Table(
    "policy_in_force",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("digest", Text, nullable=False),
    Column("put_by", Text, nullable=False),
    Column("since", Integer, nullable=False),
    sqlite_autoincrement=True,
)

# `calls` and `writes` are what was counted; a limit is null where there is none. `tools` is a JSON array of patterns.
agent_task = Table(
    "agent_task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client", Text, nullable=False),
    Column("subject", Text),
    Column("purpose", Text, nullable=False),
    Column("tools", Text, nullable=False),
    Column("max_calls", Integer),
    Column("max_writes", Integer),
    Column("calls", Integer, nullable=False, server_default="0"),
    Column("writes", Integer, nullable=False, server_default="0"),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("approved_at", Integer),
    Column("ended_at", Integer),
    Column("superseded_by", Text),
    Index("agent_task_expires", "expires_at"),
)

# `digest` is over all that the approval is bound to; `sealed` what the person is shown, null once nobody has to see it.
# `policies` is a JSON array of ids. `told_at` is when the owner's webhook took it.
call_approval = Table(
    "call_approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("task", Text),
    Column("method", Text, nullable=False),
    Column("params_sha256", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("name", Text),
    Column("policies", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("asked_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Integer),
    Column("why", Text, nullable=False),
    Column("used_at", Integer),
    Column("told_at", Integer),
    Column("sealed", LargeBinary),
    CheckConstraint("state IN ('waiting', 'approved', 'denied', 'used', 'expired')", name="call_approval_state"),
    Index("call_approval_digest", "digest"),
    Index("call_approval_state", "state", "agent"),
    Index("call_approval_asked", "asked_at"),
)

# The newest document of a client by which a token was issued, with the keys of its `jwks_uri`, as they came.
client_document = Table(
    "client_document",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("key_set", Text),
    Column("sha256", Text, nullable=False),
    Column("fetched_at", Integer, nullable=False),
    Column("fresh_until", Integer, nullable=False),
    Column("used_at", Integer, nullable=False),
)

# A client that registered itself; the columns from `owner` on are null until somebody has adopted it. `metadata` and
# `reaches` are JSON objects, `expires` a day.
client_registration = Table(
    "client_registration",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("metadata", Text, nullable=False),
    Column("secret_sha256", Text),
    Column("network", Text, nullable=False),
    Column("registered_at", Integer, nullable=False),
    Column("lapses_at", Integer, nullable=False),
    Column("owner", Text),
    Column("purpose", Text),
    Column("expires", Text),
    Column("reaches", Text),
    Column("adopted_by", Text),
    Column("adopted_at", Integer),
)
