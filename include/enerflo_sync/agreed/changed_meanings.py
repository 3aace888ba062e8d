"""Fields that stand for something else by now: their pairs stay as evidence of the row, and are no base."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.meanings import STORED_AS, is_other, stored_meanings
from enerflo_sync.warehouse.engine import transaction_time

# The values go, too: to a program of an earlier version both sides have moved then, and none was left apart.
_FORMER = sa.text("""
/* enerflo-sync plan: pairs of fields that stand for something else */
update sync.agreed set agreed_by = 'former_' || agreed_by, value = null, crm_value = null
where account = :account and table_name = :table and field = any(:fields) and not is_link
  and agreed_by not like 'former%'
""")
_STORE = sa.text("""
/* enerflo-sync plan: what the fields of agreed pairs stand for */
insert into sync.agreed_keys (account, table_name, columns) values (:account, :stored_as, :meanings)
on conflict (account, table_name) do update set columns = excluded.columns
""").bindparams(sa.bindparam("meanings", type_=JSONB))


def follow_meanings(connection: sa.Connection, plans: Sequence[Comparison], account: str) -> None:
    """Make no base of the pairs of fields that stand for something else than when the pairs were stored.

    Where both sides are equal as the field is mapped now, the next look agrees on them anew. In the caller's
    transaction.
    """
    by_table = stored_meanings(connection, account, [plan.name for plan in plans])
    for plan in plans:
        stored = by_table[plan.name]
        meanings = dict(stored)
        for name, meaning in plan.meanings.items():
            before = stored.get(name) or {}
            moved = bool(before) and before.get("enerflo") != meaning["enerflo"]
            since = transaction_time(connection).isoformat() if moved else before.get("enerflo_since")
            meanings[name] = {**meaning, "enerflo_since": since}
        remeant = [name for name, meaning in plan.meanings.items() if is_other(stored.get(name), meaning)]
        if remeant:
            values = {"account": account, "table": str(plan.name), "fields": remeant}
            connection.execute(_FORMER, values)
        if meanings != stored:
            named = {"account": account, "stored_as": STORED_AS.format(plan.name)}
            connection.execute(_STORE, {**named, "meanings": meanings})
