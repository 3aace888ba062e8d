"""The mirror of Enerflo, and observations of it: written by the rooms `mirror` and `inbox`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from enerflo_sync.masking import PersonalData
from enerflo_sync.warehouse.schema.columns import (
    MIRROR_SCHEMA,
    metadata,
    mirror_table,
    personal,
    required,
    sync_table,
    text,
    time,
    versions_table,
)
from enerflo_sync.warehouse.schema.words import CUSTOMER_WORDS, EMAIL, INSTALL_WORDS, PENDING_KB

# Enerflo's installs as they were last read.
installs = mirror_table(
    "installs",
    [required("install_id", BigInteger)],
    [
        *text("deal_id", "survey_id"),
        *personal(PersonalData.NAME, "customer_name"),
        Column("customer_id", BigInteger),
        Column("company_id", BigInteger),
        Column("status_id", BigInteger),
        *text("status_name", "current_milestone", "office_name"),
        *personal(PersonalData.NAME, "agent_name"),
        Column("system_size_kw", Numeric),
        Column("panel_type", Text),
        Column("panel_count", Integer),
        Column("battery_configuration", Text),
        Column("contract_amount", Numeric),
        time("created_at"),
        time("updated_at"),
        Column("content_hash", Text),
        # When the record was last read directly because the list omits its milestones; a time in 1970 if a
        # read is due or failed, null if the list contains everything.
        time("detail_read_at"),
    ],
)
Index(
    "installs_detail",
    installs.c.account,
    installs.c.detail_read_at,
    postgresql_where=installs.c.detail_read_at.is_not(None),
)
Index("installs_deal", installs.c.account, installs.c.deal_id)
Index("installs_customer", installs.c.account, installs.c.customer_id)
# For the search of pages.
Index(
    "installs_words",
    literal_column(INSTALL_WORDS),
    _table=installs,
    postgresql_using="gin",
    postgresql_with={"gin_pending_list_limit": PENDING_KB},
)

# Every distinct content of an install, as Enerflo sent it.
install_versions = versions_table("install_versions", "install_id")

# Signed designs of deals, from webhooks: one row per signed version. Rows are only added.
submissions = Table(
    "submissions",
    metadata,
    required("account"),
    required("deal_id"),
    # Hash of the payload's deal, customer, proposal and design: one row per signed version.
    required("content_hash"),
    required("event"),
    Column("install_id", BigInteger),
    Column("panel_type", Text),
    Column("panel_count", Integer),
    Column("battery_configuration", Text),
    *(Column(name, Numeric) for name in ("system_size_watts", "gross_cost", "net_cost")),
    *personal(PersonalData.ADDRESS, "street", "city"),
    *text("state"),
    *personal(PersonalData.ADDRESS, "postal_code"),
    Column("adders", JSONB),
    time("first_seen_at", nullable=False),
    required("observed_by"),
    required("evidence"),
    # By column, the path of the value in the payload.
    Column("sources", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "deal_id", "content_hash"),
    schema=MIRROR_SCHEMA,
)

# The milestones of each install.
milestones = mirror_table(
    "milestones",
    [required("install_id", BigInteger), required("milestone_id", BigInteger)],
    [
        Column("title", Text),
        Column("sequence", Integer),
        time("started_at"),
        time("due_at"),
        time("completed_at"),
    ],
)

# The notes of installs.
notes = mirror_table(
    "notes",
    [required("note_id", BigInteger)],
    [
        Column("install_id", BigInteger),
        Column("author_id", BigInteger),
        *personal(PersonalData.FREE_TEXT, "body"),
        time("created_at"),
    ],
)
Index("notes_install", notes.c.account, notes.c.install_id)

# The change orders of installs, with their components.
change_orders = mirror_table(
    "change_orders",
    [required("change_order_id", BigInteger)],
    [
        Column("install_id", BigInteger),
        Column("status", Text),
        time("signed_at"),
        *text("panel_type_old", "panel_type_new"),
        Column("panel_count_old", Integer),
        Column("panel_count_new", Integer),
        *text("battery_old", "battery_new"),
        Column("total_change", Numeric),
        # The new side's adders in the CRM's form: [{name, cost, quantity}].
        Column("adders", JSONB),
        # Components of change_values that no reader knows, unchanged.
        Column("unknown_components", JSONB),
        # The order's own time of its last change, which orders two payloads.
        time("updated_at"),
    ],
)
Index("change_orders_install", change_orders.c.account, change_orders.c.install_id)

# The adders of each change order.
change_order_adders = mirror_table(
    "change_order_adders",
    [required("change_order_id", BigInteger), required("adder_id"), required("side")],
    [
        Column("name", Text),
        Column("cost", Numeric),
        Column("quantity", Numeric),
        Column("active", Boolean),
    ],
)

# Enerflo's customers; in the CRM they are leads.
customers = mirror_table(
    "customers",
    [required("customer_id", BigInteger)],
    [
        *personal(PersonalData.NAME, "first_name", "last_name"),
        *personal(PersonalData.EMAIL, "email"),
        *personal(PersonalData.PHONE, "mobile"),
        *personal(PersonalData.ADDRESS, "address", "city"),
        *text("state"),
        *personal(PersonalData.ADDRESS, "zip"),
        *text("integration_record_id", "status_name"),
        time("created_at"),
        time("updated_at"),
    ],
)
Index(
    "customers_words",
    literal_column(CUSTOMER_WORDS),
    _table=customers,
    postgresql_using="gin",
    postgresql_with={"gin_pending_list_limit": PENDING_KB},
)
Index(
    "customers_email",
    customers.c.account,
    literal_column(EMAIL).label("email"),
    postgresql_ops={"email": "text_pattern_ops"},
)

# The company's statuses of installs.
install_statuses = mirror_table(
    "install_statuses", [required("status_id", BigInteger)], [Column("name", Text)]
)

# Columns that sync.yaml adds to mirror tables, and the path of Enerflo's records that fills each.
declared_columns = sync_table(
    "declared_columns",
    required("table_name"),
    required("column_name"),
    # Names and list positions, outermost first.
    Column("path", ARRAY(Text), nullable=False),
    required("type"),
    Column("max_length", Integer, nullable=False),
    time("declared_at", nullable=False),
    # When it had been filled from all stored records; null until then.
    time("filled_at"),
    PrimaryKeyConstraint("account", "table_name", "column_name"),
)

# The companies whose installs the account's key has shown; a key of another company is refused.
companies_seen = sync_table(
    "companies_seen",
    required("company_id", BigInteger),
    Column("first_seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("account", "company_id"),
)

# Input that could not be used, with its bytes and the reason; and change orders that a check holds back.
quarantine = sync_table(
    "quarantine",
    required("item_id"),
    required("kind"),
    required("reason"),
    required("fingerprint"),
    Column("evidence_uri", Text),
    time("first_seen_at", nullable=False),
    time("last_seen_at", nullable=False),
    Column("count", BigInteger, nullable=False),
    required("state"),
    # The record's mirror table and key, if known.
    Column("table_name", Text),
    Column("key", JSONB(none_as_null=True)),
    # The rejected bytes: bytea, since text and jsonb refuse NUL.
    Column("payload", LargeBinary),
    # Who dismissed or replayed it, when, and why.
    Column("decided_by", Text),
    time("decided_at"),
    Column("decision_reason", Text),
    PrimaryKeyConstraint("account", "item_id"),
    CheckConstraint("state in ('open', 'replayed', 'dismissed')", name="quarantine_state"),
    Index("quarantine_open", "account", "table_name", postgresql_where="state = 'open'"),
    Index("quarantine_record", "key", postgresql_using="hash"),
    Index(
        "quarantine_groups",
        *("account", "fingerprint", "first_seen_at"),
        postgresql_where="state = 'open'",
    ),
)

# One row per change of a record: when the poll saw it, and when its webhook arrived.
witnesses = sync_table(
    "witnesses",
    # The mirror's record, installs/123, and the digest of its content after the change.
    required("record"),
    required("content_hash"),
    # The event that Enerflo should send for such a change.
    required("event"),
    # The source's own time of the change, if it has one.
    time("changed_at"),
    time("poll_seen_at"),
    # When the webhook arrived, not when its record was read.
    time("webhook_seen_at"),
    PrimaryKeyConstraint("account", "record", "content_hash"),
    Index("witnesses_poll", "account", "poll_seen_at"),
    Index("witnesses_webhook", "account", "webhook_seen_at"),
)
