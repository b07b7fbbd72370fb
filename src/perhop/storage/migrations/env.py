"""What alembic runs: the connection comes from `perhop.storage.migrate`, there is no ini file and no offline mode."""

from __future__ import annotations

from alembic import context

from perhop.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
