"""A copy of the CRM that is loaded again: many of its rows go at once, and come back some time later."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from enerflo_sync.clock import Clock
from tests.simulation.desk import Desk
from tests.simulation.shapes import Shape
from tests.simulation.values import Row, whole
from tests.simulation.watch import Watch

# Rows that go together by tens, and are more than a fifth of the table, are in doubt for an hour.
_FEWEST, _SHARE, _HOUR = 10, 0.2, timedelta(hours=1)
_MINUTES = (10, 25, 50, 90, 150)
_PLANNED = """
select c.key, c.enerflo_key from told.plan_changes c join sync.plans p using (account, plan_hash)
where (p.state = 'open' or p.plan_hash = %(plan)s) and c.table_name = %(table)s and c.direction = 'to_crm'
  and c.op in ('insert', 'delete') and c.state = 'planned'
"""
_ASKED = "select key from told.plan_undecided where plan_hash = %(plan)s and table_name = %(table)s"


@dataclass(eq=False)
class Gone:
    """The rows of a table that went at once.

    :param rows: those that have not come back, as they were.
    :param steps: when the next part of them comes back; all that is left with the last.
    :param believed: how many rows the table had when a plan last looked at it whole; None where none did.
    """

    table: str
    since: datetime
    rows: list[Row]
    steps: list[datetime]
    believed: int | None


class Resyncs:
    """Loads tables of the copy again by seed, and looks after what plans conclude meanwhile.

    A table's rows are marked as deleted where the CRM marks its rows, and are away altogether where not.

    :param watch: is told of what is broken.
    :ivar gone: the rows that are away just now.
    """

    def __init__(self, desk: Desk, shape: Shape, clock: Clock, watch: Watch, seed: int, rate: float) -> None:
        self.gone: list[Gone] = []
        self._desk = desk
        self._shape = shape
        self._clock = clock
        self._watch = watch
        self._rate = rate
        self._rng = random.Random(f"{seed}/re-syncs")
        self._began = 0
        # By the account's name: a plan under another name tells this one nothing of how many rows there were.
        self._seen: dict[tuple[str, str], int] = {}

    # -- what happens ---------------------------------------------------------------------------------------

    def now_and_then(self) -> None:
        """Let rows come back whose time has come, and now and then let rows of a table go, or of all."""
        for one in list(self.gone):
            if self._clock.now() >= one.steps[0]:
                self._come_back(one)
        if self._rng.random() >= 0.3 * self._rate:
            return
        tables = [*self._shape.tables]
        if self._rng.random() < 0.6:
            # Of these alone a small company has many rows.
            tables = [self._rng.choice(("milestones", "milestones", *tables))]
        share = self._rng.choice((1.0, 0.8, 0.5))
        minutes = self._rng.choice(_MINUTES)
        parts = self._rng.choice((1, 1, 2, 4))
        for table in tables:
            if all(one.table != table for one in self.gone):
                self._desk.at_once(lambda name=table: self._go(name, share, minutes, parts))

    def end(self, *, everything: bool) -> None:
        """Let everything come back, or in some seeds leave it as it is for good.

        :param everything: nothing is left: a copy that never follows its CRM again lets no round be the last.
        """
        for one in list(self.gone):
            if self._rng.random() < 0.7 or everything:
                one.steps = one.steps[-1:]
                self._come_back(one)

    def _go(self, table: str, share: float, minutes: float, parts: int) -> None:
        rows = [row for row in self._rows(table) if self._rng.random() < share]
        if not rows:
            return
        now = self._clock.now()
        which = "copy_row = any(%(rows)s)"
        named = {"rows": [row["copy_row"] for row in rows]}
        if self._shape.marks:
            self._desk.run(f"update crm.{table} t set is_deleted = true where {which}", **named)
        else:
            self._desk.run(f"delete from crm.{table} t where {which}", **named)
        self._began += 1
        steps = [now + timedelta(minutes=minutes * (n + 1) / parts) for n in range(parts)]
        self.gone.append(Gone(table, now, rows, steps, self._seen.pop((self._account, table), None)))

    def _come_back(self, one: Gone) -> None:
        self._desk.at_once(lambda: self._bring(one))

    def _bring(self, one: Gone) -> None:
        last = len(one.steps) == 1
        some = one.rows if last else [row for row in one.rows if self._rng.random() < 1 / len(one.steps)]
        named: dict[str, Any] = {"rows": [row["copy_row"] for row in some]}
        if self._shape.marks:
            self._desk.run(
                f"update crm.{one.table} set is_deleted = false where is_deleted and copy_row = any(%(rows)s)",
                **named,
            )
        else:
            self._put_back(one.table, some)
        one.rows = [row for row in one.rows if row not in some]
        one.steps.pop(0)
        if last:
            self.gone.remove(one)

    def _put_back(self, table: str, rows: list[Row]) -> None:
        """Give the copy the CRM's rows again, in the place of any that were made meanwhile."""
        declared = self._shape.tables[table]
        keys = " and ".join(f"t.{name} = r.{name}" for name in declared.key)
        links = " and ".join(f"t.{name} = r.{name}" for name in declared.joins)
        rows_of = f"jsonb_populate_recordset(null::crm.{table}, %(rows)s::jsonb) r"
        named = {"rows": json.dumps(rows)}
        with self._desk.together():
            self._desk.run(f"delete from crm.{table} t using {rows_of} where {keys} or {links}", **named)
            self._desk.run(f"insert into crm.{table} select r.* from {rows_of}", **named)

    @property
    def _account(self) -> str:
        return self._shape.yaml.says.account

    def _rows(self, table: str) -> list[Row]:
        query = f"select to_jsonb(t) from crm.{table} t where {self._shape.living} order by copy_row"
        return [row for (row,) in self._desk.run(query)]

    # -- what must hold -------------------------------------------------------------------------------------

    @contextmanager
    def planning(self) -> Iterator[Callable[[str], None]]:
        """Let a plan be made; what is yielded is told its hash, where it was."""
        began, active = self._began, list(self.gone)
        before = {table: len(self._rows(table)) for table in self._shape.tables}

        def was_made(plan_hash: str) -> None:
            after = {table: len(self._rows(table)) for table in self._shape.tables}
            for one in self.gone:
                if one in active and self._is_in_doubt(one, max(before[one.table], after[one.table])):
                    self._look(one, plan_hash)
            if self._began == began:
                quiet = after.keys() - {one.table for one in active}
                for table in sorted(quiet):
                    self._seen[self._account, table] = min(before[table], after[table])

        yield was_made

    def _is_in_doubt(self, one: Gone, rows: int) -> bool:
        if one.believed is None or self._clock.now() >= one.since + _HOUR:
            return False
        return one.believed - rows >= _FEWEST and one.believed - rows > _SHARE * one.believed

    def _look(self, one: Gone, plan_hash: str) -> None:
        """Complain where a plan concludes something from rows that went at once."""
        shape, table = self._shape, one.table
        living = {shape.join_of(table, row) for row in self._rows(table)}
        away = {record: row for row in one.rows if (record := shape.join_of(table, row)) not in living}
        keys = {_text(shape.key_of(table, row)) for row in away.values()}
        keys |= {_text(shape.link_of(table, record)) for record in away if None not in record}
        named = {"plan": plan_hash, "table": table}
        for key, record in self._desk.run(_PLANNED, **named):
            if _text(key) in keys or tuple(whole(value) for value in (record or {}).values()) in away:
                self._watch.breaks(f"crm.{table} {key} went with many others at once, and a plan writes it")
        for (key,) in self._desk.run(_ASKED, **named):
            if _text(key) in keys:
                self._watch.breaks(
                    f"crm.{table} {key} went with many others at once, and a plan asks about it"
                )


def _text(key: Row) -> str:
    return json.dumps(key, sort_keys=True)
