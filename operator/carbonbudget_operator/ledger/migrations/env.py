"""Alembic's environment: the connection comes from `schema_migration.migrate`, never from a settings file."""

from alembic import context

from carbonbudget_operator.ledger.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
