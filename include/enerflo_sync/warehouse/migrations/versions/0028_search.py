"""Indexes by which pages find a record: by deal, customer, name, e-mail; and what happened to it."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"

_PARTING = "\t\r\n.,;:()/\"''-_"


def _words(text: str) -> str:
    plain = f"translate(left(lower({text}), 200), '{_PARTING}', '{' ' * 14}')"
    return (
        "array_to_tsvector(string_to_array((account || '|') ||"
        f" replace({plain}, ' ', (chr(31) || account) || '|'), chr(31)))"
    )


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("installs_deal", "installs", ["account", "deal_id"], schema="enerflo")
    op.create_index("installs_customer", "installs", ["account", "customer_id"], schema="enerflo")
    op.execute(
        "create index installs_words on enerflo.installs"
        f" using gin ({_words('''coalesce(customer_name, '')''')}) with (gin_pending_list_limit = 256)"
    )
    name = "(coalesce(first_name, '') || ' ') || coalesce(last_name, '')"
    op.execute(
        f"create index customers_words on enerflo.customers using gin ({_words(name)})"
        " with (gin_pending_list_limit = 256)"
    )
    op.execute(
        "create index customers_email on enerflo.customers"
        " (account, left(lower(email), 320) text_pattern_ops)"
    )
    op.execute("create index quarantine_record on sync.quarantine using hash (key)")
    op.execute(
        "create index webhook_events_install on sync.webhook_events (account, install_id, received_at)"
        " where install_id is not null"
    )
    op.execute(
        "create index webhook_events_record on sync.webhook_events (account, record, received_at)"
        " where install_id is null"
    )


def downgrade() -> None:
    """Drop the indexes."""
    for name in ("installs_deal", "installs_customer", "installs_words", "customers_words"):
        op.execute(f"drop index enerflo.{name}")
    op.execute("drop index enerflo.customers_email")
    for name in ("quarantine_record", "webhook_events_install", "webhook_events_record"):
        op.execute(f"drop index sync.{name}")
