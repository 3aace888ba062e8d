"""Plans, people's decisions about them, and the ledger of all decisions."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    column,
    func,
)
from sqlalchemy import text as sql_text
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, text, time

# Who had personal data shown unmasked, and of which record or item, such as quarantine/ITEM.
reveals = sync_table(
    "reveals",
    time("at", nullable=False),
    required("who"),
    required("what"),
    PrimaryKeyConstraint("account", "at", "who", "what"),
)

# One row per plan, with its state, who decided about it, and why it waits.
plans = sync_table(
    "plans",
    # sha-256 of the plan's content.
    required("plan_hash"),
    # sync, or undo of another plan.
    required("kind"),
    time("created_at", nullable=False),
    time("expires_at", nullable=False),
    required("state"),
    Column("change_count", BigInteger, nullable=False),
    Column("needs_approval", Boolean, nullable=False),
    # Why it needs approval, in sentences.
    Column("reasons", JSONB, nullable=False, server_default="[]"),
    Column("decided_by", Text),
    time("decided_at"),
    Column("decision_reason", Text),
    # The database's session_user of that decision, beside the name that was given.
    Column("decided_as", Text),
    # Where two persons have to approve: the first approval, with its name, session_user, time and part.
    Column("first_approval", JSONB(none_as_null=True)),
    required("mode"),
    required("config_hash"),
    # By table, the digest of the `writes` options in sync.yaml; null in plans of older versions.
    Column("writes_hashes", JSONB(none_as_null=True)),
    # The plan's basis: a reconciliation, or the plan that it undoes.
    Column("stands_on", Text),
    # Counts by group, for lists of plans.
    Column("summary", JSONB, nullable=False, server_default="{}"),
    time("applied_at"),
    # Plans of one round: 1 is the part that the rules allow, or the only plan; 2 waits for approval.
    Column("part", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("account", "plan_hash"),
    CheckConstraint(
        "state in ('open', 'approved', 'rejected', 'applied', 'expired', 'superseded')", name="plans_state"
    ),
    Index("plans_time", "account", "created_at"),
    Index("plans_open", "account", postgresql_where="state = 'open'"),
)

# The changes of each plan with their outcomes. It is also the outbox of changes to Enerflo.
plan_changes = sync_table(
    "plan_changes",
    required("plan_hash"),
    Column("position", BigInteger, nullable=False),
    required("table_name"),
    required("key", JSONB),
    # The mirror's key by column, which identifies Enerflo's record, if there is one.
    Column("enerflo_key", JSONB(none_as_null=True)),
    required("op"),
    # Null for a row that is deleted.
    Column("field", Text),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    # The winning side's own value; ``after`` is the same value in the other side's form.
    Column("source_value", JSONB(none_as_null=True)),
    required("direction"),
    required("policy"),
    required("cause"),
    # The rule that decided, and the facts that it used.
    required("rule"),
    Column("facts", JSONB, nullable=False, server_default="[]"),
    # Time of the winning value, and of the last agreement of both sides.
    time("changed_at"),
    time("observed_at"),
    time("agreed_at"),
    # The ctid of the ``agreed`` row at planning: tried first, and used only if it is still that row.
    Column("agreed_row", Text),
    required("state"),
    # Why it is moved, parked or refused.
    Column("reason", Text),
    time("sent_at"),
    time("done_at"),
    # When Enerflo accepted the request, and the new record's id in its answer.
    time("accepted_at"),
    Column("accepted_id", BigInteger),
    # True for a sent request that was applied: nobody looks for its effect any more. Null where an older
    # program, which does not know the column, applied it.
    Column("confirmed", Boolean),
    # Digest of the whole CRM row: for a deletion, as the plan saw it; for an insert (on the record's first
    # change), after all its writes.
    Column("row_digest", Text),
    # The complete deleted CRM row, each column as text; never printed.
    Column("deleted_row", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "plan_hash", "position"),
    # left_out: not in the part that a person approved, until that part is applied. handed_over: it is on its
    # way by ``crm_changes``, and is applied when the copy shows it.
    CheckConstraint(
        "state in ('planned', 'sent', 'applied', 'handed_over', 'moved', 'parked', 'refused', 'left_out',"
        " 'superseded')",
        name="plan_changes_state",
    ),
    CheckConstraint("op in ('insert', 'update', 'delete')", name="plan_changes_op"),
    CheckConstraint("direction in ('to_crm', 'to_enerflo')", name="plan_changes_direction"),
    Index("plan_changes_record", "key", postgresql_using="hash"),
    # Requests with an unknown or unexpected outcome; there are few. It has no column that a change to the CRM
    # gets with its outcome: such an update touches no index, which costs a fifth of what it else costs.
    Index(
        "plan_changes_unconfirmed",
        *("account", "table_name"),
        postgresql_where="sent_at is not null and confirmed is null",
    ),
    # Completions of installs: each plan looks whether an older one was not made; there are few.
    Index(
        "plan_changes_completed",
        *("account", "table_name"),
        postgresql_where="rule = 'last_milestone'",
    ),
    # Each row is updated once, with its outcome.
    filled=50,
)

# What a plan could not decide, and why: each waits for a person, a mapping or the other side.
plan_undecided = sync_table(
    "plan_undecided",
    required("plan_hash"),
    Column("position", BigInteger, nullable=False),
    required("table_name"),
    required("key", JSONB),
    Column("field", Text),
    Column("enerflo_value", JSONB(none_as_null=True)),
    Column("crm_value", JSONB(none_as_null=True)),
    required("cause"),
    required("reason"),
    # If a refusal keeps the change out of the plan: that refusal.
    Column("refusal_id", BigInteger),
    PrimaryKeyConstraint("account", "plan_hash", "position"),
)

# A person's refusals, one row per change (for a new row: one for all its fields). While ``ended_at`` is
# empty, no plan contains the change.
refusals = sync_table(
    "refusals",
    Column("refusal_id", BigInteger, Identity(always=True), nullable=False),
    required("table_name"),
    required("key", JSONB),
    Column("enerflo_key", JSONB(none_as_null=True)),
    required("op"),
    # Null for a row that is created or deleted.
    Column("field", Text),
    required("direction"),
    # As in ``plan_changes``; for a new row, ``after`` has all values by field.
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    Column("source_value", JSONB(none_as_null=True)),
    required("plan_hash"),
    required("decided_by"),
    time("decided_at", nullable=False),
    Column("reason", Text),
    # When, by whom and why it ended: a value changed, or a person reopened the change.
    time("ended_at"),
    *text("ended_by", "end_reason"),
    PrimaryKeyConstraint("account", "refusal_id"),
    Index("refusals_standing", "account", "table_name", postgresql_where="ended_at is null"),
    Index("refusals_record", "key", postgresql_using="hash"),
    Index("refusals_plan", "account", "plan_hash", "decided_at", postgresql_where="ended_at is null"),
)

# Every decision about a difference, made or not, with its facts and who decided. Rows are only added.
ledger = sync_table(
    "ledger",
    Column("ledger_id", BigInteger, Identity(always=True), nullable=False),
    required("table_name"),
    required("key", JSONB),
    required("op"),
    Column("field", Text),
    Column("old_value", JSONB(none_as_null=True)),
    Column("new_value", JSONB(none_as_null=True)),
    Column("losing_value", JSONB(none_as_null=True)),
    # How Enerflo stores the value sent, if it spells ``new_value`` differently.
    Column("kept_value", JSONB(none_as_null=True)),
    required("direction"),
    required("policy"),
    required("cause"),
    required("rule"),
    Column("facts", JSONB, nullable=False, server_default="[]"),
    required("plan_hash"),
    required("decision"),
    # Why it was not applied, or how an applied change ended.
    Column("reason", Text),
    required("decided_by"),
    # Evidence for the winning value: a version of the record, a webhook event, the CRM's row.
    Column("evidence", Text),
    required("run_id"),
    # The source's time of the value, when we observed it, and when we recorded the decision.
    time("changed_at"),
    time("observed_at"),
    time("recorded_at", nullable=False),
    # The database's session_user who recorded it, whatever name decided.
    Column("recorded_as", Text, server_default=sql_text("session_user")),
    PrimaryKeyConstraint("account", "ledger_id"),
    # held: a check keeps it from the CRM; released: a person permitted it.
    CheckConstraint(
        "decision in ('applied', 'handed_over', 'moved', 'refused', 'parked', 'held', 'released',"
        " 'superseded')",
        name="ledger_decision",
    ),
    Index("ledger_record", "key", postgresql_using="hash"),
    # Rows are only appended in time order, so the time range per range of pages suffices.
    Index("ledger_time", "recorded_at", postgresql_using="brin"),
    Index("ledger_parked", "account", "recorded_at", postgresql_where="decision = 'parked'"),
)

# Parked changes that a person wants to retry: these ledger rows no longer hold back the next plan.
retries = sync_table(
    "retries",
    Column("ledger_id", BigInteger, nullable=False),
    time("requested_at", nullable=False),
    required("requested_by"),
    PrimaryKeyConstraint("account", "ledger_id"),
)

# Where the CRM's table is only a copy (write_to: changes): one row for each approved change of a column, for
# a tool that carries it to the CRM. Rows are added; later only the acknowledgement and the state are set.
crm_changes = sync_table(
    "crm_changes",
    # Stable and unique: of the account, the plan and the change's place in it.
    required("change_id"),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    required("table_name"),
    # The mapped table, as sync.yaml names it.
    required("crm_table"),
    required("key", JSONB),
    Column("enerflo_key", JSONB(none_as_null=True)),
    required("op"),
    # Null for a row that is deleted.
    Column("column", Text),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    required("plan_hash"),
    # Null where it is the id of a record that was created at Enerflo, for its CRM row.
    Column("position", BigInteger),
    # sync, undo of another plan, or link: an id of Enerflo for a CRM row.
    required("kind"),
    required("approved_by"),
    time("made_at", nullable=False),
    # Set by the tool that took the change over.
    time("acknowledged_at"),
    # When the CRM's record had last been modified as a request with the change went out. Null once it is
    # known that the request changed nothing.
    time("sent_as_of"),
    required("state"),
    # Why it is superseded or withdrawn, and since when the state holds.
    Column("reason", Text),
    time("state_at", nullable=False),
    # What the copy shows until the change arrives.
    Column("copy_value", JSONB(none_as_null=True)),
    # From then on the copy is not looked at for it any more.
    time("ended_at"),
    PrimaryKeyConstraint("account", "change_id"),
    CheckConstraint("state in ('open', 'arrived', 'superseded', 'withdrawn')", name="crm_changes_state"),
    CheckConstraint("op in ('insert', 'update', 'delete')", name="crm_changes_op"),
    CheckConstraint("kind in ('sync', 'undo', 'link')", name="crm_changes_kind"),
    Index("crm_changes_followed", "account", "table_name", "number", postgresql_where="ended_at is null"),
    Index("crm_changes_row", "key", postgresql_using="hash", postgresql_where="ended_at is null"),
    Index("crm_changes_record", "enerflo_key", postgresql_using="hash", postgresql_where="ended_at is null"),
    Index("crm_changes_plan", "account", "plan_hash"),
    Index(
        "crm_changes_late",
        *("account", "table_name", func.coalesce(column("acknowledged_at"), column("made_at"))),
        postgresql_where="ended_at is null and state = 'open'",
    ),
)
