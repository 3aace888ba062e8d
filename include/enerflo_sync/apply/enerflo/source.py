"""Reads the CRM row of a change again before it is sent: a value that the row no longer has is not sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Applying
from enerflo_sync.agreed.written import fitting_key
from enerflo_sync.copies.fresh_rows import FreshRows
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import Direction, RecordKind
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.crm.sent_along import sent_columns
from enerflo_sync.outbox.changes import OutboxChange, key_text
from enerflo_sync.outbox.links import link_columns
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.creations import due
from enerflo_sync.plan.undoing import UNDO
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judge import crm_value_for_enerflo
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.values import crm_raw

GONE = "the CRM's row is gone by now."
OTHER_VALUE = "the CRM says something else than when the plan was made."
OTHER_RECORD = "the CRM's row names another record of Enerflo by now."
LINKED = "the CRM's row names a record of Enerflo by now."
NOT_DUE = "it is not due any more (create_when)."
REPEATED = "more than one row of the CRM has its key by now."

# The subquery ``x`` has its own scope, so that a column of the CRM table cannot be confused with one of
# ``o``.
_ROW = Template("""
/* enerflo-sync push $name: a CRM row as it is now */
select $now as now, x.sent, x.due, x.linked, $names as names, $sendable as sendable,
       $same_record as same_record, $twins as twins
from ($crm_side) o
cross join lateral (
  select $sent as sent, ($due) as due, ($linked) as linked from $crm t where $same_row offset 0
) x
where $on_key
limit 2
""")

_PLANNED = sa.text("""
/* enerflo-sync push: all values of a new record in a plan */
select field, source_value from sync.plan_changes
where account = :account and plan_hash = :plan_hash and table_name = :table and op = 'insert'
  and key = cast(:key as jsonb)
""")

_MILESTONES = """
/* enerflo-sync push: the milestones by which {} */
select position, table_name, key, enerflo_key, op, field, before, after, rule, sent_at, source_value
from sync.plan_changes m
where account = :account and op = 'update' and direction = 'to_enerflo' and table_name = :table
  and field = any(:fields) and after = cast(:after as jsonb) and (enerflo_key ->> 'install_id') = :install
  and {}
"""
_OF_PLAN = sa.text(_MILESTONES.format("a plan completes an install", "plan_hash = :plan_hash"))
# A completion that a plan did not make is planned again after its milestone was written.
_OF_EARLIER_PLANS = sa.text(
    _MILESTONES.format(
        "an earlier plan should have completed an install",
        """state = 'applied' and plan_hash in (
    select c.plan_hash from sync.plan_changes c
    where c.account = m.account and c.table_name = :installs and c.rule = 'last_milestone'
      and c.enerflo_key = cast(:record as jsonb))""",
    )
)


class Sources:
    """Finds changes of a plan whose CRM row no longer supports them. Runs in the caller's transaction.

    Rows are read as the reconciliation reads them: a row that counts as deleted there does not exist here.

    :param fresh: reads rows again from a CRM in another database, of which the warehouse has a copy.
    """

    def __init__(
        self,
        connection: sa.Connection,
        applying: Applying,
        config: SyncConfig,
        comparisons: Mapping[str, Comparison],
        fresh: FreshRows | None = None,
    ) -> None:
        self._connection = connection
        self._fresh = fresh
        self._applying = applying
        self._config = config
        self._comparisons = comparisons
        self._statement = cache(self._statement_of)

    def moved(
        self, changes: Sequence[OutboxChange], *, record: Mapping[str, Any] | None = None, values: bool = True
    ) -> dict[int, str]:
        """Return by position why changes must not be made any more; valid changes are left out.

        If one change of a new record has moved, all its changes have. Changes of an undo are always valid,
        because their values do not come from the CRM.

        :param record: the record of Enerflo that a new CRM row already became, if the row may have its id.
        :param values: whether a change also counts as moved if the CRM's value differs now.
        """
        found: dict[int, str] = {}
        rows: dict[tuple[str, str, str], list[OutboxChange]] = {}
        for change in changes:
            if change.rule != UNDO and change.table in self._comparisons:
                rows.setdefault((change.table, change.op, key_text(change)), []).append(change)
        for (table, op, _), some in rows.items():
            comparison = self._comparisons[table]
            if self._fresh is not None:
                self._fresh.read(self._connection, comparison, [some[0].key])
            if op == "insert":
                reason = self._moved_record(comparison, some[0], record)
                found |= {change.position: reason for change in some if reason is not None}
            elif op == "update":
                found |= self._moved_fields(comparison, some, values)
        return found

    def _moved_fields(
        self, comparison: Comparison, changes: Sequence[OutboxChange], values: bool
    ) -> dict[int, str]:
        found = {change.position: self._of_milestone(change) for change in changes if _completes(change)}
        own = [change for change in changes if not _completes(change)]
        row, reason = self._row(comparison, own[0]) if own else (None, None)
        for change in own:
            why = reason
            if row is not None and why is None:
                if not row["same_record"]:
                    why = OTHER_RECORD
                elif values and row["now"].get(change.field) != change.source_value:
                    why = OTHER_VALUE
            found[change.position] = why
        return {position: why for position, why in found.items() if why is not None}

    def _of_milestone(self, change: OutboxChange) -> str | None:
        """Return why an install must not be completed: the milestone that completes it has moved."""
        tables = [one for one in self._comparisons.values() if one.kind == RecordKind.MILESTONES]
        for statement in (_OF_PLAN, _OF_EARLIER_PLANS):
            planned = [(one, some) for one in tables if (some := self._completing(statement, one, change))]
            if planned:
                reasons = (why for found in planned for why in self._moved_fields(*found, True).values())
                return next(reasons, None)
        return None

    def _completing(
        self, statement: sa.TextClause, milestones: Comparison, change: OutboxChange
    ) -> list[OutboxChange]:
        """Return the planned changes of a milestone table by which an install is completed."""
        fields = milestones.mapping.fields.items()
        record = dict(change.enerflo_key or {})
        named = {
            "account": self._applying.account,
            "plan_hash": self._applying.plan_hash,
            "table": milestones.name,
            "installs": change.table,
            "fields": [name for name, field in fields if field.enerflo == "completed_at"],
            "after": json.dumps(change.source_value),
            "install": str(record.get("install_id")),
            "record": json.dumps(record),
        }
        of_this = {name: named[name] for name in statement.compile().params}
        return [OutboxChange(*row) for row in self._connection.execute(statement, of_this)]

    def _moved_record(
        self, comparison: Comparison, change: OutboxChange, record: Mapping[str, Any] | None
    ) -> str | None:
        row, reason = self._row(comparison, change)
        if row is None:
            return reason
        named = {
            "account": self._applying.account,
            "plan_hash": self._applying.plan_hash,
            "table": change.table,
            "key": key_text(change),
        }
        planned = {row.field: row.source_value for row in self._connection.execute(_PLANNED, named)}
        now = {**row["sent"], **row["now"]}
        links = link_columns(comparison)
        if row["linked"] and not _names(row["names"], links, record):
            return LINKED
        if not row["due"]:
            return NOT_DUE
        edited = any(
            name in now and now[name] != value for name, value in planned.items() if name not in links
        )
        # If the record was already created, a value that was added since is a change for a later plan.
        added = set() if record is not None else {*row["sendable"]} - planned.keys()
        return OTHER_VALUE if edited or added else reason

    def _row(self, comparison: Comparison, change: OutboxChange) -> tuple[sa.RowMapping | None, str | None]:
        """Return the present CRM row, and the reason if it cannot be used at all."""
        values = {
            "account": self._applying.account,
            "key": key_text(change),
            "record": json.dumps(dict(change.enerflo_key or {})),
        }
        rows = self._connection.exec_driver_sql(self._statement(comparison.name), values).mappings().all()
        if not rows:
            return None, GONE
        return rows[0], REPEATED if len(rows) > 1 or rows[0]["twins"] > 1 else None

    def _statement_of(self, table: str) -> str:
        comparison = self._comparisons[table]
        keys = comparison.mapping.key_columns
        sent = [
            name for name in sent_columns(comparison.kind, self._config) if name in comparison.live.columns
        ]
        links = [f"not ({join.is_open('t')})" for join in comparison.joins if join.crm_name not in keys]
        same_key = f"select from ({crm_side(comparison)}) d where {comparison.on('d', 'o')} limit 2"
        repeated = f"(select count(*) from ({same_key}) d)"  # noqa: S608 - the same
        return _ROW.substitute(
            name=comparison.name,
            now=jsonb_object((field.name, field.crm.shown) for field in comparison.fields),
            names=jsonb_object(
                (join.crm_name, f"to_jsonb(o.j{n})") for n, join in enumerate(comparison.joins, 1)
            ),
            sendable=_sendable(comparison, sent),
            same_record=_same_record(comparison),
            # With a unique index the rows need not be counted.
            twins="1" if comparison.crm_unique else repeated,
            crm_side=crm_side(comparison),
            sent=jsonb_object(
                (name, f"to_jsonb({crm_raw(f't.{quoted(name)}', comparison.live.columns[name])})")
                for name in sent
            ),
            due=due(comparison),
            linked=" or ".join(links) or "false",
            crm=comparison.crm_rows,
            same_row=" and ".join(f"t.{quoted(name)} = o.k{n}" for n, name in enumerate(keys, 1)),
            on_key=" and ".join(
                f"o.k{n} = {fitting_key(comparison, '%(key)s::jsonb', name)}"
                for n, name in enumerate(keys, 1)
            ),
        )


def _same_record(comparison: Comparison) -> str:
    """Return the condition that a row ``o`` of the CRM still names the planned record of Enerflo."""
    said = {name: f"(%(record)s::jsonb ->> {literal(name)})::bigint" for name in comparison.mirror_key}
    joined = {join.mirror_name for join in comparison.joins}
    own = [f"o.p{n} = {said[name]}" for n, name in enumerate(comparison.mirror_key, 1) if name in joined]
    if joined <= said.keys():
        return " and ".join(own) or "false"
    record = " and ".join(f"m.p{n} = {said[name]}" for n, name in enumerate(comparison.mirror_key, 1))
    side = mirror_side(comparison)
    return f"exists (select from ({side}) m where {comparison.on('m', 'o')} and {record})"


def _sendable(comparison: Comparison, sent: Sequence[str]) -> str:
    """Return as a jsonb array the columns that have a value to send for a new record now."""
    links = set(link_columns(comparison)) | set(comparison.mapping.join_columns)
    cases = [
        f"case when coalesce({crm_value_for_enerflo(comparison, field)}, 'null') <> 'null'"
        f" then {literal(field.name)} end"
        for field in comparison.fields
        if field.name not in links and field.mapping.direction in {Direction.BOTH, Direction.TO_ENERFLO}
    ]
    mapped = {field.name for field in comparison.fields}
    cases += [
        f"case when coalesce(x.sent -> {literal(name)}, 'null') <> 'null' then {literal(name)} end"
        for name in sent
        if name not in mapped and name not in links
    ]
    return f"to_jsonb(array_remove(array[{', '.join(cases)}]::text[], null))"


def _completes(change: OutboxChange) -> bool:
    """Return whether a change of an install comes from its milestones instead of its own row."""
    return change.rule == LAST_MILESTONE


def _names(names: Mapping[str, Any], links: Mapping[str, str], record: Mapping[str, Any] | None) -> bool:
    return record is not None and all(
        str(names[name]) == str(record.get(mirror)) for name, mirror in links.items()
    )
