"""Fields that stand for something else by now: their pairs stay as evidence of the row, and are no base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.agreed.mapped_otherwise import end_mapped_otherwise
from enerflo_sync.agreed.renamed_columns import follow_columns, make_former, says_the_same
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.meanings import OF_ROWS, STORED_AS, changed_parts, stored_meanings
from enerflo_sync.warehouse.engine import transaction_time

_STORE = sa.text("""
/* enerflo-sync plan: what the fields of agreed pairs stand for */
insert into sync.agreed_keys (account, table_name, columns) values (:account, :stored_as, :meanings)
on conflict (account, table_name) do update set columns = excluded.columns
""").bindparams(sa.bindparam("meanings", type_=JSONB))


def follow_meanings(connection: sa.Connection, plans: Sequence[Comparison], account: str) -> list[Comparison]:
    """Make no base of the pairs of fields that stand for something else than when the pairs were stored.

    Where both sides are equal as the field is mapped now, the next look agrees on them anew. What was handed
    over as it was mapped before, and waits, is ended. Returns the comparisons for what comes after. In the
    caller's transaction.

    :param plans: all mapped tables.
    """
    end_mapped_otherwise(connection, plans, account, all_tables=True)
    by_table = stored_meanings(connection, account, [plan.name for plan in plans])
    for plan in plans:
        stored = follow_columns(connection, plan, account, by_table[plan.name])
        meanings = dict(stored)
        for field, meaning in plan.meanings.items():
            before = stored.get(field)
            changed = changed_parts(before, meaning)
            if changed and field != OF_ROWS:
                # Another CRM table with the same values is most likely the same one.
                which = f"and not {says_the_same(plan, field)}" if changed == {"crm"} else ""
                make_former(connection, plan, account, field, which)
            now = transaction_time(connection).isoformat()
            since = now if "enerflo" in changed else _since(before)
            meanings[field] = {**meaning, "enerflo_since": since}
            # What both sides say stands for something else from now on.
            said_since = now if changed - {"crm"} else (before or {}).get("said_since")
            if said_since is not None:
                meanings[field]["said_since"] = said_since
        if meanings != by_table[plan.name]:
            named = {"account": account, "stored_as": STORED_AS.format(plan.name)}
            connection.execute(_STORE, {**named, "meanings": meanings})
    return [replace(plan, remeant=frozenset()) for plan in plans]


def _since(stored: Mapping[str, Any] | None) -> str | None:
    return None if stored is None else stored.get("enerflo_since")
