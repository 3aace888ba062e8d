"""What a person takes back: an undo restores what nobody changed since, and no job makes it again by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from enerflo_sandbox.changes import Change, Origin
from enerflo_sync.clock import Clock
from tests.simulation.refusals import Refusals
from tests.simulation.shapes import Shape
from tests.simulation.values import Row, whole
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

Record = tuple[Any, ...]

# The first plans make whole tables, of which an undo leaves nothing.
_FEW = 12
_MAY_BE_UNDONE = """
select plan_hash from sync.plans p where account = %s and state = 'applied' and exists (
  select from sync.plan_changes c where c.account = p.account and c.plan_hash = p.plan_hash and c.state = 'applied'
  having count(*) between 1 and %s)
order by created_at desc, part limit 3
"""
# Of the plan, if it is an undo, and of undos that were approved before and did not come to the CRM yet.
_PLANNED = """
select c.table_name, c.key, c.enerflo_key, c.op, c.field, c.direction, c.before, c.after
from told.plan_changes c join sync.plans p using (account, plan_hash)
where p.kind = 'undo' and (p.plan_hash = %(plan)s or exists (
  select from told.crm_changes h where h.account = p.account and h.plan_hash = p.plan_hash and h.state = 'open'
    and h.ended_at is null and (h.table_name, h.key) = (c.table_name, c.key)))
"""
# The changes that an undo has taken back, as if they were to be made once more: what is restored stands before,
# and what the undone plan had written comes after. One that no tool had taken over yet is superseded by then.
_TAKEN_BACK = """
select o.table_name, o.key, o.enerflo_key, o.op, o.field, o.direction,
       case when o.op = 'update' then u.after else o.before end, case when o.op = 'update' then u.before else o.after end,
       o.position, o.plan_hash, u.plan_hash, u.position
from told.plan_changes u join sync.plans p using (account, plan_hash)
join told.plan_changes o on o.account = p.account and o.plan_hash = p.stands_on
  and o.state in ('applied', 'superseded')
  and (o.table_name, o.key, o.direction) = (u.table_name, u.key, u.direction)
  and (o.op = 'update' and u.op = 'update' and o.field = u.field
    or (o.op, u.op) in (('insert', 'delete'), ('delete', 'insert')))
where p.kind = 'undo' and u.state = 'applied' order by u.plan_hash, u.position
"""


class _Restored(NamedTuple):
    """A value that an undo writes back.

    :param before: what the field says when the undo is planned.
    """

    key: Row
    record: Record | None
    column: str
    before: Any
    after: Any


class Undone:
    """Chooses plans that a person takes back, and looks at what the undo writes.

    :ivar at_work: an undo is applied just now. What it writes is neither a person's edit nor what a side says.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        shape: Shape,
        watch: Watch,
        clock: Clock,
        refusals: Refusals,
        stands: Callable[[str, Record], Row | None],
    ) -> None:
        self.at_work = False
        self._connection = connection
        self._shape = shape
        self._watch = watch
        self._clock = clock
        self._refusals = refusals
        self._stands = stands
        self._restored: list[tuple[str, str, _Restored]] = []
        self._seen: set[tuple[str, int]] = set()
        # What both sides said of a field when an undo had brought one of them back.
        self._kept: dict[tuple[str, Record, str], tuple[Any, Any]] = {}
        # What Enerflo said of a record whose new row an undo had taken away.
        self._kept_away: dict[tuple[str, Record], Row | None] = {}
        # When the company last changed something of an install or a customer itself.
        self._touched: dict[int, datetime] = {}

    def choose(self, rng: random.Random, account: str) -> str | None:
        """Return one of the plans that were applied last, mostly one that wrote little; None where there is none."""
        most = _FEW if rng.random() < 0.8 else 10**6
        found = [row[0] for row in self._connection.execute(_MAY_BE_UNDONE, [account, most]).fetchall()]
        return rng.choice(found) if found else None

    @contextmanager
    def applying(self, plan_hash: str) -> Iterator[None]:
        """Let a plan be applied, and look at what it writes if it is an undo."""
        self._watch.look()
        outer = self.at_work, self._restored
        planned = self._connection.execute(_PLANNED, {"plan": plan_hash}).fetchall()
        self.at_work = self._watch.restores = bool(planned)
        self._restored = []
        for table, key, record, op, column, direction, before, after in planned:
            # Whoever approves it takes back a refusal of the same change.
            self._refusals.give_up(table, key, op, column, direction)
            if op == "update":
                ids = None if record is None else tuple(record.values())
                self._restored.append((table, direction, _Restored(key, ids, column, before, after)))
        try:
            yield
        finally:
            self._watch.look()
            self.at_work, self._restored = outer
            self._watch.restores = self.at_work

    def changed(self, change: Change) -> None:
        """Take note of when the company changed something itself."""
        if change.origin is Origin.COMPANY:
            for one in (change.install_id, change.customer_id):
                if one is not None:
                    self._touched[one] = self._clock.now()

    def written(self, written: Written) -> None:
        """Complain where an undo wrote over something else than what the undone plan had left."""
        before, after = written.before, written.after
        if not self.at_work or written.by_people or before is None or after is None:
            return
        table = self._shape.tables.get(written.table)
        for column in table.fields if table is not None else ():
            plain = self._shape.plain
            was, says = (plain(written.table, column, row[column]) for row in (before, after))
            if was == says:
                continue
            planned = [
                one
                for of_table, direction, one in self._restored
                if (of_table, direction, one.column) == (written.table, "to_crm", column)
                and all(str(before.get(name)) == str(value) for name, value in one.key.items())
            ]
            # A field that no undo restores is written by another plan that is on its way.
            if planned and not any(plain(written.table, column, one.before) == was for one in planned):
                self._watch.breaks(
                    f"crm.{written.table} {self._shape.key_of(written.table, after)}: an undo wrote {says} over"
                    f" {was} in {column}, which the undone plan had not left there"
                )

    def arrived(self, write: Arrival) -> None:
        """Complain where an undo sends a value over what the company has changed since."""
        if not self.at_work or write.record is None:
            return
        touched = self._touched.get(write.record[0])
        now = self._stands(write.table, write.record) or {}
        plain = self._shape.plain
        for table, direction, one in self._restored:
            if (table, direction, one.record) != (write.table, "to_enerflo", write.record):
                continue
            if one.column not in write.values or touched is None or touched >= write.process.started_at:
                continue
            was, says, restores = (
                plain(table, one.column, value) for value in (one.before, now.get(one.column), one.after)
            )
            if says not in (was, restores) and plain(table, one.column, write.values[one.column]) == restores:
                self._watch.breaks(
                    f"{write.words}: an undo wrote over {one.column}, which Enerflo changed since"
                )

    def look(self) -> None:
        """Hold what was taken back since the last look for refused: no plan makes it again by itself."""
        found = self._connection.execute(_TAKEN_BACK).fetchall()
        # A wide table has no rows of its own.
        own = [row for row in found if row[0] in self._shape.tables]
        fresh = [row for row in own if (row[-2], row[-1]) not in self._seen]
        self._seen |= {(row[-2], row[-1]) for row in fresh}
        self._refusals.take_back([row[:-2] for row in fresh])
        for table, key, enerflo_key, op, column, *_ in fresh:
            if op == "insert" and enerflo_key is not None:
                away = tuple(map(whole, enerflo_key.values()))
                self._kept_away[table, away] = self._stands(table, away)
            row = self._refusals.row(table, key) if op == "update" else None
            if row is not None:
                record = self._shape.join_of(table, row)
                theirs = self._stands(table, record) or {}
                self._kept[table, record, column] = (theirs.get(column), row[column])

    def keeps_away(self, table: str, record: Record) -> bool:
        """Return whether an undo took the record's new row away, and Enerflo says what it said then."""
        then, now = self._kept_away.get((table, record)), self._stands(table, record)
        plain = self._shape.plain
        return None not in (then, now) and all(
            plain(table, column, then[column]) == plain(table, column, now[column])
            for column in self._shape.mapped(table)
            if then is not None and now is not None
        )

    def keeps(self, table: str, record: Record, column: str, row: Row) -> bool:
        """Return whether both sides of a field say what they said when an undo had brought one of them back."""
        kept = self._kept.get((table, record, column))
        now = ((self._stands(table, record) or {}).get(column), row[column])
        plain = self._shape.plain
        return kept is not None and all(
            plain(table, column, one) == plain(table, column, other)
            for one, other in zip(kept, now, strict=True)
        )
