"""Two tables of sync.yaml for one CRM table of installs: people give its rows from one branch to the other."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

from tests.simulation.desk import BY_CONTENT, Desk
from tests.simulation.mapped import WEST

ADD_BRANCH = "alter table crm.installs add branch text not null default 'east'"


def split(tables: dict[str, Any]) -> None:
    """Let each branch of the installs have a table of its own; new rows are of the first."""
    east = tables["installs"]
    chosen = f"({east['where']}) and " if "where" in east else ""
    tables[WEST] = {"of": "installs", **deepcopy(east), "where": f"{chosen}branch = 'west'", "create_in": []}
    east["where"] = f"{chosen}branch = 'east'"


class Branches:
    """People who give the rows of installs from one branch to the other.

    :param outside: the type of rows that ``where`` leaves out.
    :param unmoved: the share of rows that go over with the time of change that they had.
    """

    def __init__(self, desk: Desk, rng: random.Random, outside: str, unmoved: float) -> None:
        self._desk = desk
        self._rng = rng
        self._outside = outside
        self._unmoved = unmoved

    def give_one(self) -> None:
        """Give one row to the other branch."""
        self._desk.edit(self._give_one)

    def let_none_be_empty(self) -> None:
        """Let both branches have rows, or none, where other rows belong to neither.

        A condition that no row meets is then a mistake of ``sync.yaml``.
        """
        self._desk.at_once(self._fill)

    def _give_one(self) -> None:
        row = self._desk.some("installs", "ctid::text")
        if row is not None:
            self._give(row[0])

    def _fill(self) -> None:
        outside = f"select from crm.installs t where to_jsonb(t) ->> 'record_type' = '{self._outside}'"
        if not self._desk.run(f"select exists ({outside})")[0][0]:
            return
        rows = self._desk.run(
            f"select branch, (array_agg(ctid::text order by {BY_CONTENT}))[1], count(*) from crm.installs t"
            f" where to_jsonb(t) ->> 'record_type' is distinct from '{self._outside}' group by 1"
        )
        if len(rows) == 1 and rows[0][2] > 1:
            self._give(rows[0][1])
        elif len(rows) == 1:
            self._desk.run("delete from crm.installs")

    def _give(self, place: str) -> None:
        moves = "" if self._rng.random() < self._unmoved else ", updated_at = %(now)s"
        other = "case branch when 'east' then 'west' else 'east' end"
        self._desk.run(
            f"update crm.installs set branch = {other}{moves} where ctid = %(place)s::tid", place=place
        )
