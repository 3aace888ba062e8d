"""Agreed values of both sides, and our own writes."""

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

from enerflo_sync.warehouse.schema.columns import required, sync_table, text, time

# The values on which both sides last agreed: one row (a pair) for each field of a CRM row.
agreed = sync_table(
    "agreed",
    required("table_name"),
    # The CRM table's key columns; {"": …} with the record's own key for pairs of a record that has no row
    # now, whose former key another row has (enerflo_sync.agreed.former_rows).
    required("key", JSONB),
    required("field"),
    # The value in Enerflo's form, and in the CRM's form if that differs (JSON null included).
    Column("value", JSONB(none_as_null=True)),
    Column("crm_value", JSONB(none_as_null=True)),
    time("agreed_at", nullable=False),
    # comparison: found equal; push: written by us and read back; undo: intentionally left different. With
    # former_ before it: the field stood for something else then, and with former_row_: the record's row had
    # another key. Such a pair is no base for a decision.
    required("agreed_by"),
    # The field holds the other side's id, which identifies a row deleted from the CRM.
    Column("is_link", Boolean, nullable=False, server_default="false"),
    # A copy apart from ``value``, which changes often and is therefore not indexed.
    Column("link", JSONB, Computed("case when is_link then value end", persisted=True)),
    # The mirror's key of the pair's record. Null if the CRM's key is that record's id. If it is not, null
    # means unknown, and the pair is no base for a decision.
    Column("enerflo_key", JSONB(none_as_null=True)),
    # The record's own time when it was last seen with its half of the pair, and the CRM row's with the other.
    # Null: unknown, or no field of the table takes the later value.
    time("enerflo_time"),
    time("crm_time"),
    PrimaryKeyConstraint("account", "table_name", "key", "field"),
    Index("agreed_link", "account", "table_name", "link", postgresql_where="link is not null"),
    filled=90,
)

# Fields of CRM rows that shared a record or key with other rows: they have no base until they are equal.
agreed_twins = sync_table(
    "agreed_twins",
    required("table_name"),
    # The row's key; {"": …} with the mirror's key of its record, because the row may get another key.
    required("key", JSONB),
    required("field"),
    time("seen_at", nullable=False),
    PrimaryKeyConstraint("account", "table_name", "key", "field"),
)

# The CRM columns that identify the pairs of a table; each with its type and its mirror column. Under the
# table's name with /fields: what each field of the pairs stands for.
agreed_keys = sync_table(
    "agreed_keys",
    required("table_name"),
    required("columns", JSONB),
    # The columns before a change, when they changed, and how many rows' pairs can no longer be found.
    Column("columns_before", JSONB(none_as_null=True)),
    time("changed_at"),
    Column("rows_lost", BigInteger),
    PrimaryKeyConstraint("account", "table_name"),
)

# A record's time of change after our own last write, and the last change before it by anybody else.
own_writes = sync_table(
    "own_writes",
    # crm: the CRM's table and key; enerflo: the mirror's.
    required("side"),
    required("table_name"),
    required("key", JSONB),
    time("left_at"),
    # Enerflo's times have whole seconds: other content that is first seen after this is somebody else's, even
    # in the same second.
    time("left_seen_at"),
    # enerflo: digest of the mirror's values then.
    *text("left_digest"),
    # Null: nobody else ever changed it.
    time("others_at"),
    # crm: the row's time just before our write, whoever left it. Null: nobody knows.
    # enerflo: the record's time just before our request, if an earlier request may have left it.
    time("over_at"),
    # Like ``others_at``, for a request whose record was not read back.
    time("sent_others_at"),
    PrimaryKeyConstraint("account", "side", "table_name", "key"),
    CheckConstraint("side in ('crm', 'enerflo')", name="own_writes_side"),
)
