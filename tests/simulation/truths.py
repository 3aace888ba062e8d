"""No job writes against the mapping that is in force: whose value stands, what is mapped, what may be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.simulation.shapes import Shape
from tests.simulation.values import Row
from tests.simulation.watch import Watch, Written
from tests.simulation.wide_columns import WIDE_COLUMNS, in_columns
from tests.simulation.writes import Arrival

Record = tuple[Any, ...]
Side = Callable[[str, Record], Row | None]


class Truths:
    """Looks at everything that jobs write, by the mapping of the moment.

    A plan is applied under the mapping under which it was made, and sync.yaml is edited between two jobs.

    :param sides: return what Enerflo and the mirror have of a record in the CRM's columns, None where there is none.
    :param fits: returns whether sync.yaml fits the CRM's tables.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        shape: Shape,
        watch: Watch,
        sides: tuple[Side, Side],
        fits: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._shape = shape
        self._watch = watch
        self._stands, self._stored = sides
        self._fits = fits
        # Since when words of statuses stand for others, the installs about whose status both sides agreed.
        self._agreed: set[Record] | None = None

    def remeant(self) -> None:
        """Take note that words of statuses stand for others: of none both sides are known to agree."""
        self._agreed = set()

    def look(self) -> None:
        """Take note of the installs on whose status both sides agree as it is mapped now."""
        if self._agreed is None:
            return
        query = f"select to_jsonb(t) from {self._shape.seen}.installs t where {self._shape.living}"
        for (row,) in self._connection.execute(query.encode()).fetchall():
            record = self._shape.join_of("installs", row)
            # An id in another spelling names none.
            named = all(isinstance(one, int) for one in record)
            for side in (self._stands, self._stored) if named else ():
                mine = side("installs", record)
                if mine is not None and self._status(mine) == self._status(row):
                    self._agreed.add(record)

    def _status(self, row: Row) -> Any:
        return self._shape.plain("installs", "status", row["status"])

    def _is_decided(self, table: str, column: str, record: Record, *values: Any) -> bool:
        """Return whether a person has to decide about a status, since its words stand for others."""
        return (
            (table, column) == ("installs", "status")
            and self._agreed is not None
            and record not in self._agreed
            and None not in values
            and self._shape.policy(table, column) == "review"
        )

    def written(self, written: Written) -> None:
        """Complain where a job writes a column that is not mapped, or the CRM's own value stands."""
        table, before, after = written.table, written.before, written.after
        if not written.by_people:
            # The id of a record that was made at Enerflo belongs to that.
            direction = "to_enerflo" if self._is_link(written) else "to_crm"
            self._may_write(direction, f"crm.{table}: a job made an {written.op}")
            if table in self._shape.yaml.says.rerouted and self._is_of_its_mapping(written):
                self._watch.breaks(f"crm.{table}: a job made an {written.op}, though changes are handed over")
        if (
            self._agreed is not None
            and not written.by_people
            and table == "installs"
            and before is None
            and after
        ):
            # A new row says what Enerflo said, in the words of the mapping by which it was planned.
            self._agreed.add(self._shape.join_of(table, after))
        if written.by_people or written.op != "update" or before is None or after is None:
            return
        if table not in self._shape.tables:
            return
        for column in self._shape.tables[table].fields:
            said, says = (self._shape.plain(table, column, row[column]) for row in (before, after))
            if said == says or column in self._shape.tables[table].joins:
                continue
            what = (
                f"crm.{table} {self._shape.key_of(table, after)}: {column} was {said}, and a job wrote {says}"
            )
            policy = self._shape.policy(table, column)
            if not policy:
                self._watch.breaks(f"{what}, though it is not mapped")
            elif policy == "crm" and said is not None:
                self._watch.breaks(f"{what}, though the CRM's value stands")
            elif self._is_decided(table, column, self._shape.join_of(table, after), said):
                self._watch.breaks(f"{what}, though its words stand for others, and a person decides")
            if self._agreed is not None and (table, column) == ("installs", "status"):
                # So does a status that a job wrote.
                self._agreed.add(self._shape.join_of(table, after))

    def _is_of_its_mapping(self, written: Written) -> bool:
        """Return whether more changed in a row than the wide columns in it, which have a mapping of their own."""
        before, after = written.before or {}, written.after or {}
        changed = {column for column in after if before.get(column) != after[column]}
        return not changed or not changed <= WIDE_COLUMNS.keys() | {"updated_at"}

    def _is_link(self, written: Written) -> bool:
        """Return whether a row got the id of its record, and nothing else."""
        table, before, after = written.table, written.before, written.after
        if before is None or after is None or table not in self._shape.tables:
            return False
        changed = {column for column in after if before[column] != after[column]} - {"updated_at"}
        return bool(changed) and changed <= self._shape.tables[table].joins.keys()

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
            by_rows = not self._is_of_a_wide_column(write, stands, column)
            if not policy:
                if by_rows:
                    self._watch.breaks(f"{write.words}: {column} is set, though it is not mapped")
            elif policy == "enerflo" and stands.get(column) is not None and value != "Completed":
                if not by_rows:
                    continue
                self._watch.breaks(f"{write.words}: {column} is set, though Enerflo's value stands")
            elif value != "Completed" and self._is_decided(
                write.table, column, write.record or (), stands.get(column)
            ):
                self._watch.breaks(
                    f"{write.words}: {column} is set, though its words stand for others, and a person decides"
                )

    def _is_of_a_wide_column(self, write: Arrival, stands: Row, column: str) -> bool:
        """Return whether the CRM has the milestone's field in a wide column, too, whose value may be sent."""
        if not self._shape.wide_table or write.table != "milestones" or write.record is None:
            return False
        named = in_columns(write.record[-1], str(stands["title"]), column)
        return any(one.policy != "enerflo" for one in named)

    def _may_write(self, direction: str, what: str) -> None:
        """Complain where nothing may be written: by the mode, or since sync.yaml and the tables differ."""
        mode = self._shape.yaml.says.mode
        if mode not in ("both", {"to_crm": "crm", "to_enerflo": "enerflo"}[direction]):
            self._watch.breaks(f"{what}, in mode {mode}")
        if not self._fits():
            self._watch.breaks(f"{what}, though sync.yaml does not fit the CRM's tables")
        if self._shape.yaml.says.account != "default":
            self._watch.breaks(f"{what}, for an account under another name")
