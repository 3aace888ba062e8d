"""Fields that ``sync.yaml`` now maps to something else: their agreed pairs no longer tell which side changed.

The pairs are kept without values, as evidence that both sides once had the row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.agreed.changed_clocks import noted_clock
from enerflo_sync.agreed.mapped_otherwise import end_mapped_otherwise
from enerflo_sync.agreed.own_words import stand_for
from enerflo_sync.agreed.renamed_columns import follow_columns, make_former, says_the_same
from enerflo_sync.crm.mapping import FieldType
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.meanings import OF_ROWS, STORED_AS, changed_parts, stored_meanings
from enerflo_sync.warehouse.engine import transaction_time

# How many earlier ways of reading a field are kept: a handed-over change is looked for as it was mapped then.
_READS_KEPT = 5
# Pairs whose halves differ since our write, because the column rounded the number.
_ROUNDED = "and a.agreed_by in ('push', 'altered') and a.crm_value is not null"

_STORE = sa.text("""
/* enerflo-sync plan: what the fields of agreed pairs are mapped to */
insert into sync.agreed_keys (account, table_name, columns) values (:account, :stored_as, :meanings)
on conflict (account, table_name) do update set columns = excluded.columns
""").bindparams(sa.bindparam("meanings", type_=JSONB))


def follow_meanings(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str
) -> list[Comparison]:
    """Invalidate the agreed pairs of fields that are mapped differently than when the pairs were stored.

    The next run stores a new pair where both sides are equal under the present mapping. Changes that were
    handed over under the former mapping and still wait are ended. Runs in the caller's transaction. Returns
    the comparisons with these fields no longer marked as changed.

    :param comparisons: all mapped tables.
    """
    end_mapped_otherwise(connection, comparisons, account, all_tables=True)
    by_table = stored_meanings(connection, account, [comparison.name for comparison in comparisons])
    now = transaction_time(connection).isoformat()
    for comparison in comparisons:
        stored = follow_columns(connection, comparison, account, by_table[comparison.name])
        meanings = dict(stored)
        for field, meaning in comparison.meanings.items():
            before = stored.get(field)
            changed = changed_parts(before, meaning)
            if changed and field != OF_ROWS:
                # If the mapping names another CRM table and a row there has the agreed value, the table was
                # most likely renamed or moved: that pair stays valid.
                same = says_the_same(comparison, field)
                if changed != {"crm"}:
                    # The pair's value was read in the former zone.
                    same = f"(a.agreed_by = 'reworded' and {says_the_same(comparison, field, before)})"
                make_former(connection, comparison, account, field, f"and not {same}")
                if changed != {"crm"}:
                    # Our own word now stands for yet another value. That is still nobody's edit.
                    stand_for(connection, comparison, account, field, "and a.agreed_by = 'reworded'")
            holds = _holds(comparison, field)
            if holds is not None and (before or {}).get("holds", holds) != holds:
                # With its new type the column may hold the number that it rounded before.
                make_former(connection, comparison, account, field, _ROUNDED)
            since = now if "enerflo" in changed else _since(before)
            meanings[field] = {**meaning, "enerflo_since": since}
            # From now on the values of both sides mean something else.
            said_since = now if changed - {"crm"} else (before or {}).get("said_since")
            if said_since is not None:
                meanings[field]["said_since"] = said_since
            if holds is not None:
                meanings[field]["holds"] = holds
            place = str(comparison.name), field
            meanings[field] |= noted_clock(connection, account, place, before, meaning, now)
            if earlier := _earlier_reads(before, changed, now):
                meanings[field]["read_before"] = earlier
        if meanings != by_table[comparison.name]:
            named = {"account": account, "stored_as": STORED_AS.format(comparison.name)}
            connection.execute(_STORE, {**named, "meanings": meanings})
    return [replace(comparison, remeant=frozenset()) for comparison in comparisons]


def _holds(comparison: Comparison, field: str) -> str | None:
    """Return the type of the CRM's column of a number, which may round what is written; None for others."""
    numbers = {one.name for one in comparison.fields if one.domain in (FieldType.NUMBER, FieldType.INTEGER)}
    return comparison.live.columns[field].type if field in numbers else None


def _earlier_reads(
    stored: Mapping[str, Any] | None, changed: Collection[str], now: str
) -> list[tuple[str, Any]]:
    """Return the former ways of reading a field's values, the newest last, each with the time of its end."""
    found = list((stored or {}).get("read_before", []))
    if stored is not None and "reads" in changed:
        found.append((now, stored.get("reads")))
    return found[-_READS_KEPT:]


def _since(stored: Mapping[str, Any] | None) -> str | None:
    return None if stored is None else stored.get("enerflo_since")
