"""A person's refusals are remembered for each change; plans have parts, and end as superseded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"

_STATES = {
    "plans": ("plans_state", "state", "open approved rejected applied expired superseded"),
    "plan_changes": (
        "plan_changes_state",
        "state",
        "planned sent applied moved parked refused left_out superseded",
    ),
    "ledger": ("ledger_decision", "decision", "applied moved refused parked held released superseded"),
}

# What was refused before stays refused as well.
_REFUSED_BEFORE = """
insert into sync.refusals (account, table_name, key, enerflo_key, op, field, direction, before, after,
  source_value, plan_hash, decided_by, decided_at, reason)
select account, c.table_name, c.key, (array_agg(c.enerflo_key))[1], c.op, f.field, c.direction,
  (array_agg(c.before))[1],
  case when c.op = 'insert' then jsonb_object_agg(c.field, c.after) filter (where c.field is not null)
       else (array_agg(c.after))[1] end,
  case when c.op <> 'insert' then (array_agg(c.source_value))[1] end,
  plan_hash, p.decided_by, p.decided_at, p.decision_reason
from sync.plans p join sync.plan_changes c using (account, plan_hash)
cross join lateral (select case when c.op <> 'insert' then c.field end as field) f
where p.kind = 'sync' and p.state = 'rejected' and p.decided_by is not null and p.decided_at is not null
  and c.state = 'refused'
group by account, plan_hash, p.decided_by, p.decided_at, p.decision_reason, c.table_name, c.key, c.op,
  f.field, c.direction
"""


def upgrade() -> None:
    """Make the table of refusals, and allow the new states."""
    op.create_table(
        "refusals",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("refusal_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("enerflo_key", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("source_value", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "refusal_id"),
        schema="sync",
    )
    op.create_index(
        "refusals_standing",
        "refusals",
        ["account", "table_name"],
        unique=False,
        schema="sync",
        postgresql_where="ended_at is null",
    )
    op.create_index(
        "refusals_record", "refusals", ["key"], unique=False, schema="sync", postgresql_using="hash"
    )
    op.add_column("plans", sa.Column("part", sa.Integer(), server_default="1", nullable=False), schema="sync")
    op.add_column("plan_undecided", sa.Column("refusal_id", sa.BigInteger(), nullable=True), schema="sync")
    for table, (name, column, words) in _STATES.items():
        op.drop_constraint(name, table, schema="sync")
        listed = ", ".join(f"'{word}'" for word in words.split())
        op.create_check_constraint(name, table, f"{column} in ({listed})", schema="sync")
    op.execute(_REFUSED_BEFORE)
