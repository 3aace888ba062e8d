"""Where the later change stands, it is the later change of a person on either side that does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from enerflo_sandbox.changes import Change, Origin
from enerflo_sync.clock import Clock
from tests.simulation.shapes import DATES, Shape
from tests.simulation.values import Row
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

Record = tuple[Any, ...]
_COLUMNS = {"installs": ("status",), "milestones": DATES}
# Enerflo tells whole seconds, and two changes within a minute are nobody's to order.
_SLACK = timedelta(minutes=1)


@dataclass
class _Edit:
    """A person's change of one field since both sides last agreed on it.

    :param at: when the field was changed, as its side dates it.
    :param done: when it was changed, by the true clock.
    :param hidden: it came past what dates the row, after an edit that was dated. No job can tell it from that one.
    """

    at: datetime
    done: datetime
    hidden: bool = False


class OfficeEdit(NamedTuple):
    """What gave a field of the real CRM its value, where jobs see a copy.

    :param by_people: otherwise the courier brought it.
    :param at: the row's time then.
    """

    by_people: bool
    at: datetime


_OFFICE = """
select writer, (after ->> 'updated_at')::timestamptz, after -> %(column)s from simulation.office_written
where table_name = %(table)s and after is not null and after @> %(key)s::jsonb
  and (before -> %(column)s) is distinct from (after -> %(column)s) order by n desc
"""
_TOUCHED = """
select max((after ->> 'updated_at')::timestamptz) from simulation.office_written
where table_name = %(table)s and after is not null and after @> %(key)s::jsonb and writer <> 'courier'
"""


class Newest:
    """Remembers what people changed on either side since both said the same.

    A change counts as the later one where it is so by the field's time and by its record's: Enerflo dates
    installs, and the CRM its rows. A side that says again what both once agreed on has not changed since: jobs
    look now and then, and what was changed and changed back between two looks is no edit.

    :param stands: returns what Enerflo has of a record in the CRM's columns, None where there is none.
    :param stored: returns what the mirror has of it.
    :param planned: returns whether a plan was made between two moments.
    :param office: reads what became of the real CRM, where jobs see a copy: the courier's times are nobody's edits.
    """

    def __init__(
        self,
        shape: Shape,
        watch: Watch,
        clock: Clock,
        stands: Callable[[str, Record], Row | None],
        stored: Callable[[str, Record], Row | None],
        planned: Callable[[datetime, datetime], bool],
        office: psycopg.Connection[Any] | None = None,
    ) -> None:
        self._office = office
        self._shape = shape
        self._watch = watch
        self._clock = clock
        self._stands = stands
        self._stored = stored
        self._planned = planned
        self._theirs: dict[tuple[str, Record, str], _Edit] = {}
        self._ours: dict[tuple[str, Record, str], _Edit] = {}
        # What people on both sides came to say, and since when.
        self._alike: dict[tuple[str, Record, str], tuple[datetime, Row]] = {}
        # Each value that people at Enerflo gave a field since both sides agreed, with the edit that made it.
        self._given: dict[tuple[str, Record, str], dict[Any, _Edit]] = {}
        self._agreed: dict[tuple[str, Record, str], set[Any]] = {}
        self._install_at: dict[int, datetime] = {}
        self._row_at: dict[tuple[str, Record], datetime] = {}
        self._values: dict[tuple[str, Record], Row] = {}
        self._rows: dict[tuple[str, Record], Row] = {}
        self._moved: set[tuple[str, Record]] = set()

    def changed(self, change: Change) -> None:
        """Take note of a change at Enerflo."""
        if change.install_id is None:
            return
        by_company = change.origin is Origin.COMPANY
        if by_company:
            self._install_at[change.install_id] = change.at
        for table, record in self._records(change):
            now = self._stands(table, record)
            before = self._values.get((table, record))
            if now is None:
                self._values.pop((table, record), None)
                continue
            self._look(table, record, change.at)
            self._values[table, record] = now
            for column in _COLUMNS[table]:
                if by_company and before is not None and before[column] != now[column]:
                    self._edited(table, record, column, _Edit(change.at, self._clock.now()))
                self._agree(table, record, column, change.at, by_job=not by_company)

    def _edited(self, table: str, record: Record, column: str, edit: _Edit) -> None:
        """Take note of an edit at Enerflo.

        If it brings back the value that the mirror still has, no job saw the value between: for a job the
        field has not changed since it first got that value.
        """
        place, plain = (table, record, column), self._shape.plain
        said = plain(table, column, self._values[table, record][column])
        known = self._stored(table, record)
        given = self._given.setdefault(place, {})
        if known is None or plain(table, column, known[column]) != said:
            given[said] = edit
        if said in given:
            self._theirs[place] = given[said]
        else:
            self._theirs.pop(place, None)

    def _records(self, change: Change) -> Iterator[tuple[str, Record]]:
        yield "installs", (change.install_id,)
        if change.milestone_id is not None:
            yield "milestones", (change.install_id, change.milestone_id)

    def written(self, written: Written) -> None:
        """Take note of a row of the CRM, and look at what a job overwrote in it."""
        table = written.table
        if table not in _COLUMNS:
            return
        row = written.after or written.before
        assert row is not None
        record = self._shape.join_of(table, row)
        if written.after is None or written.before is None:
            self._begin_anew(table, record, written.after)
            for column in _COLUMNS[table] if written.after is not None else ():
                edit = self._office_edit(table, written.after, column)
                if not (written.by_people if edit is None else edit.by_people):
                    self._add_agreed(table, record, column, written.after)
            return
        if self._shape.join_of(table, written.before) != record:
            self._begin_anew(table, record, None)
            self._begin_anew(table, self._shape.join_of(table, written.before), None)
            self._moved.update(((table, record), (table, self._shape.join_of(table, written.before))))
            return
        at = datetime.fromisoformat(row["updated_at"])
        is_dated = row["updated_at"] != written.before["updated_at"]
        if not is_dated:
            # It tells nothing: nobody may put an older change over this one by it.
            at = self._clock.now()
        if written.by_people:
            self._row_at[table, record] = self._touched(table, row) or at
        self._look(table, record, at)
        self._rows[table, record] = row
        for column in _COLUMNS[table]:
            by_people = written.by_people
            if written.before[column] != row[column]:
                edit = self._office_edit(table, row, column)
                by_people = by_people if edit is None else edit.by_people
                if edit is not None and not edit.by_people:
                    self._add_agreed(table, record, column, row)
                elif written.by_people:
                    hidden = not is_dated and (table, record, column) in self._ours
                    edited_at = at if edit is None else edit.at
                    self._ours[table, record, column] = _Edit(edited_at, self._clock.now(), hidden)
                else:
                    if not self._is_back(table, record, column, written.before):
                        self._overwritten(table, record, column)
                        self._was_only_ours(table, record, column, row)
                    self._add_agreed(table, record, column, row)
            self._agree(table, record, column, at, by_job=not by_people)

    def _office_edit(self, table: str, row: Row, column: str) -> OfficeEdit | None:
        """Return what gave a field the value that the copy shows; None where jobs see the CRM itself."""
        if self._office is None:
            return None
        plain = self._shape.plain
        named = {"table": table, "key": json.dumps(self._shape.key_of(table, row)), "column": column}
        for writer, at, value in self._office.execute(_OFFICE, named).fetchall():
            if plain(table, column, value) == plain(table, column, row[column]):
                return OfficeEdit(writer != "courier", at)
        return None

    def _touched(self, table: str, row: Row) -> datetime | None:
        """Return when people last touched a row of the real CRM."""
        if self._office is None:
            return None
        named = {"table": table, "key": json.dumps(self._shape.key_of(table, row))}
        found = self._office.execute(_TOUCHED, named).fetchone()
        return None if found is None else found[0]

    def taken_back(self, written: Written) -> None:
        """Take note of a row into which an undo wrote: nobody's edit of before counts any more."""
        row = written.after or written.before
        if written.table in _COLUMNS and row is not None:
            self._begin_anew(written.table, self._shape.join_of(written.table, row), written.after)

    def remeant(self, table: str, column: str) -> None:
        """Forget what a column said: what the same words stand for is another thing from now on."""
        for known in (self._ours, self._theirs, self._given, self._agreed, self._alike):
            for place in [one for one in known if (one[0], one[2]) == (table, column)]:
                del known[place]  # type: ignore[attr-defined]

    def _begin_anew(self, table: str, record: Record, row: Row | None) -> None:
        """Forget what was changed before a row came or went.

        Enerflo may have changed since a job looked at what it gives the new row: that edit counts on.
        """
        mine = self._values.get((table, record))
        for column in _COLUMNS[table]:
            self._ours.pop((table, record, column), None)
            self._agreed.pop((table, record, column), None)
            self._alike.pop((table, record, column), None)
            if row is None or mine is None or self._is_same(table, column, mine, row):
                self._theirs.pop((table, record, column), None)
                self._given.pop((table, record, column), None)
        if row is not None:
            self._rows[table, record] = row
            values = self._stands(table, record)
            if values is not None:
                self._values[table, record] = values

    def _agree(self, table: str, record: Record, column: str, at: datetime, *, by_job: bool) -> None:
        """Take note that both sides say the same, which a job knows of its own write and sees by a plan."""
        mine, ours = self._values.get((table, record)), self._rows.get((table, record))
        if mine is None or ours is None or not self._is_same(table, column, mine, ours):
            return
        place = table, record, column
        if not by_job:
            self._alike[place] = at, mine
            return
        self._forget(place, mine)

    def _look(self, table: str, record: Record, until: datetime) -> None:
        """Take for agreed what people on both sides came to say, if a plan looked before they edit it again."""
        for column in _COLUMNS[table]:
            at, mine = self._alike.pop((table, record, column), (until, None))
            if mine is not None and self._planned(at, until):
                self._forget((table, record, column), mine)

    def _forget(self, place: tuple[str, Record, str], row: Row) -> None:
        """Forget the changes of a field on which both sides agree."""
        for known in (self._ours, self._theirs, self._given):
            known.pop(place, None)  # type: ignore[attr-defined]
        self._add_agreed(*place, row)

    def _is_same(self, table: str, column: str, left: Row, right: Row) -> bool:
        plain = self._shape.plain
        return plain(table, column, left[column]) == plain(table, column, right[column])

    def _add_agreed(self, table: str, record: Record, column: str, row: Row) -> None:
        said = self._shape.plain(table, column, row[column])
        self._agreed.setdefault((table, record, column), set()).add(said)

    def _is_back(self, table: str, record: Record, column: str, row: Row) -> bool:
        """Return whether a side says again what both agreed on before."""
        said = self._shape.plain(table, column, row[column])
        return said in self._agreed.get((table, record, column), ())

    def _was_only_ours(self, table: str, record: Record, column: str, row: Row) -> None:
        """Complain where a job puts what both had agreed on over an edit in the CRM alone."""
        place = table, record, column
        if place not in self._ours or place in self._theirs or (table, record) in self._moved:
            return
        if self._ours[place].hidden:
            return
        if self._shape.policy(table, column) in ("newest", "review") and self._is_back(
            table, record, column, row
        ):
            self._watch.breaks(
                f"crm.{table} {record}: {column} was edited, at Enerflo by nobody since both agreed, and was overwritten"
            )

    def _times(self, table: str, record: Record, column: str) -> tuple[list[datetime], list[datetime]] | None:
        """Return when Enerflo's and the CRM's side changed, by field and by record; None where not both did."""
        place = table, record, column
        theirs, ours = self._theirs.get(place), self._ours.get(place)
        if theirs is None or ours is None or ours.hidden or (table, record) in self._moved:
            return None
        if self._shape.policy(table, column) != "newest":
            return None
        return (
            [theirs.at, self._install_at[record[0]]],
            [ours.at, self._row_at[table, record]],
        )

    def _overwritten(self, table: str, record: Record, column: str) -> None:
        times = self._times(table, record, column)
        if times is not None and min(times[1]) > max(times[0]) + _SLACK:
            self._watch.breaks(
                f"crm.{table} {record}: {column} was changed later than at Enerflo, and was overwritten"
            )

    def arrived(self, write: Arrival) -> None:
        """Complain where a write to Enerflo puts an older change over a newer one."""
        if write.table not in _COLUMNS or write.record is None:
            return
        for column in write.values:
            self._was_changed(write, write.record, column)
            times = self._times(write.table, write.record, column)
            theirs = self._values.get((write.table, write.record), {})
            if times is None or self._is_back(write.table, write.record, column, theirs):
                continue
            if write.table == "installs" and write.values[column] == "Completed":
                continue
            # What changes while the job runs is between its look and its write.
            known = self._theirs[write.table, write.record, column].done < write.process.started_at
            if known and min(times[0]) > max(times[1]) + _SLACK:
                self._watch.breaks(
                    f"{write.words}: {column} was changed later at Enerflo, and was overwritten"
                )

    def _was_changed(self, write: Arrival, record: Record, column: str) -> None:
        """Complain where a write carries what both had agreed on over a change at Enerflo."""
        place = write.table, record, column
        theirs, row = self._theirs.get(place), self._rows.get((write.table, record))
        if theirs is None or row is None or place in self._ours or (write.table, record) in self._moved:
            return
        if self._shape.policy(write.table, column) not in ("newest", "review"):
            return
        if write.table == "installs" and write.values[column] == "Completed":
            return
        if self._is_back(write.table, record, column, self._values.get((write.table, record), row)):
            return
        said = self._shape.plain(write.table, column, row[column])
        if said in self._agreed.get(place, ()) and theirs.done < write.process.started_at:
            self._watch.breaks(
                f"{write.words}: {column} was changed at Enerflo, and in the CRM by nobody since both agreed"
            )
