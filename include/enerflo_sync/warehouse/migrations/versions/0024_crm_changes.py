"""Changes that are handed over where the CRM's table is only a copy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0024"
down_revision = "0023"

_STATES = {
    "plan_changes": (
        "plan_changes_state",
        "state",
        "planned sent applied handed_over moved parked refused left_out superseded",
    ),
    "ledger": (
        "ledger_decision",
        "decision",
        "applied handed_over moved refused parked held released superseded",
    ),
}

# What a tool has to carry to the CRM now, in texts. The columns that can be updated are those of the table.
_OPEN = """
create view sync.crm_changes_open as
select change_id, account, table_name, crm_table, op,
       (select string_agg(k.value, '/' order by k.key) from jsonb_each_text(c.key) k) as record_key,
       c.key, c."column", c.before #>> '{}' as before, c.after #>> '{}' as after,
       plan_hash, approved_by, made_at, acknowledged_at
from sync.crm_changes c
where state = 'open' and acknowledged_at is null
"""


def upgrade() -> None:
    """Make ``sync.crm_changes`` and its view, and allow the state of a change that was handed over."""
    op.create_table(
        "crm_changes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("crm_table", sa.Text(), nullable=False),
        sa.Column("key", JSONB(), nullable=False),
        sa.Column("enerflo_key", JSONB(none_as_null=True)),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("column", sa.Text()),
        sa.Column("before", JSONB(none_as_null=True)),
        sa.Column("after", JSONB(none_as_null=True)),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True)),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("copy_value", JSONB(none_as_null=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("account", "change_id"),
        sa.CheckConstraint(
            "state in ('open', 'arrived', 'superseded', 'withdrawn')", name="crm_changes_state"
        ),
        sa.CheckConstraint("op in ('insert', 'update', 'delete')", name="crm_changes_op"),
        sa.CheckConstraint("kind in ('sync', 'undo', 'link')", name="crm_changes_kind"),
        schema="sync",
    )
    followed = "ended_at is null"
    op.create_index(
        "crm_changes_followed",
        "crm_changes",
        ["account", "table_name", "number"],
        schema="sync",
        postgresql_where=followed,
    )
    for name, column in (("crm_changes_row", "key"), ("crm_changes_record", "enerflo_key")):
        op.create_index(
            name, "crm_changes", [column], schema="sync", postgresql_using="hash", postgresql_where=followed
        )
    op.create_index("crm_changes_plan", "crm_changes", ["account", "plan_hash"], schema="sync")
    op.execute(_OPEN)
    for table, (name, column, words) in _STATES.items():
        op.drop_constraint(name, table, schema="sync")
        listed = ", ".join(f"'{word}'" for word in words.split())
        op.create_check_constraint(name, table, f"{column} in ({listed})", schema="sync")
