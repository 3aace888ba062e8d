"""No job writes against the mapping that is in force: whose value stands, what is mapped, what may be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.shapes import Row, Shape
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

Record = tuple[Any, ...]


class Truths:
    """Looks at everything that jobs write, by the mapping of the moment.

    A plan is applied under the mapping under which it was made, and sync.yaml is edited between two jobs.

    :param stands: returns what Enerflo has of a record in the CRM's columns, None where there is none.
    :param fits: returns whether sync.yaml fits the CRM's tables.
    """

    def __init__(
        self,
        shape: Shape,
        watch: Watch,
        stands: Callable[[str, Record], Row | None],
        fits: Callable[[], bool],
    ) -> None:
        self._shape = shape
        self._watch = watch
        self._stands = stands
        self._fits = fits

    def written(self, written: Written) -> None:
        """Complain where a job writes a column that is not mapped, or the CRM's own value stands."""
        table, before, after = written.table, written.before, written.after
        if not written.by_people:
            self._may_write("to_crm", f"crm.{table}: a job made an {written.op}")
            if table in self._shape.yaml.says.rerouted:
                self._watch.breaks(f"crm.{table}: a job made an {written.op}, though changes are handed over")
        if written.by_people or written.op != "update" or before is None or after is None:
            return
        if table not in self._shape.tables:
            return
        for column in self._shape.tables[table].fields:
            said, says = (self._shape.plain(table, column, row[column]) for row in (before, after))
            if said == says or column in self._shape.tables[table].joins:
                continue
            what = f"crm.{table} {self._shape.key_of(table, after)}: {column} was {said}, and a job wrote {says}"
            policy = self._shape.policy(table, column)
            if not policy:
                self._watch.breaks(f"{what}, though it is not mapped")
            elif policy == "crm" and said is not None:
                self._watch.breaks(f"{what}, though the CRM's value stands")

    def arrived(self, write: Arrival) -> None:
        """Complain where a request sets a column that is not mapped, or of which Enerflo's own value stands."""
        self._may_write("to_enerflo", write.words)
        if write.table not in self._shape.tables or write.table == "notes":
            return
        stands = (None if write.record is None else self._stands(write.table, write.record)) or {}
        for column, value in write.values.items():
            if column not in self._shape.tables[write.table].fields:
                continue
            policy = self._shape.policy(write.table, column)
            plain = self._shape.plain
            if plain(write.table, column, value) == plain(write.table, column, stands.get(column)):
                continue
            if not policy:
                self._watch.breaks(f"{write.words}: {column} is set, though it is not mapped")
            elif policy == "enerflo" and stands.get(column) is not None and value != "Completed":
                self._watch.breaks(f"{write.words}: {column} is set, though Enerflo's value stands")

    def _may_write(self, direction: str, what: str) -> None:
        """Complain where nothing may be written: by the mode, or since sync.yaml and the tables differ."""
        mode = self._shape.yaml.says.mode
        if mode not in ("both", {"to_crm": "crm", "to_enerflo": "enerflo"}[direction]):
            self._watch.breaks(f"{what}, in mode {mode}")
        if not self._fits():
            self._watch.breaks(f"{what}, though sync.yaml does not fit the CRM's tables")
        if self._shape.yaml.says.account != "default":
            self._watch.breaks(f"{what}, for an account under another name")
