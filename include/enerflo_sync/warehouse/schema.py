"""The warehouse tables of this project, declared once; the migrations are tested against this page.

Names are a contract with analysts: columns are added, never renamed (design §5).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

MIRROR_SCHEMA = "enerflo"
SYNC_SCHEMA = "sync"
VERSION_TABLE = "enerflo_sync_schema_version"


def _time(name: str, *, nullable: bool = True) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(*names: str) -> list[Column[Any]]:
    return [Column(name, Text) for name in names]


def _mirror_table(name: str, key: list[Column[Any]], columns: list[Column[Any]]) -> Table:
    """Declare one table of current records, with the columns that every such table has."""
    return Table(
        name,
        metadata,
        Column("account", Text, nullable=False),
        *key,
        *columns,
        _time("observed_at", nullable=False),
        Column("observed_by", Text, nullable=False),
        _time("absent_since"),
        _time("deleted_at"),
        # Digest of the record's bytes as received, volatile parts left out: equal means "do not parse".
        Column("raw_hash", LargeBinary),
        PrimaryKeyConstraint("account", *(column.name for column in key)),
        Index(f"{name}_observed", "account", "observed_at"),
        Index(f"{name}_gone", "account", "deleted_at", postgresql_where="deleted_at is not null"),
        schema=MIRROR_SCHEMA,
    )


def _sync_table(name: str, *columns: Any, filled: int = 100) -> Table:
    """Declare one table of ours.

    :param filled: percent of a page that new rows fill. Room is left where rows are updated later: a row that
        stays in its page, and whose indexed columns stay the same, costs no index anything.
    """
    table = Table(name, metadata, Column("account", Text, nullable=False), *columns, schema=SYNC_SCHEMA)
    table.info["fillfactor"] = filled
    return table


def _required(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, nullable=False)


installs = _mirror_table(
    "installs",
    [_required("install_id", BigInteger)],
    [
        *_text("deal_id", "survey_id", "customer_name"),
        Column("customer_id", BigInteger),
        Column("company_id", BigInteger),
        Column("status_id", BigInteger),
        *_text("status_name", "current_milestone", "office_name", "agent_name"),
        Column("system_size_kw", Numeric),
        Column("panel_type", Text),
        Column("panel_count", Integer),
        Column("battery_configuration", Text),
        Column("contract_amount", Numeric),
        _time("created_at"),
        _time("updated_at"),
        Column("content_hash", Text),
        # When the whole record was last read directly, because the list does not tell its milestones;
        # in 1970 when that is due or could not be done, null where the list tells everything.
        _time("detail_read_at"),
    ],
)
Index(
    "installs_detail",
    installs.c.account,
    installs.c.detail_read_at,
    postgresql_where=installs.c.detail_read_at.is_not(None),
)

install_versions = Table(
    "install_versions",
    metadata,
    _required("account"),
    _required("install_id", BigInteger),
    _required("content_hash"),
    _required("raw", JSONB),
    _time("first_seen_at", nullable=False),
    _required("observed_by"),
    _required("evidence"),
    PrimaryKeyConstraint("account", "install_id", "content_hash"),
    schema=MIRROR_SCHEMA,
)

submissions = Table(
    "submissions",
    metadata,
    _required("account"),
    _required("deal_id"),
    # Of all that a payload says of deal, customer, proposal and design: one signed version is one row.
    _required("content_hash"),
    _required("event"),
    Column("install_id", BigInteger),
    Column("panel_type", Text),
    Column("panel_count", Integer),
    Column("battery_configuration", Text),
    *(Column(name, Numeric) for name in ("system_size_watts", "gross_cost", "net_cost")),
    *_text("street", "city", "state", "postal_code"),
    Column("adders", JSONB),
    _time("first_seen_at", nullable=False),
    _required("observed_by"),
    _required("evidence"),
    # Where in the payload each value was found, by column.
    Column("sources", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "deal_id", "content_hash"),
    schema=MIRROR_SCHEMA,
)

milestones = _mirror_table(
    "milestones",
    [_required("install_id", BigInteger), _required("milestone_id", BigInteger)],
    [
        Column("title", Text),
        Column("sequence", Integer),
        _time("started_at"),
        _time("due_at"),
        _time("completed_at"),
    ],
)

notes = _mirror_table(
    "notes",
    [_required("note_id", BigInteger)],
    [
        Column("install_id", BigInteger),
        Column("author_id", BigInteger),
        Column("body", Text),
        _time("created_at"),
    ],
)
Index("notes_install", notes.c.account, notes.c.install_id)

change_orders = _mirror_table(
    "change_orders",
    [_required("change_order_id", BigInteger)],
    [
        Column("install_id", BigInteger),
        Column("status", Text),
        _time("signed_at"),
        *_text("panel_type_old", "panel_type_new"),
        Column("panel_count_old", Integer),
        Column("panel_count_new", Integer),
        *_text("battery_old", "battery_new"),
        Column("total_change", Numeric),
        # The new side's adders as the CRM has them: [{name, cost, quantity}].
        Column("adders", JSONB),
        # Components of change_values that nobody reads, as they came.
        Column("unknown_components", JSONB),
        # The order's own time of its last change: which of two payloads is the later one.
        _time("updated_at"),
    ],
)
Index("change_orders_install", change_orders.c.account, change_orders.c.install_id)

change_order_adders = _mirror_table(
    "change_order_adders",
    [_required("change_order_id", BigInteger), _required("adder_id"), _required("side")],
    [
        Column("name", Text),
        Column("cost", Numeric),
        Column("quantity", Numeric),
        Column("active", Boolean),
    ],
)

customers = _mirror_table(
    "customers",
    [_required("customer_id", BigInteger)],
    [
        *_text("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip"),
        *_text("integration_record_id", "status_name"),
        _time("created_at"),
        _time("updated_at"),
    ],
)

install_statuses = _mirror_table(
    "install_statuses", [_required("status_id", BigInteger)], [Column("name", Text)]
)

watermarks = _sync_table(
    "watermarks",
    _required("name"),
    _time("value", nullable=False),
    _time("recorded_at", nullable=False),
    _required("run_id"),
    PrimaryKeyConstraint("account", "name"),
)

companies_seen = _sync_table(
    "companies_seen",
    _required("company_id", BigInteger),
    Column("first_seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("account", "company_id"),
)

runs = _sync_table(
    "runs",
    _required("run_id"),
    _required("job"),
    _time("started_at", nullable=False),
    _time("finished_at"),
    # A run is born failed and becomes ok or partial when it ends, so a killed one needs no clean-up.
    _required("state"),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("read", "applied")),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("unchanged", "quarantined")),
    Column("skipped", BigInteger, nullable=False, server_default="0"),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("reasons", JSONB, nullable=False, server_default="{}"),
    Column("resources", JSONB, nullable=False, server_default="{}"),
    # By how much the worker's clock was ahead of the database's; null where nobody compared them.
    Column("clock_ahead_seconds", Float),
    PrimaryKeyConstraint("account", "run_id"),
    CheckConstraint("state in ('ok', 'partial', 'failed')", name="runs_state"),
    CheckConstraint(
        "state = 'failed' or read = applied + unchanged + quarantined + skipped", name="runs_identity"
    ),
    Index("runs_job", "account", "job", "started_at"),
)

quarantine = _sync_table(
    "quarantine",
    _required("item_id"),
    _required("kind"),
    _required("reason"),
    _required("fingerprint"),
    Column("evidence_uri", Text),
    _time("first_seen_at", nullable=False),
    _time("last_seen_at", nullable=False),
    Column("count", BigInteger, nullable=False),
    _required("state"),
    # Which record it is about, where that is known: the mirror table and its key.
    Column("table_name", Text),
    Column("key", JSONB(none_as_null=True)),
    # The rejected bytes themselves: bytea, since text and jsonb refuse NUL.
    Column("payload", LargeBinary),
    # Who dismissed or replayed it, when, and why.
    Column("decided_by", Text),
    _time("decided_at"),
    Column("decision_reason", Text),
    PrimaryKeyConstraint("account", "item_id"),
    CheckConstraint("state in ('open', 'replayed', 'dismissed')", name="quarantine_state"),
    Index("quarantine_open", "account", "table_name", postgresql_where="state = 'open'"),
)

reconciliations = _sync_table(
    "reconciliations",
    _required("reconciliation_id"),
    _time("started_at", nullable=False),
    _time("finished_at"),
    # full or incremental; an incremental one stands on the same configuration as the one before.
    _required("scope"),
    _required("config_hash"),
    # Where the next incremental comparison takes up, by the database's clock.
    _time("compared_until", nullable=False),
    Column("differences", BigInteger, nullable=False, server_default="0"),
    Column("unexplained", BigInteger, nullable=False, server_default="0"),
    Column("report", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "reconciliation_id"),
    Index("reconciliations_time", "account", "started_at"),
)

differences = _sync_table(
    "differences",
    _required("reconciliation_id"),
    _required("table_name"),
    _required("key", JSONB),
    Column("field", Text),
    Column("enerflo_value", JSONB),
    Column("crm_value", JSONB),
    _required("cause"),
    Column("difference_id", BigInteger, Identity(always=True), nullable=False),
    PrimaryKeyConstraint("account", "reconciliation_id", "table_name", "difference_id"),
)

api_calls = _sync_table(
    "api_calls",
    _required("endpoint"),
    _time("hour", nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("calls", "throttled", "failed", "bytes")
    ),
    Column("seconds", Float, nullable=False, server_default="0"),
    PrimaryKeyConstraint("account", "endpoint", "hour"),
)

request_budgets = _sync_table(
    "request_budgets",
    _required("key_fingerprint"),
    _required("limit_per_window", Integer),
    Column("remaining", Integer),
    _time("reset_at"),
    _time("blocked_until"),
    _time("updated_at"),
    # When live work last sent or waited for a request, and until when one waits at least.
    _time("live_at"),
    _time("live_waits_until"),
    PrimaryKeyConstraint("account", "key_fingerprint"),
)

request_slots = _sync_table(
    "request_slots",
    _required("key_fingerprint"),
    _required("slot", Integer),
    _time("used_at", nullable=False),
    # Who used it last: live work, or a backfill.
    Column("lane", Text, nullable=False, server_default="live"),
    PrimaryKeyConstraint("account", "key_fingerprint", "slot"),
    CheckConstraint("lane in ('live', 'backfill')", name="request_slots_lane"),
)

webhook_events = _sync_table(
    "webhook_events",
    # The first half of content_hash: the same content is the same event, whoever delivered it how often.
    _required("event_id"),
    _required("event"),
    Column("install_id", BigInteger),
    # The v2 deal's uuid; what v1 calls deal_id is the survey's number.
    Column("deal_id", Text),
    _required("content_hash"),
    _time("received_at", nullable=False),
    _required("source_uri"),
    _required("state"),
    _time("applied_at"),
    # When the read began whose answer serves the event: what is told after that is not in it.
    _time("read_at"),
    Column("copies", BigInteger, nullable=False, server_default="1"),
    # Which record of the mirror it concerns: installs/123, deals/<uuid>, customers/45, customers/<uuid>.
    Column("record", Text),
    # Why it is ignored or quarantined, or what the last attempt to read the record met.
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _time("next_attempt_at"),
    # The event as it came, canonical JSON; json and not jsonb, which costs three times as much to store.
    _required("body", JSON),
    PrimaryKeyConstraint("account", "event_id"),
    CheckConstraint(
        "state in ('received', 'applied', 'ignored', 'quarantined')", name="webhook_events_state"
    ),
    Index("webhook_events_waiting", "account", "received_at", postgresql_where="state = 'received'"),
    Index("webhook_events_day", "account", "received_at", "event"),
)

# Who had personal data shown unmasked, and of what: quarantine/<item id>.
reveals = _sync_table(
    "reveals",
    _time("at", nullable=False),
    _required("who"),
    _required("what"),
    PrimaryKeyConstraint("account", "at", "who", "what"),
)

# Files whose events are committed and which are still to be moved: empty but for crashes and refused moves.
webhook_moves = _sync_table(
    "webhook_moves",
    _required("move_id"),
    _time("taken_at", nullable=False),
    # By the file's address in the drop: the digest of what was read, and its address in the archive.
    _required("files", JSONB),
    PrimaryKeyConstraint("account", "move_id"),
)

witnesses = _sync_table(
    "witnesses",
    # The record of the mirror, installs/123, and the digest of what it said after the change.
    _required("record"),
    _required("content_hash"),
    # The event that Enerflo should send for such a change.
    _required("event"),
    # The source's own time of the change, where it says one.
    _time("changed_at"),
    _time("poll_seen_at"),
    # When the webhook arrived, not when its record was read.
    _time("webhook_seen_at"),
    PrimaryKeyConstraint("account", "record", "content_hash"),
    Index("witnesses_poll", "account", "poll_seen_at"),
    Index("witnesses_webhook", "account", "webhook_seen_at"),
)

# What was last seen of the CRM's rows, where the mapping names no column to go by: of tables whose rows tell
# their transaction only the rows that moved within a month, of others all.
crm_rows = _sync_table(
    "crm_rows",
    _required("table_name"),
    # The row's key where that is one whole number by which it is matched. Else the hash of its key and of the
    # columns by which it is matched: a relinked row is another one.
    Column("identity", BigInteger, nullable=False),
    # Hash of everything that is compared or decides.
    Column("row_hash", BigInteger, nullable=False),
    # The columns by which the row is matched, as text.
    Column("link", ARRAY(Text), nullable=False),
    # When this content was first seen, and when the row was first missed, by the database's clock.
    _time("seen_at", nullable=False),
    _time("gone_at"),
    PrimaryKeyConstraint("account", "table_name", "identity"),
    Index("crm_rows_seen", "account", "table_name", "seen_at"),
    Index("crm_rows_gone", "account", "table_name", "gone_at", postgresql_where="gone_at is not null"),
)

# How far each job has seen each CRM table.
crm_looks = _sync_table(
    "crm_looks",
    _required("table_name"),
    # observation: the last refresh of crm_rows; agree/<mapping>: the last look for pairs of equal values.
    _required("looker"),
    _time("seen_until", nullable=False),
    # Transaction id: what this and later transactions wrote may have been out of sight; null: nothing was.
    Column("from_xid", BigInteger),
    # Rows that are not in crm_rows have not changed since; null where crm_rows has all of them.
    _time("unchanged_since"),
    # Digest of what the hashes cover: another one says nothing of a row's age.
    _required("signature"),
    PrimaryKeyConstraint("account", "table_name", "looker"),
)

agreed = _sync_table(
    "agreed",
    _required("table_name"),
    # The CRM table's key columns.
    _required("key", JSONB),
    _required("field"),
    # The value as Enerflo has it, and as the CRM writes it where that is something else (JSON null included).
    Column("value", JSONB(none_as_null=True)),
    Column("crm_value", JSONB(none_as_null=True)),
    _time("agreed_at", nullable=False),
    # comparison: found equal; push: written by us and read back; undo: left apart on purpose.
    _required("agreed_by"),
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
agreed_twins = _sync_table(
    "agreed_twins",
    _required("table_name"),
    _required("key", JSONB),
    _required("field"),
    _time("seen_at", nullable=False),
    PrimaryKeyConstraint("account", "table_name", "key", "field"),
)

# By which columns of the CRM the pairs of a table are stored; each with its type and its mirror column.
agreed_keys = _sync_table(
    "agreed_keys",
    _required("table_name"),
    _required("columns", JSONB),
    # What they were before they changed, since when, and of how many rows the pairs are not found any more.
    Column("columns_before", JSONB(none_as_null=True)),
    _time("changed_at"),
    Column("rows_lost", BigInteger),
    PrimaryKeyConstraint("account", "table_name"),
)

# What our own last write left as a record's time of change, and when anybody else had changed it before.
own_writes = _sync_table(
    "own_writes",
    # crm: the CRM's table and key; enerflo: the mirror's.
    _required("side"),
    _required("table_name"),
    _required("key", JSONB),
    _time("left_at"),
    # Enerflo says whole seconds: what was first seen after this is somebody else's, of whatever second.
    _time("left_seen_at"),
    # Null: nobody else ever did.
    _time("others_at"),
    # The same as ``others_at`` as of a request of which the end is not known yet.
    _time("sent_others_at"),
    PrimaryKeyConstraint("account", "side", "table_name", "key"),
    CheckConstraint("side in ('crm', 'enerflo')", name="own_writes_side"),
)

plans = _sync_table(
    "plans",
    # sha-256 of the plan's content.
    _required("plan_hash"),
    # sync, or undo of another plan.
    _required("kind"),
    _time("created_at", nullable=False),
    _time("expires_at", nullable=False),
    _required("state"),
    Column("change_count", BigInteger, nullable=False),
    Column("needs_approval", Boolean, nullable=False),
    # Why it needs approval, in sentences.
    Column("reasons", JSONB, nullable=False, server_default="[]"),
    Column("decided_by", Text),
    _time("decided_at"),
    Column("decision_reason", Text),
    _required("mode"),
    _required("config_hash"),
    # By table the digest of what `writes` in sync.yaml says of its requests; null in plans of older versions.
    Column("writes_hashes", JSONB(none_as_null=True)),
    # What the plan stands on: a reconciliation, or the plan that is undone.
    Column("stands_on", Text),
    # Counts by group, for lists of plans.
    Column("summary", JSONB, nullable=False, server_default="{}"),
    _time("applied_at"),
    # Of the plans of one round: 1 is the part that the rules let through, or the only plan; 2 waits.
    Column("part", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("account", "plan_hash"),
    CheckConstraint(
        "state in ('open', 'approved', 'rejected', 'applied', 'expired', 'superseded')", name="plans_state"
    ),
    Index("plans_time", "account", "created_at"),
)

plan_changes = _sync_table(
    "plan_changes",
    _required("plan_hash"),
    Column("position", BigInteger, nullable=False),
    _required("table_name"),
    _required("key", JSONB),
    # The mirror's key, by column: which record of Enerflo it is, where it has one.
    Column("enerflo_key", JSONB(none_as_null=True)),
    _required("op"),
    # Null for a row that is deleted.
    Column("field", Text),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    # The winning side's own value; ``after`` is the same in the other side's words.
    Column("source_value", JSONB(none_as_null=True)),
    _required("direction"),
    _required("policy"),
    _required("cause"),
    # The rule that decided, and the facts that it was decided from.
    _required("rule"),
    Column("facts", JSONB, nullable=False, server_default="[]"),
    # When the winning value was said, and when both sides last agreed.
    _time("changed_at"),
    _time("observed_at"),
    _time("agreed_at"),
    # Where the row of ``agreed`` stood then, as a ctid: looked at first, and believed only if it is that row.
    Column("agreed_row", Text),
    _required("state"),
    # Why it is moved, parked or refused.
    Column("reason", Text),
    _time("sent_at"),
    _time("done_at"),
    # When Enerflo accepted the request, and the id that its answer gave the new record.
    _time("accepted_at"),
    Column("accepted_id", BigInteger),
    # Digest of the whole CRM row: of a deletion as the plan saw it, of an insert (on the record's first
    # change) as it stood when all was written.
    Column("row_digest", Text),
    # The whole CRM row that was deleted, each column as text; no output shows it.
    Column("deleted_row", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "plan_hash", "position"),
    # left_out: not in the part that a person approved, until that part is applied.
    CheckConstraint(
        "state in ('planned', 'sent', 'applied', 'moved', 'parked', 'refused', 'left_out', 'superseded')",
        name="plan_changes_state",
    ),
    CheckConstraint("op in ('insert', 'update', 'delete')", name="plan_changes_op"),
    CheckConstraint("direction in ('to_crm', 'to_enerflo')", name="plan_changes_direction"),
    Index("plan_changes_record", "key", postgresql_using="hash"),
    # Requests whose end is not known, or was not what they asked for: few.
    Index(
        "plan_changes_sent",
        *("account", "table_name"),
        postgresql_where="sent_at is not null and state <> 'applied'",
    ),
    # Each is updated once, when it ends.
    filled=50,
)

# What a plan could not decide, and why: each waits for a person, a mapping or the other side.
plan_undecided = _sync_table(
    "plan_undecided",
    _required("plan_hash"),
    Column("position", BigInteger, nullable=False),
    _required("table_name"),
    _required("key", JSONB),
    Column("field", Text),
    Column("enerflo_value", JSONB(none_as_null=True)),
    Column("crm_value", JSONB(none_as_null=True)),
    _required("cause"),
    _required("reason"),
    # Where it is no question: the refusal that keeps the change out of the plan.
    Column("refusal_id", BigInteger),
    PrimaryKeyConstraint("account", "plan_hash", "position"),
)

# What a person refused, one row for each change (for a new row: one for all its fields). While ``ended_at``
# is empty no plan contains the change.
refusals = _sync_table(
    "refusals",
    Column("refusal_id", BigInteger, Identity(always=True), nullable=False),
    _required("table_name"),
    _required("key", JSONB),
    Column("enerflo_key", JSONB(none_as_null=True)),
    _required("op"),
    # Null for a row that is created or deleted.
    Column("field", Text),
    _required("direction"),
    # As in ``plan_changes``; of a new row ``after`` holds all values by field.
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    Column("source_value", JSONB(none_as_null=True)),
    _required("plan_hash"),
    _required("decided_by"),
    _time("decided_at", nullable=False),
    Column("reason", Text),
    # When, by whom and why it ended: a value changed, or a person opened the change again.
    _time("ended_at"),
    *_text("ended_by", "end_reason"),
    PrimaryKeyConstraint("account", "refusal_id"),
    Index("refusals_standing", "account", "table_name", postgresql_where="ended_at is null"),
    Index("refusals_record", "key", postgresql_using="hash"),
)

ledger = _sync_table(
    "ledger",
    Column("ledger_id", BigInteger, Identity(always=True), nullable=False),
    _required("table_name"),
    _required("key", JSONB),
    _required("op"),
    Column("field", Text),
    Column("old_value", JSONB(none_as_null=True)),
    Column("new_value", JSONB(none_as_null=True)),
    Column("losing_value", JSONB(none_as_null=True)),
    # How Enerflo keeps what it was sent, where that is another spelling of ``new_value``.
    Column("kept_value", JSONB(none_as_null=True)),
    _required("direction"),
    _required("policy"),
    _required("cause"),
    _required("rule"),
    Column("facts", JSONB, nullable=False, server_default="[]"),
    _required("plan_hash"),
    _required("decision"),
    # Why it was not applied, or how an applied one was settled.
    Column("reason", Text),
    _required("decided_by"),
    # By what the winning value is known: a version of the record, a webhook event, the CRM's row.
    Column("evidence", Text),
    _required("run_id"),
    # The source's time of the value, when we saw it, and when we stored the decision.
    _time("changed_at"),
    _time("observed_at"),
    _time("recorded_at", nullable=False),
    PrimaryKeyConstraint("account", "ledger_id"),
    # Held back from the CRM by a check, and let through by a person.
    CheckConstraint(
        "decision in ('applied', 'moved', 'refused', 'parked', 'held', 'released', 'superseded')",
        name="ledger_decision",
    ),
    Index("ledger_record", "key", postgresql_using="hash"),
    # Rows are only added, by and by: what a range of pages holds of times is all that need be known.
    Index("ledger_time", "recorded_at", postgresql_using="brin"),
    Index("ledger_parked", "account", "recorded_at", postgresql_where="decision = 'parked'"),
)

# Parked changes that a person wants tried again: the next plan does not hold these rows of the ledger back.
retries = _sync_table(
    "retries",
    Column("ledger_id", BigInteger, nullable=False),
    _time("requested_at", nullable=False),
    _required("requested_by"),
    PrimaryKeyConstraint("account", "ledger_id"),
)

# The flat relation of change orders with what they are checked against, as they were checked last; null where
# a fact does not apply. Great Expectations validates this table. What each column says: docs/checks.md.
change_order_facts = _sync_table(
    "change_order_facts",
    _required("change_order_id", BigInteger),
    Column("install_id", BigInteger),
    *_text("status", "status_kind"),
    _time("signed_at"),
    Column("install_here", Boolean),
    Column("install_voided", Boolean),
    Column("signed_time_there", Boolean),
    Column("signed_though_pending", Boolean),
    Column("signed_ahead_hours", Numeric),
    _time("install_created_at"),
    Column("signed_days_after_install", Numeric),
    *_text("status_before", "life_cycle", "panel_type_old", "panel_type_new", "panel_type_before"),
    Column("panel_type_known", Boolean),
    Column("panel_type_old_agrees", Boolean),
    *(Column(f"panel_count_{when}", Integer) for when in ("old", "new", "before")),
    Column("panel_count_old_agrees", Boolean),
    Column("panel_count_by_size", Numeric),
    Column("panel_count_deviation_percent", Numeric),
    *_text("battery_old", "battery_new", "battery_before"),
    Column("battery_old_agrees", Boolean),
    Column("battery_count_new", Integer),
    Column("adder_count", Integer),
    *_text("adders_unknown", "adders_without_cost"),
    *(Column(f"adder_{what}", Numeric) for what in ("lowest_quantity", "lowest_cost", "highest_cost")),
    *(Column(name, Numeric) for name in ("total_change", "adders_change", "total_gap")),
    Column("components_unknown", Text),
    Column("contradicts", BigInteger),
    Column("voided_took_effect", Boolean),
    # Of all facts and the suite: equal means "do not check again".
    _required("digest", BigInteger),
    # The mirror's own time of the content that was checked: another one was not checked yet.
    _time("observed_at", nullable=False),
    # The ids of the checks that it fails, and the quarantine item that holds it, where one does.
    Column("failing", ARRAY(Text), nullable=False, server_default="{}"),
    Column("item_id", Text),
    _required("run_id"),
    _time("checked_at", nullable=False),
    PrimaryKeyConstraint("account", "change_order_id"),
    Index("change_order_facts_failing", "account", "change_order_id", postgresql_where="failing <> '{}'"),
    Index("change_order_facts_run", "account", "run_id"),
)

# What a check found of one change order in the run that looked at it: failures, and what passes again.
quality_results = _sync_table(
    "quality_results",
    _required("run_id"),
    _required("change_order_id", BigInteger),
    _required("check_id"),
    _required("severity"),
    Column("passed", Boolean, nullable=False),
    Column("expected", JSONB(none_as_null=True)),
    Column("found", JSONB(none_as_null=True)),
    # For a person: what is wrong with an order that fails it.
    _required("reason"),
    _time("checked_at", nullable=False),
    PrimaryKeyConstraint("account", "run_id", "change_order_id", "check_id"),
    Index("quality_results_order", "account", "change_order_id", "checked_at"),
)

# One row for each run of the checks that had something to check; the newest says where the next takes up.
quality_runs = _sync_table(
    "quality_runs",
    _required("run_id"),
    _time("started_at", nullable=False),
    _time("finished_at", nullable=False),
    _required("suite_hash"),
    # Orders checked in this run; live ones in all, and how many of them were held at its end.
    *(Column(name, BigInteger, nullable=False) for name in ("checked", "orders", "held")),
    # By check: how many of all live orders it concerns, and how many of them fail it.
    Column("checks", JSONB, nullable=False, server_default="{}"),
    # The run in which Great Expectations counted the orders that this one judged; null while nobody has.
    Column("validated_by", Text),
    # How many rows it counted in this run, and its own result; null where it was not asked.
    Column("validated", BigInteger),
    Column("expectations", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "run_id"),
    Index("quality_runs_time", "account", "started_at"),
)

# What people are told: one row for each message on each route.
notifications = _sync_table(
    "notifications",
    Column("notification_id", BigInteger, Identity(always=True), nullable=False),
    _required("event"),
    _required("route"),
    _required("subject"),
    _required("text"),
    # Where more of it is shown.
    _required("page"),
    _required("page_id"),
    # How many facts it tells of.
    Column("count", BigInteger, nullable=False),
    _required("state"),
    _time("created_at", nullable=False),
    _time("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Why the last attempt failed; no word of the other side's.
    Column("error", Text),
    PrimaryKeyConstraint("account", "notification_id"),
    CheckConstraint("state in ('pending', 'sent', 'failed')", name="notifications_state"),
    Index("notifications_pending", "account", "notification_id", postgresql_where="state = 'pending'"),
)

# What was told and still holds, so that it is not told again: a row for each fact.
told = _sync_table(
    "told",
    _required("event"),
    _required("key"),
    Column("size", Numeric, nullable=False),
    _time("told_at", nullable=False),
    PrimaryKeyConstraint("account", "event", "key"),
)

# What the life-cycle knows of each install with milestones, so that a run looks only at what moved.
life_cycle_installs = _sync_table(
    "life_cycle_installs",
    _required("install_id", BigInteger),
    # Of its status and milestones: equal means "do not judge again before next_due_at".
    _required("digest", BigInteger),
    # judged, voided, or not_covered: it has no milestone that life_cycle.yaml names.
    _required("state"),
    # The steps that are under way, and when the next of them is overdue.
    Column("steps", ARRAY(Text), nullable=False, server_default="{}"),
    _time("next_due_at"),
    # Milestones that were ever seen completed, by definition, and when they first were.
    Column("completed_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("completed_ats", ARRAY(DateTime(timezone=True)), nullable=False, server_default="{}"),
    # Milestones that life_cycle.yaml does not name.
    Column("unknown_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "install_id"),
    CheckConstraint("state in ('judged', 'voided', 'not_covered')", name="life_cycle_installs_state"),
    Index("life_cycle_installs_due", "account", "next_due_at", postgresql_where="next_due_at is not null"),
)

# Impossible and overdue histories of installs, with those that are settled.
life_cycle_findings = _sync_table(
    "life_cycle_findings",
    Column("finding_id", BigInteger, Identity(always=True), nullable=False),
    _required("install_id", BigInteger),
    # The step's name in life_cycle.yaml, and the milestone that means it there.
    _required("step"),
    _required("milestone_id", BigInteger),
    _required("check_id"),
    _required("severity"),
    Column("expected", JSONB(none_as_null=True)),
    Column("found", JSONB(none_as_null=True)),
    _required("reason"),
    # When a run found it first, looked at it last, and found it gone.
    _time("since", nullable=False),
    _time("checked_at", nullable=False),
    _time("resolved_at"),
    # The run that found it.
    _required("run_id"),
    PrimaryKeyConstraint("account", "finding_id"),
    Index(
        "life_cycle_findings_open",
        *("account", "install_id", "step", "check_id"),
        unique=True,
        postgresql_where="resolved_at is null",
    ),
    Index("life_cycle_findings_newest", "account", "finding_id", postgresql_where="resolved_at is null"),
    Index(
        "life_cycle_findings_resolved",
        *("account", "resolved_at", "finding_id"),
        postgresql_where="resolved_at is not null",
    ),
)

# One row for each run that judged an install: how the account stood after it.
life_cycle_runs = _sync_table(
    "life_cycle_runs",
    _required("run_id"),
    _time("started_at", nullable=False),
    _time("finished_at", nullable=False),
    # Of life_cycle.yaml and of what voided and completed mean: another one has every install judged again.
    _required("config_hash"),
    # Installs judged in this run, findings that are new, and those that are gone.
    *(Column(name, BigInteger, nullable=False) for name in ("looked_at", "found", "resolved")),
    # Installs with a milestone that life_cycle.yaml names, and those without one.
    *(Column(name, BigInteger, nullable=False) for name in ("installs", "not_covered")),
    # By check: open findings and installs that have one; by step: installs under way in it, and overdue.
    Column("checks", JSONB, nullable=False, server_default="{}"),
    Column("steps", JSONB, nullable=False, server_default="{}"),
    # Milestones that it does not name, those of most installs first: [{title, installs}].
    Column("unknown", JSONB, nullable=False, server_default="[]"),
    PrimaryKeyConstraint("account", "run_id"),
    Index("life_cycle_runs_time", "account", "started_at"),
)

# One row for each backfill that was asked for, from its estimate to its end.
backfills = _sync_table(
    "backfills",
    _required("backfill_id"),
    _required("state"),
    # window (by the installs' creation), ids, or everything.
    _required("kind"),
    # What it is, for people: 2023-04-01 … 2023-04-30.
    _required("words"),
    _time("window_from"),
    # Exclusive.
    _time("window_to"),
    # Installs by id, and by the uuid of their v2 deal.
    Column("install_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("deal_ids", ARRAY(Text), nullable=False, server_default="{}"),
    Column("resources", ARRAY(Text), nullable=False),
    # Of what was asked for, and of the configuration by which it is read: a resume asks for the same.
    *(_required(name) for name in ("request_hash", "mapping_hash")),
    _time("created_at", nullable=False),
    _time("touched_at", nullable=False),
    # What was changed at Enerflo before this moment is read after it.
    _time("started_at"),
    _time("finished_at"),
    # Installs a page, and how many the list held when its pages were searched.
    Column("per_page", Integer, nullable=False),
    Column("listed", BigInteger),
    # Requests and refusals of the search, the estimate and the end; those of chunks stand with them.
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("requests", "throttled")),
    # The seconds by which records were found out of order, up to which the walk was widened.
    Column("widened_seconds", Float, nullable=False, server_default="0"),
    Column("estimate", JSONB(none_as_null=True)),
    Column("outcome", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "backfill_id"),
    CheckConstraint("state in ('estimated', 'reading', 'finished', 'superseded')", name="backfills_state"),
    CheckConstraint("kind in ('window', 'ids', 'everything')", name="backfills_kind"),
    Index("backfills_time", "account", "created_at"),
)

# A backfill's work in parts, each resumable by itself.
backfill_chunks = _sync_table(
    "backfill_chunks",
    _required("backfill_id"),
    _required("chunk", Integer),
    # installs, notes or change_orders: pages of their list; records: installs read one by one.
    _required("resource"),
    # What it holds: 2023-04-01 … 2023-04-12, pages 120 to 141.
    _required("label"),
    _required("state"),
    # The row of the list at which it begins, and how many rows it holds; null where that is not known.
    Column("first_row", BigInteger, nullable=False),
    Column("expected_rows", BigInteger),
    # Its installs: from this id down to the one above the other; null for the list's beginning and end.
    Column("high_id", BigInteger),
    Column("low_id", BigInteger),
    # How far it is: the lowest id down to which all was stored, the next row of the list, and how many rows
    # the list had then.
    Column("reached_id", BigInteger),
    Column("reached_total", BigInteger),
    Column("reached_row", BigInteger, nullable=False, server_default="0"),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("pages", "rows")),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("requests", "throttled")),
    # By how many seconds creation times were found out of the list's order; whether ids were.
    Column("disorder_seconds", Float, nullable=False, server_default="0"),
    Column("ids_disordered", Boolean, nullable=False, server_default="false"),
    # Counts and reasons by resource, as a run's.
    Column("tallies", JSONB, nullable=False, server_default="{}"),
    _time("started_at"),
    _time("finished_at"),
    PrimaryKeyConstraint("account", "backfill_id", "chunk"),
    CheckConstraint("state in ('waiting', 'reading', 'done', 'incomplete')", name="backfill_chunks_state"),
)

# Which installs the pages of an unfinished backfill named; gone when it has ended.
backfill_pages = _sync_table(
    "backfill_pages",
    _required("backfill_id"),
    _required("chunk", Integer),
    _required("page", Integer),
    Column("install_ids", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("account", "backfill_id", "chunk", "page"),
)
