"""What is sent to Enerflo is what the CRM says in the transaction before the request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg

from tests.simulation.people import text_of_note
from tests.simulation.shapes import Shape
from tests.simulation.values import Row, whole
from tests.simulation.watch import Watch
from tests.simulation.wide import Wide
from tests.simulation.writes import Arrival, Place

COMPLETED = "Completed"


class Sources:
    """Looks at the CRM's rows behind each write that arrives at Enerflo.

    An edit that is committed between that transaction and the request is too late: rows count as they are, and
    as they were since it began.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        shape: Shape,
        watch: Watch,
        stands: Callable[[str, tuple[Any, ...]], Row | None],
        kept: Mapping[Place, tuple[Any, Any]],
    ) -> None:
        self.wide: Wide | None = None
        self._connection = connection
        self._shape = shape
        self._watch = watch
        self._stands = stands
        self._kept = kept

    def arrived(self, write: Arrival) -> None:
        """Complain where no row of the CRM says what was sent."""
        since = write.process.begins_at.since
        wide = self.wide
        if wide is not None and (wide.says(write) or wide.completes(write)):
            return
        if not any(self._says(row, write) for row in self._rows(write.table, since)) and not (
            write.table == "installs" and self._completes(write, since)
        ):
            self._watch.breaks(f"{write.words}: no row of crm.{write.table} says {write.values}")

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table as they are."""
        return [
            row
            for (row,) in self._connection.execute(
                f"select to_jsonb(t) from {self._shape.seen}.{table} t where {self._shape.living}"
            )
        ]

    def _rows(self, table: str, since: int) -> Iterator[Row]:
        """Yield the rows as they are, and as they were since a moment."""
        yield from self.rows(table)
        for written in self._watch.since(since):
            if written.table == table and written.before is not None:
                yield written.before

    def _says(self, row: Row, write: Arrival) -> bool:
        if write.table == "notes":
            wanted = (write.values["install"], str(write.values["body"]).strip())
            install = str(whole(row["enerflo_install_id"]))
            return row["enerflo_note_id"] is None and (install, text_of_note(row).strip()) == (
                str(wanted[0]),
                wanted[1],
            )
        if write.table == "leads" and "lead_id" in write.values:
            # What is there already is changed whatever its status is by now.
            due = row["status"] == "qualified" or self._shape.join_of("leads", row) == write.record
            right = row["lead_id"] == write.values["lead_id"] and due
        else:
            right = self._shape.join_of(write.table, row) == write.record
        return right and self._same(row, write)

    def _same(self, row: Row, write: Arrival) -> bool:
        # A call that takes a whole lead says again what Enerflo has of the fields that it does not set: as it
        # was sent, where Enerflo respelled it.
        stands = {} if write.record is None else self._stands(write.table, write.record) or {}
        plain = self._shape.plain
        return all(
            plain(write.table, column, row[column]) == plain(write.table, column, value)
            for column, value in write.values.items()
            if column in row
            and (column not in stands or stands[column] != value)
            and self._kept.get((write.table, write.record or (), column)) != (value, stands.get(column))
        )

    def _completes(self, write: Arrival, since: int) -> bool:
        """Return whether an install is completed because one of its milestones is."""
        return write.values["status"] == COMPLETED and any(
            self._shape.join_of("milestones", row)[0] == (write.record or (None,))[0] and row["completed_at"]
            for row in self._rows("milestones", since)
        )
