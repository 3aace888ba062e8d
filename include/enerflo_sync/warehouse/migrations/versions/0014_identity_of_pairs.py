"""A pair of values belongs to a record of both sides: by the CRM's key alone a relinked row inherited one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"

# The one number by which a row names its record is the record's id in these tables. A pair that is older than
# its row's link may be of the record that the row named before: it stays unknown, and is no base.
_IDENTIFY = """
/* enerflo-sync migrate: the record of each pair whose CRM row names it */
update sync.agreed a set enerflo_key = jsonb_build_object(n.column_name, l.link)
from (
  select account, table_name, key, min(link::text)::jsonb as link, max(agreed_at) as agreed_at
  from sync.agreed where link is not null
  group by account, table_name, key having count(*) = 1 and min(jsonb_typeof(link)) = 'number'
) l
join (values ('notes', 'note_id'), ('leads', 'customer_id'), ('change_orders', 'change_order_id'))
  as n (table_name, column_name) on n.table_name = l.table_name
where a.account = l.account and a.table_name = l.table_name and a.key = l.key and a.agreed_at >= l.agreed_at
"""

# What is equal gets its record's key by the next plan, which looks at all rows of these tables once.
_LOOK_AGAIN = """
/* enerflo-sync migrate: tables whose pairs are looked at once more */
delete from sync.watermarks w
where w.name like 'agreed/%' and exists (
  select from sync.agreed a
  where a.account = w.account and a.table_name = split_part(w.name, '/', 2) and a.link is not null)
"""


def upgrade() -> None:
    """Add the record's key to pairs, and the tables that say which pairs and times are nobody's edit."""
    op.add_column("agreed", sa.Column("enerflo_key", postgresql.JSONB(), nullable=True), schema="sync")
    op.execute(_IDENTIFY)
    op.execute(_LOOK_AGAIN)
    op.create_table(
        "agreed_twins",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "table_name", "key", "field"),
        schema="sync",
    )
    op.create_table(
        "agreed_keys",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("columns", postgresql.JSONB(), nullable=False),
        sa.Column("columns_before", postgresql.JSONB(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rows_lost", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "table_name"),
        schema="sync",
    )
    op.create_table(
        "own_writes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("others_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_others_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account", "side", "table_name", "key"),
        sa.CheckConstraint("side in ('crm', 'enerflo')", name="own_writes_side"),
        schema="sync",
    )
