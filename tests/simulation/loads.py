"""Tables of the CRM that are loaded anew from a source that does not get what our jobs write."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from tests.simulation.desk import Desk
from tests.simulation.shapes import DATES, Shape
from tests.simulation.values import Row
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

Field = tuple[str, tuple[Any, ...], str]
_COLUMNS = {"installs": ("status",), "milestones": DATES}
# Of fewer rows that are dated at once nobody can tell whether people wrote them: the engine asks from ten on, and
# some of these rows may be edited, deleted, or out of ``where`` before it looks.
_MANY = 20


class _Kept(NamedTuple):
    """A value of a row in the source: our job wrote another one over it in the CRM."""

    key: Row
    value: Any


class Loads:
    """Loads a table now and then by seed, and looks after what the values that come back are taken for.

    :param watch: is told of what is broken.
    """

    def __init__(self, desk: Desk, shape: Shape, watch: Watch, seed: int, rate: float) -> None:
        self._desk = desk
        self._shape = shape
        self._watch = watch
        self._rate = rate
        self._rng = random.Random(f"{seed}/loads")
        self._replaced: dict[Field, _Kept] = {}
        self._put_back: dict[Field, Any] = {}
        self._loading = False
        self._dated = 0

    def now_and_then(self) -> None:
        """Load a table, or leave both as they are."""
        if self._rng.random() < 0.2 * self._rate:
            table = self._rng.choice(("installs", "milestones", "milestones"))
            self._desk.at_once(lambda: self._load(table))

    def _load(self, table: str) -> None:
        self._watch.look()
        self._loading = True
        try:
            self._bring(table)
        finally:
            self._watch.look()
            self._loading = False

    def _bring(self, table: str) -> None:
        with self._desk.together():
            ((self._dated,),) = self._desk.run(f"select count(*) from crm.{table}")
            for (of_table, _, column), (key, value) in sorted(self._replaced.items(), key=repr):
                if of_table == table:
                    self._desk.run(
                        f"update crm.{table} t set {column} = r.{column}"
                        f" from jsonb_populate_record(null::crm.{table}, %(row)s::jsonb) r"
                        " where to_jsonb(t) @> %(key)s::jsonb",
                        row=json.dumps({column: value}),
                        key=json.dumps(key),
                    )
            self._desk.run(f"update crm.{table} set updated_at = %(now)s")

    def written(self, written: Written) -> None:
        """Take note of what our jobs wrote over, and of what people and loads wrote since."""
        table, before, after = written.table, written.before, written.after
        for column in _COLUMNS.get(table, ()):
            old, new = self._field(table, before, column), self._field(table, after, column)
            if before is None or after is None or old != new:
                for field in (old, new):
                    self._put_back.pop(field, None)
                    self._replaced.pop(field, None)
            elif before[column] == after[column]:
                continue
            elif written.by_people:
                self._put_back.pop(new, None)
                if self._replaced.pop(new, None) is not None and self._loading and self._dated >= _MANY:
                    self._put_back[new] = after[column]
            else:
                self._put_back.pop(new, None)
                self._replaced.setdefault(new, _Kept(self._shape.key_of(table, after), before[column]))

    def _field(self, table: str, row: Row | None, column: str) -> Field:
        return table, () if row is None else self._shape.join_of(table, row), column

    def arrived(self, write: Arrival) -> None:
        """Complain where a request sets what a load put back, and nobody said since."""
        plain = self._shape.plain
        for column, value in write.values.items():
            field = (write.table, write.record or (), column)
            if field not in self._put_back or self._shape.policy(write.table, column) == "crm":
                continue
            if plain(write.table, column, self._put_back[field]) == plain(write.table, column, value):
                self._watch.breaks(f"{write.words}: {column} is a value that a load put back")
