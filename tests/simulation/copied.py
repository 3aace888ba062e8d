"""The CRM as something that the warehouse has a copy of: who brings the copy, and who carries changes to the CRM.

People work in the schema ``office``; the jobs see ``crm``, which follows some time later. What a job hands over
(``sync.crm_changes``) is carried to ``office`` by a courier that is slow, and by seed loses changes, brings them
twice, or in another order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from enerflo_sync.clock import Clock
from tests.simulation.desk import Desk
from tests.simulation.shapes import AT_SALESFORCE, Shape
from tests.simulation.values import Row

_OPEN = """
select change_id, account, table_name, op, key, "column", after, plan_hash from told.crm_changes_open
order by made_at, change_id
"""
_IS_OPEN = "select state = 'open', ended_at is null from sync.crm_changes where change_id = %(id)s"
_ACKNOWLEDGE = "update sync.crm_changes_open set acknowledged_at = %(now)s where change_id = any(%(ids)s)"
# Rows by their keys, each side's in one order, so that rows which share a key are compared, too.
_DIFFER = """
select key from (select {key} as key, array_agg(to_jsonb(t)::text order by to_jsonb(t)::text) as rows
                 from office.{table} t group by 1) r
full join (select {key} as key, array_agg(to_jsonb(t)::text order by to_jsonb(t)::text) as rows
           from crm.{table} t group by 1) c using (key)
where r.rows is distinct from c.rows order by 1
"""


@dataclass(eq=False)
class Parcel:
    """Changes that the courier has taken over together: one column, or a whole row.

    :param at: when they are to be brought; None where they are lost.
    """

    table: str
    op: str
    key: Row
    values: dict[str, Any]
    ids: list[str]
    at: datetime | None
    again_at: datetime | None = None
    brought: bool = False


@dataclass
class _Habits:
    """How a courier works, by seed."""

    slow: int
    lost: float
    twice: float
    looks_again: bool
    acknowledges: str
    taken: dict[str, Parcel] = field(default_factory=dict)


class Courier:
    """Brings changes to the real CRM, and the real CRM's rows to its copy.

    :ivar held: tables whose copy is not brought up to date just now.
    :ivar lost: the changes that were lost, or refused by the CRM.
    :ivar too_late: fields that the courier wrote when their change had ended already.
    """

    def __init__(self, desk: Desk, shape: Shape, clock: Clock, seed: int, rate: float) -> None:
        self.held: set[str] = set()
        self.lost: set[str] = set()
        self.too_late: set[tuple[str, str, str]] = set()
        self._desk = desk
        self._shape = shape
        self._clock = clock
        self._rng = rng = random.Random(f"{seed}/courier")
        some = rate if rng.random() < 0.6 else 0.0
        self._habits = _Habits(
            slow=rng.choice((1, 20, 60)),
            lost=0.15 * some * rng.random(),
            twice=0.3 * some * rng.random(),
            looks_again=rng.random() < 0.5,
            acknowledges=rng.choice(("never", "taken", "brought")),
        )
        self._copied_every = rng.choice((1, 10, 40))
        self._copied_at = clock.now()
        self._quiet = False

    def now_and_then(self) -> None:
        """Take over what was handed over, bring what is due, and let the copy follow."""
        self._desk.at_once(self._take_over)
        for parcel in self._due():
            self._desk.at_once(lambda one=parcel: self._bring(one))
        if self._clock.now() >= self._copied_at + timedelta(minutes=self._copied_every):
            self._copied_at = self._clock.now()
            for table in self._shape.tables:
                if self._rng.random() < 0.9:
                    self._desk.at_once(lambda name=table: self.copy(name))

    def end(self) -> None:
        """Lose nothing more, bring everything at once, and let the copy follow."""
        self._quiet = True
        self._take_over()
        for parcel in [one for one in self._habits.taken.values() if one.at is not None]:
            parcel.at, parcel.again_at = (None if parcel.brought else self._clock.now()), None
        for parcel in self._due():
            self._bring(parcel)
        for table in self._shape.tables:
            self.copy(table)

    # -- the courier ----------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        parcels: dict[Any, list[Any]] = {}
        for one in self._desk.run(_OPEN):
            change_id, _, table, op, key, column, _, plan = one
            if self._shape.salesforce and table in AT_SALESFORCE:
                continue
            if change_id not in self._habits.taken and change_id not in self.lost:
                place = (table, op, json.dumps(key), plan, column if op == "update" else None)
                parcels.setdefault(place, []).append(one)
        for (table, op, key, *_), changes in parcels.items():
            self._take(table, op, json.loads(key), changes)

    def _take(self, table: str, op: str, key: Row, changes: list[Any]) -> None:
        rng, habits, now = self._rng, self._habits, self._clock.now()
        ids = [one[0] for one in changes]
        is_lost = not self._quiet and rng.random() < habits.lost
        later = timedelta(minutes=0 if self._quiet else habits.slow * rng.random())
        twice = not self._quiet and rng.random() < habits.twice
        values = {one[5]: one[6] for one in changes if one[5] is not None}
        again = now + later + timedelta(minutes=60 * rng.random())
        parcel = Parcel(
            table, op, key, values, ids, None if is_lost else now + later, again if twice else None
        )
        habits.taken.update(dict.fromkeys(ids, parcel))
        if is_lost:
            self.lost.update(ids)
        if habits.acknowledges == "taken":
            self._acknowledge(ids)

    def _due(self) -> list[Parcel]:
        now = self._clock.now()
        waiting = {id(one): one for one in self._habits.taken.values() if one.at is not None}
        return sorted(
            (one for one in waiting.values() if one.at is not None and one.at <= now),
            key=lambda one: (one.at, one.ids),
        )

    def _bring(self, parcel: Parcel) -> None:
        parcel.at, parcel.again_at = parcel.again_at, None
        found = [self._desk.run(_IS_OPEN, id=one)[0] for one in parcel.ids]
        if self._habits.looks_again and not all(is_open for is_open, _ in found):
            return
        try:
            self._write(parcel)
        except psycopg.IntegrityError:
            # The CRM refuses it.
            self.lost.update(parcel.ids)
            return
        parcel.brought = True
        place = parcel.table, json.dumps(parcel.key, sort_keys=True)
        for column in parcel.values:
            (self.too_late.discard if all(one for _, one in found) else self.too_late.add)((*place, column))
        if self._habits.acknowledges == "brought":
            self._acknowledge(parcel.ids)

    def _acknowledge(self, ids: Iterable[str]) -> None:
        self._desk.run(_ACKNOWLEDGE, ids=list(ids))

    def _write(self, parcel: Parcel) -> None:
        table = parcel.table
        columns = [*parcel.values]
        of_key = " and ".join(f"t.{name}::text = %(key)s::jsonb ->> '{name}'" for name in parcel.key)
        named = {
            "key": json.dumps(parcel.key),
            "values": json.dumps({**parcel.key, **parcel.values}),
            "writer": "courier",
        }
        with self._desk.writing_as("courier"):
            if parcel.op == "delete":
                self._desk.run(f"delete from office.{table} t where {of_key}", **named)
                return
            given = f"jsonb_populate_record(null::office.{table}, %(values)s::jsonb) v"
            sets = ", ".join(f"{name} = v.{name}" for name in columns if name not in parcel.key)
            there = self._desk.run(
                f"update office.{table} t set {sets or 'updated_at = t.updated_at'}, updated_at = %(now)s"
                f" from {given} where {of_key} returning 1"
                if sets
                else f"select 1 from office.{table} t where {of_key}",
                **named,
            )
            if parcel.op == "insert" and not there:
                names = ", ".join(dict.fromkeys((*parcel.key, *columns)))
                self._desk.run(
                    f"insert into office.{table} ({names}, updated_at) select"
                    f" {', '.join(f'v.{name}' for name in dict.fromkeys((*parcel.key, *columns)))}, %(now)s"
                    f" from {given}",
                    **named,
                )

    # -- the copy -------------------------------------------------------------------------------------------

    def copy(self, table: str) -> None:
        """Bring the copy of a table up to date."""
        if table in self.held:
            return
        names = self._shape.tables[table].key
        key = f"jsonb_build_array({', '.join(f't.{name}' for name in names)})"
        keys = [row[0] for row in self._desk.run(_DIFFER.format(table=table, key=key))]
        if not keys:
            return
        which = f"{key} = any(%(keys)s::jsonb[])"
        columns = [
            row[0]
            for row in self._desk.run(
                "select attname from pg_attribute where attrelid = %(table)s::regclass and attnum > 0"
                " and not attisdropped order by attnum",
                table=f"crm.{table}",
            )
        ]
        one_of_key = (
            f"(select count(*) from {{}}.{table} u where"
            f" {' and '.join(f'u.{name} = t.{name}' for name in names)}) = 1"
        )
        named = {"keys": [json.dumps(one) for one in keys]}
        same = " and ".join(f"t.{name} = r.{name}" for name in names)
        with self._desk.together():
            self._desk.run(
                f"update crm.{table} t set ({', '.join(columns)}) = row({', '.join(f'r.{c}' for c in columns)})"
                f" from office.{table} r where {same} and {which} and {one_of_key.format('crm')}"
                f" and {one_of_key.format('office')} and to_jsonb(t) <> to_jsonb(r)",
                **named,
            )
            self._desk.run(
                f"delete from crm.{table} t where {which}"
                f" and not exists (select from office.{table} r where {same} and to_jsonb(t) = to_jsonb(r))",
                **named,
            )
            self._desk.run(
                f"insert into crm.{table} select t.* from office.{table} t where {which}"
                f" and not exists (select from crm.{table} r where {same} and to_jsonb(t) = to_jsonb(r))",
                **named,
            )
