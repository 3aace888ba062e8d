"""What must hold where changes are handed over (``write_to: changes``), looked after while the day runs."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import psycopg

from tests.simulation.copied import Courier
from tests.simulation.mapped import Mapped
from tests.simulation.refusals import Refusals
from tests.simulation.shapes import Shape
from tests.simulation.values import Row
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

_NEW = """
select number, table_name, key, op, "column", before, after, enerflo_key from told.crm_changes
where number > %s order by number
"""
_TWICE = """
select table_name, coalesce(enerflo_key, key), "column" from told.crm_changes where state = 'open' and op <> 'delete'
group by 1, 2, 3 having count(*) > 1
"""
# A change took the place of one that said the same.
_AGAIN = """
select b.table_name, b.key, b."column" from told.crm_changes b cross join lateral (
  select * from told.crm_changes a
  where a.table_name = b.table_name and a.key = b.key and a.op = b.op and a."column" = b."column"
    and a.number < b.number order by a.number desc limit 1
) a where b.number > %s and a.reason = 'a later change took its place' and a.after = b.after
"""
_ARRIVED = """
select number, table_name, key, enerflo_key, op, "column", after from told.crm_changes
where state = 'arrived' and op <> 'delete' and number <> all(%s)
"""
_SAID = """
select coalesce(after -> %(column)s, 'null') from simulation.crm_written
where table_name = %(table)s and after is not null
"""
_WAITS = """
select number, table_name, key, "column" from told.crm_changes
where state = 'open' and ended_at is null and kind <> 'link' and (op <> 'insert' or acknowledged_at is null)
  and account = %s
"""
_STATUSES = """
select number from told.crm_changes where table_name = 'installs' and "column" = 'status' and key @> %s::jsonb
"""
_WRITERS = """
select writer, n, after -> %(column)s from simulation.office_written
where table_name = %(table)s and after is not null and after @> %(key)s::jsonb
  and ((before -> %(column)s) is distinct from (after -> %(column)s)
    or writer = 'people' and exists (
      select from unnest(%(links)s::text[]) l where (before -> l) is distinct from (after -> l)))
order by n desc
"""


class HandedOver:
    """Looks at what is handed over, and at what comes back of it.

    :param stands: returns what Enerflo has of a record in the CRM's columns, None where there is none.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        shape: Shape,
        watch: Watch,
        refusals: Refusals,
        courier: Courier,
        stands: Callable[[str, tuple[Any, ...]], Row | None],
    ) -> None:
        self._connection = connection
        self._shape = shape
        self._watch = watch
        self._refusals = refusals
        self._courier = courier
        self._stands = stands
        self._last = 0
        # What was written to the CRM before words of statuses got another meaning.
        self._remeant = 0
        self._arrived: list[int] = []
        # What sync.yaml said when each change was handed over.
        self._made: dict[int, Mapped] = {}

    def written(self, written: Written) -> None:
        """Complain where a job writes the copy itself."""
        if not written.by_people:
            self._watch.breaks(f"a job wrote crm.{written.table}, which is a copy: {written.op}")

    def remeant(self) -> None:
        """Take note that words of statuses stand for others: what the courier brought before says another thing."""
        row = self._connection.execute("select coalesce(max(n), 0) from simulation.office_written").fetchone()
        self._remeant = row[0] if row is not None else 0

    def look(self) -> None:
        """Look at what was handed over since the last look, and at what counts as arrived."""
        for table, key, column in self._connection.execute(_AGAIN, [self._last]).fetchall():
            self._watch.breaks(f"crm.{table} {key}: {column} was handed over while it was on its way")
        rows: dict[tuple[str, str, str], list[Any]] = {}
        for one in self._connection.execute(_NEW, [self._last]).fetchall():
            self._last, table, key, op, column, *_ = one
            self._made[self._last] = self._shape.yaml.says
            place = (table, json.dumps(key), op if op != "update" else f"update {column}")
            rows.setdefault(place, []).append(one)
        for changes in rows.values():
            self._is_handed_over(changes)
        for table, key, column in self._connection.execute(_TWICE).fetchall():
            self._watch.breaks(f"crm.{table} {key}: {column} is on its way twice")
        for number, table, key, record, op, column, after in self._connection.execute(
            _ARRIVED, [self._arrived]
        ).fetchall():
            self._arrived.append(number)
            if not self._was_said(table, key, record, op, column, after):
                self._watch.breaks(
                    f"crm.{table} {key}: {column} counts as arrived, and the copy never said {after!r}"
                )

    def was_made(self) -> None:
        """Complain where a plan was made, and something waits that stands for another thing by now."""
        says = self._shape.yaml.says
        for number, table, key, column in self._connection.execute(_WAITS, [says.account]).fetchall():
            made = self._made.get(number, says)
            remeant = (table, column) == ("installs", "status") and made.labels != says.labels
            if remeant or (table, column) in says.unmapped:
                self._watch.breaks(
                    f"crm.{table} {key}: {column} waits to be carried, and sync.yaml maps it otherwise"
                )

    def _is_handed_over(self, changes: list[Any]) -> None:
        """Tell those who look after refusals of a change as if the CRM had been written."""
        number, table, key, op, _, _, _, record = changes[0]
        links = self._shape.link_of(table, tuple((record or {}).values())) if record else {}
        row = self._row(table, key) or {**links, **key}
        after = {**row, **{one[4]: one[6] for one in changes if one[4] is not None}}
        before = {**row, **{one[4]: one[5] for one in changes if one[4] is not None}}
        self._refusals.written(
            Written(
                number,
                table,
                op,
                None if op == "insert" else before,
                None if op == "delete" else after,
                0,
                by_people=False,
            )
        )

    def _row(self, table: str, key: Row) -> Row | None:
        row = self._connection.execute(
            f"select to_jsonb(t) from crm.{table} t where to_jsonb(t) @> %s::jsonb".encode(),
            [json.dumps(key)],
        ).fetchone()
        return None if row is None else row[0]

    def _was_said(self, table: str, key: Row, record: Row | None, op: str, column: str, after: Any) -> bool:
        shape, plain = self._shape, self._shape.plain
        if column not in {**shape.tables[table].fields, **shape.tables[table].joins}:
            # It is not compared: nobody looks for it.
            return True
        of_row = "after @> %(key)s::jsonb"
        named: dict[str, Any] = {"table": table, "column": column, "key": json.dumps(key)}
        if op == "insert" and record is not None:
            link = shape.link_of(table, tuple(record.values()))
            of_row, named["link"] = f"({of_row} or after @> %(link)s::jsonb)", json.dumps(link)
        said = self._connection.execute(f"{_SAID} and {of_row}".encode(), named).fetchall()
        wanted = plain(table, column, after)
        return any(
            one == wanted or shape.tolerates(table, column, one, wanted)
            for one in (plain(table, column, value) for (value,) in said)
        )

    def arrived(self, write: Arrival) -> None:
        """Complain where what the courier brought goes to Enerflo as a person's edit over a newer value."""
        if write.record is None or write.table == "notes":
            return
        theirs = self._stands(write.table, write.record) or {}
        plain = self._shape.plain
        for row in self._living(write.table, write.record):
            for column, value in write.values.items():
                # The CRM spells phones its own way, and an install is completed by its milestones.
                if column not in theirs or column not in row or column == "mobile" or value == "Completed":
                    continue
                if dict(self._shape.yaml.says.policies).get((write.table, column)) == "crm":
                    # The CRM's value stands by now, whoever wrote it.
                    continue
                said = plain(write.table, column, value)
                # The same value where Enerflo keeps it as HTML.
                stand = {
                    plain(write.table, column, one) for one in (theirs[column], _unescaped(theirs[column]))
                }
                if said not in stand and said == plain(write.table, column, row[column]):
                    self._is_nobodys_edit(write, row, column)

    def _is_nobodys_edit(self, write: Arrival, row: Row, column: str) -> None:
        key = self._shape.key_of(write.table, row)
        if (write.table, json.dumps(key, sort_keys=True), column) in self._courier.too_late:
            return
        named: dict[str, Any] = {"table": write.table, "key": json.dumps(key), "column": column}
        if column == "status" and self._was_meant_otherwise(key):
            # What the courier brings late says another thing by now, and differences go by source_of_truth.
            return
        # A row that a person gave another record says all of it.
        named["links"] = [*self._shape.tables[write.table].joins]
        # The copy may still show what the office said before somebody else's value.
        plain, writers = self._shape.plain, self._connection.execute(_WRITERS, named).fetchall()
        shown = plain(write.table, column, row[column])
        last = next((one for one in writers if plain(write.table, column, one[2]) == shown), None)
        if (
            last is not None
            and last[0] == "courier"
            and not (column == "status" and last[1] <= self._remeant)
        ):
            self._watch.breaks(f"{write.words}: {column} is what the courier brought, and nobody's edit")

    def _was_meant_otherwise(self, key: Row) -> bool:
        """Return whether a status was handed over for a row when words stood for others than now."""
        found = self._connection.execute(_STATUSES, [json.dumps(key)]).fetchall()
        labels = self._shape.yaml.says.labels
        return any(self._made[number].labels != labels for (number,) in found if number in self._made)

    def _living(self, table: str, record: tuple[Any, ...]) -> list[Row]:
        rows = self._connection.execute(
            f"select to_jsonb(t) from crm.{table} t where {self._shape.living}".encode()
        ).fetchall()
        return [row for (row,) in rows if self._shape.join_of(table, row) == record]


def _unescaped(value: Any) -> Any:
    return html.unescape(value) if isinstance(value, str) else value
