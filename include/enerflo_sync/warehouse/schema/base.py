"""What both sides last agreed on, and what of it was our own doing."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Index,
    PrimaryKeyConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

agreed = sync_table(
    "agreed",
    required("table_name"),
    # The CRM table's key columns.
    required("key", JSONB),
    required("field"),
    # The value as Enerflo has it, and as the CRM writes it where that is something else (JSON null included).
    Column("value", JSONB(none_as_null=True)),
    Column("crm_value", JSONB(none_as_null=True)),
    time("agreed_at", nullable=False),
    # comparison: found equal; push: written by us and read back; undo: left apart on purpose.
    required("agreed_by"),
    # The field holds the other side's id: by it a row that was deleted from the CRM is known.
    Column("is_link", Boolean, nullable=False, server_default="false"),
    # Apart from ``value``, which changes often and stands in no index for that.
    Column("link", JSONB, Computed("case when is_link then value end", persisted=True)),
    # The mirror's key of the record that the pair is about. Null where the CRM's key is that record's id;
    # where it is not, null is unknown, and such a pair is no base.
    Column("enerflo_key", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "table_name", "key", "field"),
    Index("agreed_link", "account", "table_name", "link", postgresql_where="link is not null"),
    filled=90,
)

# Fields of CRM rows that were one of several of their record or key: they have no base until they are equal.
agreed_twins = sync_table(
    "agreed_twins",
    required("table_name"),
    required("key", JSONB),
    required("field"),
    time("seen_at", nullable=False),
    PrimaryKeyConstraint("account", "table_name", "key", "field"),
)

# By which columns of the CRM the pairs of a table are stored; each with its type and its mirror column.
agreed_keys = sync_table(
    "agreed_keys",
    required("table_name"),
    required("columns", JSONB),
    # What they were before they changed, since when, and of how many rows the pairs are not found any more.
    Column("columns_before", JSONB(none_as_null=True)),
    time("changed_at"),
    Column("rows_lost", BigInteger),
    PrimaryKeyConstraint("account", "table_name"),
)

# What our own last write left as a record's time of change, and when anybody else had changed it before.
own_writes = sync_table(
    "own_writes",
    # crm: the CRM's table and key; enerflo: the mirror's.
    required("side"),
    required("table_name"),
    required("key", JSONB),
    time("left_at"),
    # Enerflo says whole seconds: what was first seen after this is somebody else's, of whatever second.
    time("left_seen_at"),
    # Null: nobody else ever did.
    time("others_at"),
    # The same as ``others_at`` as of a request of which the end is not known yet.
    time("sent_others_at"),
    PrimaryKeyConstraint("account", "side", "table_name", "key"),
    CheckConstraint("side in ('crm', 'enerflo')", name="own_writes_side"),
)
