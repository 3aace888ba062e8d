"""A table that ``sync.yaml`` calls otherwise by now: what is stored under the name before goes along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.meanings import STORED_AS

_STORED = sa.text("""
/* enerflo-sync plan: names of tables under which pairs are stored */
select table_name, columns from sync.agreed_keys where account = :account
""")
_HAS_PAIRS = sa.text("""
/* enerflo-sync plan: whether a table has pairs */
select exists (select from sync.agreed where account = :account and table_name = :table)
""")
_MOVE = Template("""
/* enerflo-sync plan: what is stored under another name of a table */
update sync.$target set table_name = :after where account = :account and table_name = :before and $which
""")
# What goes on under the name of a table. What ended stands under the name that the table had then.
_UNDER_NAMES = (
    ("agreed", "true"),
    ("agreed_twins", "true"),
    ("agreed_keys", "true"),
    ("own_writes", "side = 'crm'"),
    ("refusals", "ended_at is null"),
    ("plan_changes", "sent_at is not null and state <> 'applied'"),
    ("crm_changes", "ended_at is null"),
)


def follow_names(connection: sa.Connection, plans: Sequence[Comparison], account: str) -> None:
    """Bring along what is stored of a table under the name that it had before, where one alone can be meant.

    It is the same table where the pairs of a name that is not mapped any more are of the same CRM table and
    kind. In the caller's transaction.
    """
    rows = connection.execute(_STORED, {"account": account})
    stored: dict[str, Any] = {row.table_name: row.columns for row in rows}
    names = {plan.name for plan in plans}
    found = [(plan, _former_names(plan, stored, names)) for plan in plans if plan.name not in stored]
    claimed = [before for _, befores in found for before in befores]
    for plan, befores in found:
        if len(befores) != 1 or claimed.count(befores[0]) != 1:
            continue
        if connection.scalar(_HAS_PAIRS, {"account": account, "table": plan.name}):
            continue
        for target, which in _UNDER_NAMES:
            _rename(connection, account, target, which, befores[0], plan.name)
        _rename(connection, account, "agreed_keys", "true", *map(STORED_AS.format, (befores[0], plan.name)))


def _former_names(plan: Comparison, stored: Mapping[str, Any], names: set[str]) -> list[str]:
    table = full_name(plan.mapping)
    return [
        name
        for name in sorted(stored.keys() - names)
        if any(
            (meaning["crm"][0], meaning["enerflo"][0]) == (table, plan.kind)
            for meaning in _meanings(stored, name)
        )
    ]


def _meanings(stored: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    yield from stored.get(STORED_AS.format(name), {}).values()


def _rename(
    connection: sa.Connection, account: str, target: str, which: str, before: str, after: str
) -> None:
    statement = sa.text(_MOVE.substitute(target=target, which=which))
    connection.execute(statement, {"account": account, "before": before, "after": after})
