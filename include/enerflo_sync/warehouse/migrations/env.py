"""Alembic's entry: it always runs on a connection that ``enerflo_sync.warehouse.migrate`` hands in."""

from __future__ import annotations

from alembic import context

from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=SYNC_SCHEMA,
    include_schemas=True,
)
context.run_migrations()
