"""A column that is called otherwise by now: what is stored of it under the name before goes along."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import shown
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judge import stored_key
from enerflo_sync.reconcile.meanings import OF_ROWS, changed_parts

_SAME_VALUE = Template("""exists (
    select from $rows t where $on
      and nullif($shown, 'null') is not distinct from nullif(coalesce(a.crm_value, a.value), 'null'))""")
# The values go, too: to a program of an earlier version both sides have moved then, and none was left apart.
_FORMER = Template("""
/* enerflo-sync plan $name: pairs of a field that stands for something else */
update sync.agreed a set agreed_by = 'former_' || agreed_by, value = null, crm_value = null
where a.account = %(account)s and a.table_name = $table and a.field = $field and not a.is_link
  and a.agreed_by not like 'former%%' $which
""")
_REPLACED = Template("""
/* enerflo-sync plan $name: what was stored before under the name that a column gets */
delete from sync.agreed n using sync.agreed a
where n.account = %(account)s and n.table_name = $table and n.field = $after and n.key = a.key
  and a.account = n.account and a.table_name = n.table_name and a.field = $before and not a.is_link and $same
""")
# The column may be another one after all: what it says otherwise is no edit of the CRM.
_PAIRS = Template("""
/* enerflo-sync plan $name: pairs of a column under another name */
update sync.agreed a set field = $after
where a.account = %(account)s and a.table_name = $table and a.field = $before and not a.is_link and $same
""")
_OTHERS = (
    Template("""
/* enerflo-sync plan $name: what a person refused of a column under another name */
update sync.refusals set field = $after
where account = %(account)s and table_name = $table and field = $before and ended_at is null
"""),
    Template("""
/* enerflo-sync plan $name: what was sent of a column under another name, and is not confirmed */
update sync.plan_changes set field = $after
where account = %(account)s and table_name = $table and field = $before
  and sent_at is not null and state <> 'applied'
"""),
)


def follow_columns(
    connection: sa.Connection, comparison: Comparison, account: str, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Bring along what is stored of columns under another name, where one alone can be meant.

    It is the same column where both names stand for the same field of Enerflo in the same CRM table, and one
    of them is not mapped any more. In the caller's transaction.

    :param stored: by column what its pairs stand for, as stored; returned under the names of now.
    """
    found = dict(stored)
    gone = stored.keys() - comparison.meanings.keys()
    news = (
        {name: meaning for name, meaning in comparison.meanings.items() if name not in stored} if gone else {}
    )
    befores = {
        name: [one for one in gone if not changed_parts(stored[one], meaning)]
        for name, meaning in news.items()
        if name != OF_ROWS
    }
    claimed = [one for names in befores.values() for one in names]
    for after, names in befores.items():
        if len(names) == 1 and claimed.count(names[0]) == 1:
            _rename(connection, comparison, account, names[0], after)
            found[after] = found.pop(names[0])
    return found


def says_the_same(comparison: Comparison, field: str) -> str:
    """Return the condition that the CRM says of a pair ``a`` in a column what it said when both agreed."""
    keys = comparison.mapping.key_columns
    return _SAME_VALUE.substitute(
        rows=comparison.crm_rows,
        on=" and ".join(f"t.{quoted(name)} = {stored_key(comparison, 'a.key', name)}" for name in keys),
        shown=shown(comparison, field),
    )


def make_former(
    connection: sa.Connection, comparison: Comparison, account: str, field: str, which: str = ""
) -> None:
    """Let the pairs of a column be evidence of their rows, and no base any more.

    :param which: ``and …``: of pairs ``a``, only those.
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
    for statement in (_REPLACED, _PAIRS, *_OTHERS):
        connection.exec_driver_sql(statement.substitute(named, same=same), {"account": account})
    make_former(connection, comparison, account, before)
