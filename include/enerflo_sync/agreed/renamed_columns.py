"""CRM columns that were renamed: what is stored under a column's former name moves to the new name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.renamed_tables import ASKED_LAST, NEEDED_CHANGES, copy_rows
from enerflo_sync.agreed.written import shown
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import stored_key
from enerflo_sync.reconcile.meanings import OF_ROWS, changed_parts, zone_read_in
from enerflo_sync.warehouse.schema import refusals

_SAME_VALUE = Template("""exists (
    select from $rows t where $on
      and nullif($shown, 'null') is not distinct from nullif(coalesce(a.crm_value, a.value), 'null'))""")
# The values are removed too, because an earlier version of this program ignores ``former_``. Without values
# it sees that both sides changed, and does not take an old value for the base.
_FORMER = Template("""
/* enerflo-sync plan $name: pairs of a field that is mapped to something else */
update sync.agreed a set agreed_by = 'former_' || agreed_by, value = null, crm_value = null
where a.account = %(account)s and a.table_name = $table and a.field = $field and not a.is_link
  and (a.agreed_by not like 'former%%' or a.agreed_by like 'former_row%%') $which
""")
_REPLACED = Template("""
/* enerflo-sync plan $name: what was stored before under the name that a column gets */
delete from sync.agreed n using sync.agreed a
where n.account = %(account)s and n.table_name = $table and n.field = $after and n.key = a.key
  and a.account = n.account and a.table_name = n.table_name and a.field = $before and not a.is_link and $same
""")
# The new name may still be another column. So a pair moves only if the CRM's value is unchanged: a different
# value would look like an edit in the CRM.
_PAIRS = Template("""
/* enerflo-sync plan $name: pairs of a column under another name */
update sync.agreed a set field = $after
where a.account = %(account)s and a.table_name = $table and a.field = $before and not a.is_link and $same
""")
_OTHERS = (
    Template("""
/* enerflo-sync plan $name: what plans saw of a column under another name, or sent and is not confirmed */
update sync.plan_changes set field = $after
where account = %(account)s and table_name = $table and field = $before and $needed
"""),
    Template("""
/* enerflo-sync plan $name: what the last plan asked of a column under another name */
update sync.plan_undecided set field = $after
where account = %(account)s and table_name = $table and field = $before and $asked
"""),
)

# The mark that a row was one of several goes to every name that the column may have now. One mark too many
# asks a person; one too few lets a plan write the value of a row that is gone.
_MARK_UNDER = sa.text("""
/* enerflo-sync plan: rows that were one of several, by the present name of a column */
insert into sync.agreed_twins (account, table_name, key, field, seen_at)
select account, table_name, key, :after, min(seen_at) from sync.agreed_twins
where account = :account and table_name = :table and field = any(:befores) group by account, table_name, key
on conflict do nothing
""")
_UNMARK_FORMER = sa.text("""
/* enerflo-sync plan: rows that were one of several, by former names of columns */
delete from sync.agreed_twins where account = :account and table_name = :table and field = any(:befores)
""")


def follow_columns(
    connection: sa.Connection, comparison: Comparison, account: str, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Move what is stored under a column's former name to its new name, if the column is unambiguous.

    A column counts as renamed if both names are mapped to the same field of Enerflo and the former name is
    not mapped any more, whatever else of its mapping changed. Runs in the caller's transaction.

    :param stored: the stored meaning of each column's pairs; returned with the present names.
    """
    found = dict(stored)
    gone = stored.keys() - comparison.meanings.keys()
    news = (
        {name: meaning for name, meaning in comparison.meanings.items() if name not in stored} if gone else {}
    )
    befores = {
        name: [one for one in gone if "enerflo" not in changed_parts(stored[one], meaning)]
        for name, meaning in news.items()
        if name != OF_ROWS
    }
    _follow_twins(connection, comparison, account, befores)
    _follow_refusals(connection, comparison, account, befores)
    claimed = [one for names in befores.values() for one in names]
    for after, names in befores.items():
        if len(names) == 1 and claimed.count(names[0]) == 1:
            _rename(connection, comparison, account, names[0], after)
            found[after] = found.pop(names[0])
    return found


def says_the_same(comparison: Comparison, field: str, stored: Mapping[str, Any] | None = None) -> str:
    """Return the condition that the CRM's value in a column is still the value of the agreed pair ``a``.

    :param stored: the meaning under which the pair was stored, if its times were read in another zone.
    """
    keys = comparison.mapping.key_columns
    return _SAME_VALUE.substitute(
        rows=comparison.crm_rows,
        on=" and ".join(f"t.{quoted(name)} = {stored_key(comparison, 'a.key', name)}" for name in keys),
        shown=shown(comparison, field, zone=zone_read_in(stored)),
    )


def make_former(
    connection: sa.Connection, comparison: Comparison, account: str, field: str, which: str = ""
) -> None:
    """Invalidate the agreed pairs of a column: they stay as evidence of their rows, without values.

    :param which: ``and …``, a further condition on the pairs ``a``.
    """
    statement = _FORMER.substitute(
        name=comparison.name, table=literal(comparison.name), field=literal(field), which=which
    )
    connection.exec_driver_sql(statement, {"account": account})


def _rename(connection: sa.Connection, comparison: Comparison, account: str, before: str, after: str) -> None:
    named = {"name": comparison.name, "table": literal(comparison.name)}
    named |= {"before": literal(before), "after": literal(after)}
    make_former(connection, comparison, account, after)
    same = says_the_same(comparison, after)
    named |= {"same": same, "needed": NEEDED_CHANGES, "asked": ASKED_LAST}
    for statement in (_REPLACED, _PAIRS, *_OTHERS):
        connection.exec_driver_sql(statement.substitute(named), {"account": account})
    make_former(connection, comparison, account, before)


def _follow_twins(
    connection: sa.Connection, comparison: Comparison, account: str, befores: Mapping[str, Sequence[str]]
) -> None:
    named = {"account": account, "table": str(comparison.name)}
    for after, names in befores.items():
        connection.execute(_MARK_UNDER, {**named, "after": after, "befores": names})
    for names in befores.values():
        connection.execute(_UNMARK_FORMER, {**named, "befores": names})


def _follow_refusals(
    connection: sa.Connection, comparison: Comparison, account: str, befores: Mapping[str, Sequence[str]]
) -> None:
    """Let refusals stand under every name that their column may have now.

    :param befores: by new name, the former names of columns of the same field.
    """
    columns = refusals.c
    of_table = sa.and_(columns.account == account, columns.table_name == str(comparison.name))
    for before in sorted({name for names in befores.values() for name in names}):
        which = sa.and_(of_table, columns.field == before, columns.ended_at.is_(None))
        first, *further = (after for after, names in befores.items() if before in names)
        # Of several columns of one field, it is not known which got which name.
        for after in further:
            copy_rows(connection, refusals, which, field=after)
        connection.execute(sa.update(refusals).where(which).values(field=first))
