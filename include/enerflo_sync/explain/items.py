"""The quarantine items about one record, open and closed."""

from __future__ import annotations

import json

import sqlalchemy as sa

from enerflo_sync.crm.mapping import MIRROR_TABLES
from enerflo_sync.inbox.quarantine_items import ITEM_COLUMNS, QuarantineItem, item_of
from enerflo_sync.reconcile.record import FoundRecord
from enerflo_sync.warehouse.schema import quarantine

_MOST = 200

# Items about the record itself, about its install, and about the install's webhooks.
_OF_RECORD = sa.text("""
  (quarantine.table_name = :mirror and quarantine.key = cast(:key as jsonb)
    or quarantine.table_name = 'installs' and quarantine.key = cast(:install_key as jsonb)
    or quarantine.table_name = 'webhook_events' and quarantine.key = any(array(
      select jsonb_build_object('event_id', e.event_id) from sync.webhook_events e
      where e.account = :account and e.install_id = :install and e.state in ('quarantined', 'applied'))))
""").bindparams(
    sa.bindparam("key", type_=sa.Text),
    sa.bindparam("install_key", type_=sa.Text),
    sa.bindparam("install", type_=sa.BigInteger),
)


def read_items(connection: sa.Connection, account: str, record: FoundRecord) -> list[QuarantineItem]:
    """Return a record's quarantine items: open items first, then by the time when they were last seen.

    Replayed and dismissed items are included. At most 200 items are returned.
    """
    query = (
        sa.select(*ITEM_COLUMNS)
        .where(quarantine.c.account == account, _OF_RECORD)
        .order_by(quarantine.c.state != "open", quarantine.c.last_seen_at.desc(), quarantine.c.item_id)
        .limit(_MOST)
    )
    install = record.install
    values = {
        "account": account,
        "mirror": MIRROR_TABLES[record.comparison.kind],
        "key": json.dumps(record.named_key) if record.named_key else None,
        "install_key": None if install is None else json.dumps({"install_id": install}),
        "install": install,
    }
    return [item_of(row) for row in connection.execute(query, values)]
