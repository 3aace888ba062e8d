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


_OF_INSTALL = _words("coalesce(customer_name, '')")
_OF_CUSTOMER = _words("(coalesce(first_name, '') || ' ') || coalesce(last_name, '')")
_GIN = "with (gin_pending_list_limit = 256)"

concurrently = {
    "enerflo.installs_deal": "create index {} installs_deal on enerflo.installs (account, deal_id)",
    "enerflo.installs_customer": "create index {} installs_customer on enerflo.installs"
    " (account, customer_id)",
    "enerflo.installs_words": "create index {} installs_words on enerflo.installs"
    f" using gin ({_OF_INSTALL}) {_GIN}",
    "enerflo.customers_words": "create index {} customers_words on enerflo.customers"
    f" using gin ({_OF_CUSTOMER}) {_GIN}",
    "enerflo.customers_email": "create index {} customers_email on enerflo.customers"
    " (account, left(lower(email), 320) text_pattern_ops)",
    "sync.quarantine_record": "create index {} quarantine_record on sync.quarantine using hash (key)",
    "sync.webhook_events_install": "create index {} webhook_events_install on sync.webhook_events"
    " (account, install_id, received_at) where install_id is not null",
    "sync.webhook_events_record": "create index {} webhook_events_record on sync.webhook_events"
    " (account, record, received_at) where install_id is null",
}


def upgrade() -> None:
    """Make the indexes, unless they were built before."""
    for statement in concurrently.values():
        op.execute(statement.format("if not exists"))


def downgrade() -> None:
    """Drop the indexes."""
    for name in concurrently:
        op.execute(f"drop index {name}")
