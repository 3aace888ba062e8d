"""Writes a plan's changes to the CRM's tables: in one transaction, each checked against its old value.

A row that changed since the plan is left as it is (outcome moved). A row that the table refuses (by a check,
a length, a missing value) is parked with the name of the constraint, and the other rows are written. The
statement that writes a table also records the outcome of each change in the plan and in the ledger.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from itertools import groupby
from string import Template
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.agree_column import agree_column, column_agreed
from enerflo_sync.agreed.altered import note_altered, note_filled
from enerflo_sync.agreed.outcomes import RECORD_OUTCOMES, Applying, Decision, outcome_values
from enerflo_sync.agreed.own_writes import note_made, noting_updates
from enerflo_sync.agreed.refusals import PASSED_OVER, why_refused
from enerflo_sync.agreed.soft_deletes import note_marked_rows, removal_statement, return_statement
from enerflo_sync.agreed.whole_rows import note_new_rows
from enerflo_sync.apply.crm_pages import OF_PLAN, pages_of_plan
from enerflo_sync.apply.crm_statements import insert_statement, update_statement
from enerflo_sync.apply.left_out import (
    NOT_KEPT,
    rows_outside,
    rows_passed_over,
    rows_put_back,
    rows_that_left,
    why_left,
    why_outside,
)
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.engine import transaction_time
from enerflo_sync.warehouse.refused import crm_refuses_a_row, refused_by_rule

Progress = Callable[[str, int, int], None]

# Room for the changes of a page between two steps of a statement, which take ten megabytes at most.
_ROOM = "set local work_mem = '32MB'"
# Checks deferred constraints now, and all constraints immediately from now on.
_CHECK = "set constraints all immediate"
_MOVED = "the CRM says something else than when the plan was made"
_OTHERWISE = "the CRM or Enerflo says something else than when the plan was made"

_OTHER_KEY = "the CRM's table gives the new row another key, by a trigger or rule of its own"

_DUE = Template(f"""
  select p.ctid as id, p.key, p.enerflo_key, p.before, p.after, p.source_value, p.agreed_at, p.agreed_row,
         p.row_digest
  from sync.plan_changes p
  where {OF_PLAN} and p.table_name = $table and p.op = %(op)s and p.position between %(first)s and %(last)s
    and p.field is not distinct from %(field)s::text
""")  # noqa: S608 - a constant

_DUE_RECORDS = Template(f"""
  select id, key, enerflo_key, field, after from (
    select p.ctid as id, p.key, p.enerflo_key, p.field, p.after, min(p.position) over record as first,
           array_agg(p.field) over record as fields
    from sync.plan_changes p
    where {OF_PLAN} and p.table_name = $table and p.op = %(op)s
      and p.position between %(since)s and %(until)s
    window record as (partition by p.key order by p.field
                      rows between unbounded preceding and unbounded following)
  ) p where first between %(first)s and %(last)s and fields = %(fields)s::text[]
""")  # noqa: S608 - a constant

# The outcomes are found by grouping instead of a join, because the planner has no statistics of the number of
# due changes and would choose a bad join.
_WRITE = Template(f"""
/* enerflo-sync apply $name: what still is as the plan expects it, and how each change ended */
with due as materialized ($due), made as ($made), $agreed ended as (
  select id, case when not_kept then 'parked' when done then 'applied' else 'moved' end as decision,
         case when not_kept then $why_not_kept when not done then $moved end as reason, deleted_row
  from ($told_apart) e
), {RECORD_OUTCOMES}
select state as decision, count(*) as number, $pairs as pairs from recorded group by 1
""")  # noqa: S608 - constants

_PARK = Template(f"""
/* enerflo-sync apply $name: what the table refuses */
with due as materialized ($due), ended as (
  select id, 'parked' as decision, %(reason)s::text as reason, null::jsonb as deleted_row from due
  where %(keys)s::text[] is null or key = any(%(keys)s::text[]::jsonb[])
), {RECORD_OUTCOMES}
select state as decision, count(*) as number, 0 as pairs from recorded group by 1
""")  # noqa: S608 - constants

_CHANGES_MADE = """
  select id, bool_or(done) as done, bool_or(not_kept) as not_kept, null::jsonb as deleted_row
  from (select id, false as done, false as not_kept from due union all select id, true, not_kept from made) e
  group by id
"""

_ROWS_DELETED = """
  select id, m.id is not null as done, coalesce(m.not_kept, false) as not_kept,
         case when not m.not_kept then m.deleted_row end as deleted_row
  from due left join made m using (id)
"""

_RECORDS_MADE = """
  select id, done, false as not_kept, null::jsonb as deleted_row from (
    select id, bool_or(done) over (partition by key) as done
    from (select id, key, false as done from due union all select null, key, true from made) e
  ) e where id is not null
"""

_TOLD_APART = {"insert": _RECORDS_MADE, "update": _CHANGES_MADE, "delete": _ROWS_DELETED}

_APPLIED = f"""
/* enerflo-sync apply: changes that were made now */
select p.position from sync.plan_changes p
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = %(table)s and p.op = %(op)s
  and p.position between %(first)s and %(until)s and p.state = '{Decision.APPLIED}' and p.done_at = %(now)s
"""  # noqa: S608 - a constant


_OTHER_KEYS = "(select count(*) from made where key not in (select key from due))"


class _OtherKeyError(Exception):
    """A row was inserted with a key that no row of the plan has."""


class _LeftOutError(Exception):
    """The table does not have rows as they were written, although it refused none."""

    def __init__(self, keys: Sequence[str], why: str) -> None:
        super().__init__()
        self.keys, self.why = list(keys), why


def apply_to_crm(
    connection: sa.Connection,
    applying: Applying,
    comparisons: Mapping[str, Comparison],
    *,
    evidence: str,
    by: AgreedBy,
    progress: Progress,
    total: int,
) -> Counter[str]:
    """Make the plan's changes to the CRM's tables in the caller's transaction, and count their outcomes.

    If a deferred constraint refuses a row at the end, all changes are rolled back and made again, with each
    row checked when it is written.

    :param comparisons: the comparisons of the account's tables, checked against the live tables.
    :param evidence: the source of the values, as the ledger names it.
    :param by: how the new agreed pairs came about.
    :param total: the number of changes, for ``progress``.
    """
    connection.exec_driver_sql(_ROOM)
    values = outcome_values(applying, transaction_time(connection), evidence)
    make = partial(_make, connection, comparisons, values, by, lambda done: progress("CRM", done, total))
    driver = driver_connection(connection)
    ended = None
    try:
        with connection.begin_nested():
            ended = make()
    except psycopg.Error as error:
        if not crm_refuses_a_row(error):
            raise
        ended = None
    if ended is None:
        # A deferred check does not tell which row failed, so now each statement is checked at once.
        driver.execute(_CHECK)
        ended = make()
    counts, changed = ended
    note_new_rows(connection, comparisons, changed["insert"], values)
    note_marked_rows(connection, comparisons, changed["delete"], values)
    return counts


def _make(
    connection: sa.Connection,
    comparisons: Mapping[str, Comparison],
    values: Mapping[str, Any],
    by: AgreedBy,
    tick: Callable[[int], None],
) -> tuple[Counter[str], dict[str, list[str]]]:
    """Make the changes page by page; return their outcomes, and by operation the tables that were changed.

    Rows are deleted last, and from the last table to the first: rows of a later table may refer to those of
    an earlier one (milestones to their install), which a foreign key keeps, or takes them along. Where two
    tables of ``sync.yaml`` are one CRM table, a row may be deleted here and made there: that order is kept.

    Agreed pairs are stored after all is written and checked, because until then a table's trigger, even a
    deferred one, may write another value.
    """
    counts: Counter[str] = Counter()
    jobs: list[_Job] = []
    deletions: list[_Job] = []
    with ExitStack() as noting:
        for groups in pages_of_plan(connection, values):
            for (table, op), some in groupby(groups, key=lambda group: (group.table_name, group.op)):
                job = _Job(connection, comparisons[table], op, values, by, list(some))
                if op == "delete" and not job.comparison.siblings:
                    deletions.append(job)
                    continue
                noting.enter_context(job.noting())
                counts += job.write()
                jobs.append(job)
            tick(sum(counts.values()))
        for job in reversed(deletions):
            counts += job.write()
            jobs.append(job)
            tick(sum(counts.values()))
        driver_connection(connection).execute(_CHECK)
    for job in jobs:
        job.remember()
    changed: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        if job.counts[Decision.APPLIED] and job.comparison.name not in changed[job.op]:
            changed[job.op].append(job.comparison.name)
    return counts, changed


class _Job:
    """The changes of one page to one table by one operation."""

    def __init__(
        self,
        connection: sa.Connection,
        comparison: Comparison,
        op: str,
        values: Mapping[str, Any],
        by: AgreedBy,
        groups: Sequence[Any],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.comparison = comparison
        self.op = op
        self._by = by
        # A row is not found by its key once that was written.
        keys = comparison.mapping.key_columns if op == "update" else ()
        self._groups = sorted(groups, key=lambda group: group.fields[0] in keys)
        self._span = min(group.first for group in groups), max(group.until for group in groups)
        # Groups with changes whose agreed pair is not stored yet.
        self._open_groups: Sequence[Any] = groups
        # The pair consists of the value that the plan saw and the row's value; no other row is read.
        self._agrees_by_column = op == "update" and by is AgreedBy.PUSH
        # The update itself returns the final value unless a trigger or another column's update changes it.
        rewritten = comparison.live.has_own_rules or comparison.updated_at in comparison.mapping.fields
        self._agrees_at_once = self._agrees_by_column and not rewritten
        self._pairs = 0
        self._connection = connection
        self._driver = driver_connection(connection)
        self._values = {**values, "op": op}

    def noting(self) -> AbstractContextManager[None]:
        """Store the modification times that the changes inside the ``with`` block give to rows."""
        if self.op != "update":
            return nullcontext()
        return noting_updates(self._connection, self.comparison, self._values, *self._span)

    def write(self) -> Counter[str]:
        """Make the changes and count their outcomes."""
        self._open_groups = [group for group in self._groups if not self._write(group)]
        return self.counts

    def remember(self) -> None:
        """Store the agreed pairs of the changes."""
        if self.op == "insert" and self.counts[Decision.APPLIED]:
            note_made(self._connection, self.comparison, self._values, *self._span)
        if self._agrees_by_column:
            for group in self._open_groups:
                span = group.first, group.last
                agree_column(self._connection, self.comparison, group.fields[0], span, self._values)
        elif self.counts[Decision.APPLIED]:
            self._agree()
        if self._by is AgreedBy.PUSH and self.op != "delete" and self.counts[Decision.APPLIED]:
            self._note_altered()

    def _write(self, group: Any) -> bool:
        """Make the changes of a group; return whether the agreed pair of each applied change is stored."""
        by_record, name = self.op == "insert", self.comparison.name
        due = (_DUE_RECORDS if by_record else _DUE).substitute(table=literal(name))
        agreed = f"{column_agreed(self.comparison, group.fields[0])}," if self._agrees_at_once else ""
        write = _WRITE.substitute(
            name=name,
            due=due,
            made=self._made(group.fields),
            agreed=agreed,
            pairs="(select count(*) from agreed)" if agreed else _OTHER_KEYS if by_record else "0",
            told_apart=_TOLD_APART[self.op],
            why_not_kept=literal(NOT_KEPT),
            moved=literal(_OTHERWISE if by_record and self.comparison.mapping.create_only else _MOVED),
        )
        park = _PARK.substitute(name=name, due=due)
        of_group = {"fields": group.fields, "field": group.fields[0]}
        of_group |= {"since": group.first, "until": group.until}
        applied, pairs = self.counts[Decision.APPLIED], self._pairs
        self._some(write, park, of_group, group.first, group.last)
        return self.counts[Decision.APPLIED] - applied == self._pairs - pairs

    def _made(self, fields: Sequence[str]) -> str:
        match self.op:
            case "update":
                return update_statement(self.comparison, fields[0])
            case "insert" if self._by is AgreedBy.UNDO:
                return return_statement(self._connection, self.comparison, self._values)
            case "insert":
                return insert_statement(self.comparison, fields)
            case _:
                return removal_statement(self._connection, self.comparison, undone=self._by is AgreedBy.UNDO)

    def _some(self, write: str, park: str, of_group: dict[str, Any], first: int, last: int) -> None:
        """Make the changes between two positions; if the table refuses a row, find it by bisection."""
        values = self._values | of_group | {"first": first, "last": last}
        try:
            with self._connection.begin_nested():
                ended = self._driver.execute(write, values).fetchall()
                if self.op == "insert" and any(other_keys for _, _, other_keys in ended):
                    raise _OtherKeyError
                self._require_rows(values, ended)
                self._count(ended)
        except _LeftOutError as error:
            # These rows are parked first, so that the next attempt leaves them out.
            self._count(self._driver.execute(park, {**values, "reason": error.why, "keys": error.keys}))
            self._some(write, park, of_group, first, last)
        except (psycopg.Error, _OtherKeyError) as error:
            if isinstance(error, psycopg.Error) and not crm_refuses_a_row(error):
                raise
            if first == last or refused_by_rule(error):
                reason = why_refused(error) if isinstance(error, psycopg.Error) else _OTHER_KEY
                self._count(self._driver.execute(park, {**values, "reason": reason, "keys": None}))
                return
            middle = (first + last) // 2
            self._some(write, park, of_group, first, middle)
            self._some(write, park, of_group, middle + 1, last)

    def _require_rows(self, values: Mapping[str, Any], ended: Sequence[Sequence[Any]]) -> None:
        """Raise an error if the table does not show a row that was written, or passed over a write."""
        if self.op == "insert" and (keys := rows_outside(self._connection, self.comparison, values)):
            raise _LeftOutError(keys, why_outside(self.comparison))
        ends = {decision for decision, _, _ in ended}
        if Decision.APPLIED in ends and (keys := rows_that_left(self._connection, self.comparison, values)):
            raise _LeftOutError(keys, why_left(self.comparison))
        if Decision.APPLIED in ends and (keys := rows_put_back(self._connection, self.comparison, values)):
            raise _LeftOutError(keys, NOT_KEPT)
        undone = self._by is AgreedBy.UNDO
        if (Decision.MOVED in ends or self.op == "delete") and (
            keys := rows_passed_over(self._connection, self.comparison, values, undone=undone)
        ):
            raise _LeftOutError(keys, PASSED_OVER)

    def _count(self, ended: Iterable[Sequence[Any]]) -> None:
        for decision, number, pairs in ended:
            self.counts[decision] += number
            if decision == Decision.APPLIED:
                self._pairs += pairs

    def _note_altered(self) -> None:
        """Note the values of which the table, by a rule of its own, made other ones."""
        values = self._values | dict(zip(("first", "until"), self._span, strict=True))
        if self.op == "insert":
            note_filled(self._connection, self.comparison, values)
        if not self.comparison.live.has_own_rules:
            return
        written = {name for group in self._groups for name in group.fields}
        for column in sorted(written & self.comparison.mapping.fields.keys()):
            note_altered(self._connection, self.comparison, column, values)

    def _agree(self) -> None:
        """Store the agreed pairs of all applied changes of the page, after all are made."""
        values = self._values
        whole = dict(zip(("first", "until"), self._span, strict=True))
        positions = self._driver.execute(_APPLIED, {**values, **whole, "table": str(self.comparison.name)})
        agree_written(
            self._connection,
            self.comparison,
            values["account"],
            values["plan_hash"],
            [position for (position,) in positions],
            self._by,
        )
