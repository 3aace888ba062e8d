"""Rows of the CRM whose key is spelled in another way, and rows that stand outside ``where`` for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from enerflo_sandbox.world import World
from enerflo_sync.reconcile.render.verdict import is_all_clear
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.simulation.desk import Desk
from tests.simulation.shapes import OTHER_TYPE, Shape
from tests.simulation.values import number_in
from tests.simulation.watch import Watch, Written

_TABLES = ("installs", "milestones")
_SPELLINGS = ("0{}", "00{}", " {}", "{} ")
_MORE_SPELLINGS = ("{}.0", "INS-{}", "{} (old)")
_NUMBER = "[1-9][0-9]*"
_NORMAL = f"substring({{}}::text from '{_NUMBER}')"
# Other rows of one record that stood there before the transaction that made a row, and still do as they did then.
_OTHERS = """
select to_jsonb(t) - 'ctid' from {seen}.{table} t where {same} and not (to_jsonb(t) @> %(key)s::jsonb)
and exists (select from simulation.crm_written w where w.table_name = %(table)s and w.n < %(n)s and w.tx < %(tx)s and w.after = to_jsonb(t) - 'ctid')
"""


class Spelled:
    """Spells keys and moves rows in and out of ``where`` by seed, and looks after what jobs make of it.

    :ivar report: what the last reconciliation found.
    """

    def __init__(
        self,
        desk: Desk,
        connection: psycopg.Connection[Any],
        shape: Shape,
        watch: Watch,
        world: World,
        seed: int,
    ) -> None:
        self.report: ReconciliationReport | None = None
        self._desk = desk
        self._connection = connection
        self._shape = shape
        self._watch = watch
        self._world = world
        self._rng = random.Random(f"{seed}/spelled")
        self._made = 0

    # -- what people do -------------------------------------------------------------------------------------

    def work(self, rate: float) -> None:
        """Let people make, spell and move rows."""
        for _ in range(int(self._rng.expovariate(1 / (1.5 * rate)) + 0.5)):
            if self._shape.spelled and (not self._shape.chosen or self._rng.random() < 0.6):
                self._desk.edit(self._make if self._rng.random() < 0.4 else self._spell)
            elif self._shape.chosen:
                self._desk.edit(self._move)

    def _spelling(self, install_id: Any) -> str:
        more = _MORE_SPELLINGS if self._shape.spelled == "near" else ()
        return self._rng.choice((*_SPELLINGS, *more)).format(install_id)

    def _make(self) -> None:
        """Let the CRM have its own row of an install that it lacks."""
        there = {
            row[0]
            for row in self._desk.run(
                f"select {_NORMAL.format('enerflo_install_id')} from crm.installs where enerflo_install_id is not null"
            )
        }
        lacking = [row.install_id for row in self._world.truth.installs() if str(row.install_id) not in there]
        if not lacking:
            return
        self._made += 1
        own = {"job_id": f"Jmade{self._made}"} if self._shape.own_keys else {}
        names = ", ".join(("enerflo_install_id", *own, "updated_at"))
        values = ", ".join(("%(link)s", *(f"%({name})s" for name in own), "%(now)s"))
        link = self._spelling(self._rng.choice(lacking))
        self._desk.run(f"insert into crm.installs ({names}) values ({values})", link=link, **own)

    def _spell(self) -> None:
        """Spell the key of a row in another way, or as it should be."""
        table = self._rng.choice(_TABLES)
        row = self._desk.some(table, "enerflo_install_id, ctid::text", "enerflo_install_id is not null")
        if row is None:
            return
        plain = str(number_in(row[0]))
        back = str(row[0]) != plain and self._rng.random() < 0.7
        self._desk.run(
            f"update crm.{table} set enerflo_install_id = %(link)s, updated_at = %(now)s where ctid = %(place)s::tid",
            link=plain if back else self._spelling(plain),
            place=row[1],
        )

    def _move(self) -> None:
        table = self._rng.choice(_TABLES)
        outside = "<>" if self._rng.random() < 0.6 else "="
        inside = self._desk.run(f"select count(*) from crm.{table} where record_type <> '{OTHER_TYPE}'")
        if outside == "<>" and inside[0][0] < 3:
            # A condition that no row meets is an error of the mapping.
            return
        row = self._desk.some(table, "ctid::text", f"record_type {outside} '{OTHER_TYPE}'")
        if row is not None:
            self._desk.run(
                f"update crm.{table} set record_type = %(type)s, updated_at = %(now)s where ctid = %(place)s::tid",
                type=OTHER_TYPE if outside == "<>" else "Solar",
                place=row[0],
            )

    # -- what must hold -------------------------------------------------------------------------------------

    def written(self, written: Written) -> None:
        """Complain where a job makes a row of a record that the CRM has already, spelled, marked or outside."""
        if written.by_people or written.op != "insert" or written.after is None:
            return
        table, row = written.table, written.after
        joins = self._shape.tables[table].joins
        if any(row[name] is None for name in joins):
            return
        same = " and ".join(
            f"{_NORMAL.format(f't.{name}')} = {_NORMAL.format(f'%({name})s')}" for name in joins
        )
        named = {
            "table": table,
            "n": written.n,
            "tx": written.tx,
            "key": psycopg.types.json.Jsonb(self._shape.key_of(table, row)),
        }
        query = _OTHERS.format(seen=self._shape.seen, table=table, same=same)
        for (other,) in self._connection.execute(
            query.encode(), {**named, **{name: str(row[name]) for name in joins}}
        ).fetchall():
            self._watch.breaks(
                f"a job made a second row in crm.{table}: {self._shape.key_of(table, row)} beside"
                f" {self._shape.key_of(table, other)}"
            )

    @contextmanager
    def planning(self) -> Iterator[Callable[[str], None]]:
        """Let a plan be made; what is yielded is told its hash, where it was."""
        self.report = None
        before = self._named_otherwise()

        def was_made(_plan_hash: str) -> None:
            report = self.report
            both = before & self._named_otherwise()
            if report is not None and both and is_all_clear(report):
                self._watch.breaks(f"a reconciliation is all clear, and the CRM names {min(both)} otherwise")

        yield was_made

    def _named_otherwise(self) -> set[int]:
        """Return the installs of the mirror that rows of the CRM name in another spelling alone."""
        if self._shape.spelled != "near":
            return set()
        rows = self._connection.execute(
            f"select enerflo_install_id from {self._shape.seen}.installs t where {self._shape.living}".encode()
        ).fetchall()
        said = {str(one) for (one,) in rows if one is not None}
        mirror = self._connection.execute(
            "select install_id from enerflo.installs where deleted_at is null"
        ).fetchall()
        spelled = {str(number_in(one)) for one in said if not _is_plain(one)}
        return {number for (number,) in mirror if str(number) in spelled and str(number) not in said}


def _is_plain(text: str) -> bool:
    return text.isdigit() and not text.startswith("0")
