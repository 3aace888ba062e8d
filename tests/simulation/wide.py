"""Milestones in columns of one row: the people who edit them, and what must hold of them (``layout: wide``)."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from enerflo_sandbox.changes import Change
from enerflo_sandbox.world import UnknownRecordError, World
from enerflo_sync.clock import Clock
from tests.simulation.desk import Desk
from tests.simulation.shapes import Shape
from tests.simulation.values import Row, plain
from tests.simulation.watch import Watch, Written
from tests.simulation.wide_columns import WIDE_COLUMNS, WIDE_ZONE, WideColumn
from tests.simulation.writes import Arrival, WritesApi

_LEFT = """
select key, case when left(cause, 7) <> 'missing' or field is not null then field end from told.plan_undecided
where plan_hash = '{0}' and table_name = 'permits'
union select key, field from told.plan_changes
where plan_hash = '{0}' and table_name = 'permits' and state in ('parked', 'refused')
"""
# What an undo has written last, and what the undone plan had left there, which the other side says.
_TAKEN_BACK = """
select distinct on (u.key, u.field) u.key, u.field, p.kind, u.before, u.after
from told.plan_changes u join sync.plans p using (account, plan_hash)
where u.table_name = 'permits' and u.state = 'applied'
order by u.key, u.field, p.created_at desc
"""
_LEDGER = """
select key, field, old_value, new_value from told.ledger
where table_name = 'permits' and decision = 'applied' and direction = 'to_crm'
"""
# How the vendor spelled what it was sent.
_SPELLED = """
select key, field, new_value, kept_value from told.ledger
where table_name = 'permits' and decision = 'applied' and direction = 'to_enerflo' and kept_value is not null
"""
Cell = tuple[int, str]


@dataclass(frozen=True)
class _Overwritten:
    """What a job wrote over another value."""

    key: str
    column: str
    before: Any
    after: Any


class Wide:
    """Edits the wide columns, and looks after what becomes of them.

    :param world: the company, whose milestones the columns name by title or id.
    """

    def __init__(
        self, desk: Desk, shape: Shape, clock: Clock, watch: Watch, world: World, api: WritesApi, seed: int
    ) -> None:
        self._desk = desk
        self._shape = shape
        self._clock = clock
        self._watch = watch
        self._world = world
        self._api = api
        self._rng = random.Random(f"{seed}/wide")
        # What each column's milestone had at Enerflo, what the column said, and what a row of its own said.
        self._had: dict[Cell, set[Any]] = defaultdict(set)
        self._said: dict[Cell, set[Any]] = defaultdict(set)
        self._long: dict[tuple[int, int, str], set[Any]] = defaultdict(set)
        self._overwritten: list[_Overwritten] = []
        for row in world.truth.installs():
            self._note(row.install_id)

    # -- what people do -------------------------------------------------------------------------------------

    def work(self, rate: float) -> None:
        """Let people make rows, edit columns, and now and then delete a row."""
        for _ in range(int(self._rng.expovariate(1 / (3 * rate)) + 0.5)):
            self._desk.edit(self._edit)

    def _edit(self) -> None:
        table, rng = self._shape.wide_table, self._rng
        if table == "permits":
            roll = rng.random()
            if roll < 0.4:
                self._desk.run(
                    "insert into crm.permits (enerflo_install_id, updated_at)"
                    " select distinct enerflo_install_id::bigint, %(now)s::timestamptz from crm.installs i"
                    " where not exists (select from crm.permits p"
                    " where p.enerflo_install_id = i.enerflo_install_id::bigint)"
                )
            elif roll < 0.43:
                row = self._desk.some(table, "enerflo_install_id")
                if row is not None:
                    self._desk.run("delete from crm.permits where enerflo_install_id = %(id)s", id=row[0])
                return
        row = self._desk.some(table, "enerflo_install_id")
        if row is not None:
            column = rng.choice([*WIDE_COLUMNS])
            moment = self._clock.now() + timedelta(minutes=rng.randrange(-9000, 9000))
            self._desk.run(
                f"update crm.{table} set {column} = %(value)s, updated_at = %(now)s"
                " where enerflo_install_id = %(id)s",
                value=None if rng.random() < 0.1 else moment,
                id=row[0],
            )

    # -- what must hold while the day runs --------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """Take note of what Enerflo has of an install's milestones."""
        if change.install_id is not None:
            self._note(change.install_id)

    def _note(self, install_id: int) -> None:
        for column, declared in WIDE_COLUMNS.items():
            for row in self._named(install_id, declared):
                self._had[install_id, column].add(said(column, row[declared.enerflo]))

    def _named(self, install_id: int, column: WideColumn) -> list[Row]:
        """Return the milestones of an install that a column names."""
        try:
            state = self._world.installs.get(self._world.number_of(install_id))
        except UnknownRecordError:
            return []
        rows = [row._asdict() for row in self._world.truth.milestone_rows(state)]
        if isinstance(column.milestone, int):
            return [row for row in rows if row["milestone_id"] == column.milestone]
        wanted = column.milestone.strip().lower()
        found = [row for row in rows if row["title"].strip().lower() == wanted]
        return found if len(found) == 1 else []

    def written(self, written: Written) -> None:
        """Look at a row of the CRM that was written."""
        row = written.after or written.before or {}
        if written.table == "milestones" and written.after is not None:
            install, milestone = self._shape.join_of("milestones", row)
            for name in ("started_at", "due_at", "completed_at"):
                self._long[install, milestone, name].add(self._shape.plain("milestones", name, row[name]))
        if written.table != self._shape.wide_table:
            return
        install = int(row["enerflo_install_id"])
        if written.table == "permits" and not written.by_people and written.op != "update":
            self._watch.breaks(f"a job made or deleted a row of a wide table: {written.op} {install}")
        for column in WIDE_COLUMNS:
            now = said(column, written.after[column]) if written.after is not None else None
            before = said(column, written.before[column]) if written.before is not None else None
            self._said[install, column].add(now)
            if written.by_people or written.op != "update" or now == before:
                continue
            self._note(install)
            self._overwritten.append(_Overwritten(_text(self._key(row)), column, before, now))
            if now not in self._had[install, column]:
                self._watch.breaks(f"the {column} of {install} got {now}, which its milestone never had")

    def says(self, write: Arrival) -> bool:
        """Return whether wide columns, or rows of their own, say or have said all that is sent of a milestone."""
        if write.record is None or write.table != "milestones":
            return False
        install, milestone = write.record
        stands = self._api.stands("milestones", write.record)
        return all(
            self._is_said(install, milestone, name, value) or plain(name, stands[name]) == plain(name, value)
            for name, value in write.values.items()
        )

    def _is_said(self, install: int, milestone: int, name: str, value: Any) -> bool:
        return self._shape.plain("milestones", name, value) in self._long[install, milestone, name] or any(
            said(column, value) in self._said[install, column]
            for column, declared in WIDE_COLUMNS.items()
            if declared.enerflo == name
            and milestone in [row["milestone_id"] for row in self._named(install, declared)]
        )

    def completes(self, write: Arrival) -> bool:
        """Return whether an install is completed because of a wide column."""
        done = [column for column, declared in WIDE_COLUMNS.items() if declared.enerflo == "completed_at"]
        return write.values.get("status") == "Completed" and any(
            self._said[(write.record or (0,))[0], column] - {None} for column in done
        )

    def arrived(self, write: Arrival) -> None:
        """Complain where a milestone gets what neither a column that names it nor its own row ever said."""
        if write.table == "milestones" and write.record is not None and not self.says(write):
            self._watch.breaks(f"{write.words}: nothing in the CRM says {write.values} of this milestone")

    # -- what must hold in the end ------------------------------------------------------------------------------

    def check(self, rows: Callable[[str], list[tuple[Any, ...]]], plan: str) -> list[tuple[str, list[Any]]]:
        """Return what is wrong once the dust has settled, by what it is."""
        left = {(_text(key), field) for key, field in rows(_LEFT.format(plan))}
        spelled = {
            (_text(key), column, said(column, sent)): said(column, kept)
            for key, column, sent, kept in rows(_SPELLED)
            if column in WIDE_COLUMNS
        }

        def as_kept(key: str, column: str, *values: Any) -> set[Any]:
            return {spelled.get((key, column, value), value) for value in values}

        taken_back = {
            (_text(key), column): as_kept(_text(key), column, said(column, before), said(column, after))
            for key, column, kind, before, after in rows(_TAKEN_BACK)
            if kind == "undo" and column in WIDE_COLUMNS
        }
        table = self._shape.wide_table
        living = self._shape.living if table == "installs" else "true"
        found = [row for (row,) in rows(f"select to_jsonb(t) from crm.{table} t where {living}")]
        counts: dict[int, int] = defaultdict(int)
        for row in found:
            counts[int(row["enerflo_install_id"])] += 1
        apart = [
            one
            for row in found
            if counts[int(row["enerflo_install_id"])] == 1
            for one in self._apart(row, left)
            if (key := _text(self._key(row)), one[1]) not in taken_back
            or taken_back[key, one[1]] != as_kept(key, *one[1:])
        ]
        known = [
            _Overwritten(_text(key), column, said(column, old), said(column, new))
            for key, column, old, new in rows(_LEDGER)
            if column in WIDE_COLUMNS
        ]
        lost = [one for one in self._overwritten if one not in known]
        return [
            ("wide columns that say something else than their milestones", apart),
            ("wide columns that a job overwrote and the ledger does not know", lost),
        ]

    def _apart(self, row: Row, left: set[tuple[str, str | None]]) -> Iterator[Any]:
        install, key = int(row["enerflo_install_id"]), _text(self._key(row))
        for column, declared in WIDE_COLUMNS.items():
            for milestone in self._named(install, declared):
                mine, ours = said(column, milestone[declared.enerflo]), said(column, row[column])
                may_be_empty = {"enerflo": [mine], "crm": [ours]}.get(declared.policy, [mine, ours])
                if mine == ours or None in may_be_empty or {(key, column), (key, None)} & left:
                    continue
                place = ("milestones", (install, milestone["milestone_id"]), declared.enerflo)
                # Undoing an undo may put back Enerflo's earlier spelling of what the column says again.
                if any(
                    said(column, sent) == ours and stored == milestone[declared.enerflo]
                    for sent, stored in self._api.spelled[place]
                    if sent is not None
                ):
                    continue
                yield install, column, mine, ours

    def _key(self, row: Row) -> Row:
        return {"enerflo_install_id": row["enerflo_install_id"]}


def said(column: str, value: Any) -> date | datetime | None:
    """Return a column's value as it is compared, however either side writes it."""
    if value is None or WIDE_COLUMNS[column].type != "date":
        return plain("any_at", value)  # type: ignore[no-any-return]
    text = value.isoformat() if isinstance(value, date) else str(value)
    if len(text) == 10:
        return date.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(ZoneInfo(WIDE_ZONE)).date()


def _text(key: Row) -> str:
    return json.dumps(key, sort_keys=True)
