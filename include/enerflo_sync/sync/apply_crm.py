"""A plan's changes of the CRM's tables: one transaction, set-based, each against the value it expects.

What moved since the plan is left alone. What the table itself refuses (a check, a length, a missing value) is
parked with the rule that it broke, and the rest goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from string import Template
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.crm.mapping import TableName
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.sync.agree import AgreedBy, agree_written
from enerflo_sync.sync.settle import Applying, Decision, settle
from enerflo_sync.sync.written import column_value, of_key, shown, touched, typed_key, zone_of
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.engine import transaction_time

Progress = Callable[[str, int, int], None]

# Changes looked at together: a bound for memory.
PAGE = 20_000
# What a table's own rules refuse, its triggers included.
_REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException)

_PAGE = """
/* enerflo-sync apply: what there is to do on the CRM's side */
select position, table_name, op, field, md5(key::text) as record
from sync.plan_changes
where account = %(account)s and plan_hash = %(plan_hash)s and direction = 'to_crm' and state = 'planned'
  and position > %(after)s
order by position limit %(limit)s
"""

_THIS = """p.account = %(account)s and p.plan_hash = %(plan_hash)s
  and p.position = any(%(positions)s::bigint[])"""

_UPDATE = Template(f"""
/* enerflo-sync apply $name: one column, where it still holds what the plan expects */
update $crm t set $column = $value $touch
from sync.plan_changes p
where {_THIS} and $on and $before is not distinct from nullif(p.before, 'null')
returning p.position
""")  # noqa: S608 - a constant

_INSERT = Template(f"""
/* enerflo-sync apply $name: rows that the CRM lacks */
with made as (
  insert into $crm ($columns)
  select $values from (
    select p.key, jsonb_object_agg(p.field, p.after) as v
    from sync.plan_changes p where {_THIS} group by p.key
  ) p
  where not exists (select from $crm t where $on) $unlinked
  on conflict do nothing
  returning $key as key
)
select p.position from sync.plan_changes p join made m on m.key = p.key where {_THIS}
""")  # noqa: S608 - a constant

_DELETE = Template(f"""
/* enerflo-sync apply $name: rows that still hold what the plan expects */
delete from $crm t using sync.plan_changes p
where {_THIS} and $on and $row = p.before
returning p.position
""")  # noqa: S608 - a constant


def apply_to_crm(
    connection: sa.Connection,
    applying: Applying,
    plans: Mapping[TableName, Comparison],
    *,
    evidence: str,
    by: AgreedBy,
    progress: Progress,
    total: int,
) -> Counter[str]:
    """Make the plan's changes of the CRM's tables in the caller's transaction, and count how they ended.

    :param plans: the comparisons of the account's tables, checked against what they are like now.
    :param evidence: what the ledger names as the source of the values.
    :param by: how the pairs of values that are left behind came to be.
    :param total: how many changes there are, for ``progress``.
    """
    counts: Counter[str] = Counter()
    now = transaction_time(connection)
    after = -1
    while rows := _page(connection, applying, after):
        after = rows[-1].position
        for (table, op), some in groupby(rows, key=lambda row: (row.table_name, row.op)):
            job = _Job(connection, applying, plans[TableName(table)])
            job.run(op, list(some))
            for (decision, reason), positions in job.ended.items():
                counts[decision] += settle(
                    connection, applying, positions, decision, now, reason=reason, evidence=evidence
                )
            done = job.ended.get((Decision.APPLIED, None), [])
            if done:
                agree_written(connection, job.plan, applying.account, applying.plan_hash, done, by)
        progress("CRM", sum(counts.values()), total)
    return counts


def _page(connection: sa.Connection, applying: Applying, after: int) -> list[Any]:
    """Return the next changes; none of a record whose other changes are not among them."""
    values = {"account": applying.account, "plan_hash": applying.plan_hash, "after": after, "limit": PAGE}
    rows = list(connection.exec_driver_sql(_PAGE, values).all())
    if len(rows) < PAGE:
        return rows
    cut = rows[-1].table_name, rows[-1].op, rows[-1].record
    first = next(n for n, row in enumerate(rows) if (row.table_name, row.op, row.record) == cut)
    return rows[:first] if first else rows


class _Job:
    """Changes of one table by one operation."""

    def __init__(self, connection: sa.Connection, applying: Applying, plan: Comparison) -> None:
        self.plan = plan
        self.ended: dict[tuple[Decision, str | None], list[int]] = {}
        self._connection = connection
        self._driver = driver_connection(connection)
        self._values = {"account": applying.account, "plan_hash": applying.plan_hash}

    def run(self, op: str, rows: Sequence[Any]) -> None:
        match op:
            case "update":
                by_field: dict[str, list[int]] = {}
                for row in rows:
                    by_field.setdefault(row.field, []).append(row.position)
                for field, positions in by_field.items():
                    self._some(self._update(field), [[position] for position in positions])
            case "insert":
                records: dict[str, list[Any]] = {}
                for row in rows:
                    records.setdefault(row.record, []).append(row)
                # Columns that a record does not fill are left out, so that the table's defaults stand.
                alike: dict[tuple[str, ...], list[list[int]]] = {}
                for some in records.values():
                    fields = tuple(sorted(row.field for row in some))
                    alike.setdefault(fields, []).append([row.position for row in some])
                for fields, groups in alike.items():
                    self._some(self._insert(fields), groups)
            case _:
                self._some(self._delete(), [[row.position] for row in rows])

    def _some(self, statement: str, groups: list[list[int]]) -> None:
        """Make some records' changes; where the table refuses one, look for it by halves."""
        positions = [position for group in groups for position in group]
        try:
            with self._connection.begin_nested():
                found = self._driver.execute(statement, {**self._values, "positions": positions}).fetchall()
        except _REFUSED as error:
            if len(groups) == 1:
                self._end(Decision.PARKED, positions, _why(error))
                return
            middle = len(groups) // 2
            self._some(statement, groups[:middle])
            self._some(statement, groups[middle:])
            return
        done = {position for (position,) in found}
        self._end(Decision.APPLIED, sorted(done), None)
        rest = [position for position in positions if position not in done]
        self._end(Decision.MOVED, rest, "the CRM says something else than when the plan was made")

    def _end(self, decision: Decision, positions: list[int], reason: str | None) -> None:
        if positions:
            self.ended.setdefault((decision, reason), []).extend(positions)

    def _update(self, column: str) -> str:
        plan = self.plan
        live = plan.live.columns[column]
        touch = touched(plan)
        return _UPDATE.substitute(
            name=plan.name,
            crm=plan.crm,
            column=quoted(column),
            value=column_value(live, "p.after", zone_of(plan, column)),
            touch=f", {touch[0]} = {touch[1]}" if touch and touch[0] != quoted(column) else "",
            on=of_key(self.plan, "p.key"),
            before=shown(plan, column, "t"),
        )

    def _insert(self, fields: Sequence[str]) -> str:
        plan = self.plan
        keys = {
            column: typed_key(plan, "p.key", column)
            for column in plan.mapping.key_columns
            if column not in fields
        }
        values = {
            field: column_value(plan.live.columns[field], f"(p.v -> {literal(field)})", zone_of(plan, field))
            for field in fields
        }
        columns = {quoted(name): value for name, value in (keys | values).items()}
        touch = touched(plan)
        if touch is not None:
            columns.setdefault(*touch)
        links = [name for name in plan.mapping.join_columns if name in fields]
        unlinked = "".join(
            f" and not exists (select from {plan.crm} t where t.{quoted(name)} = {values[name]})"
            for name in links
        )
        return _INSERT.substitute(
            name=plan.name,
            crm=plan.crm,
            columns=", ".join(columns),
            values=", ".join(columns.values()),
            on=of_key(self.plan, "p.key"),
            unlinked=unlinked,
            key=jsonb_object((name, quoted(name)) for name in plan.mapping.key_columns),
        )

    def _delete(self) -> str:
        row = jsonb_object((field.name, shown(self.plan, field.name, "t")) for field in self.plan.fields)
        return _DELETE.substitute(
            name=self.plan.name, crm=self.plan.crm, on=of_key(self.plan, "p.key"), row=row
        )


def _why(error: psycopg.Error) -> str:
    """Say which rule of the table refused a row, without the row."""
    names = [error.diag.constraint_name, error.diag.column_name]
    what = " ".join(name for name in names if name)
    kind = type(error).__name__
    return f"the CRM's table refuses it: {kind}{f' ({what})' if what else ''}"
