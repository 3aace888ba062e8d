"""No value crosses identities: not from one record to another by a new link, and not from a twin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.simulation.shapes import Shape
from tests.simulation.values import Row, number_in
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

Record = tuple[Any, ...]
_LINKED = ("installs", "milestones", "leads")


class Lineage:
    """Remembers where each value of a CRM row comes from, and which rows were one of two for their record.

    Two rows count where a whole plan was made beside both: of those that come and go between two plans, or
    that join others while a plan is made, nobody can know.

    :param stands: returns what Enerflo has of a record, None where there is none; ``stored`` what the mirror has.
    """

    def __init__(
        self,
        shape: Shape,
        watch: Watch,
        stands: Callable[[str, Record], Row | None],
        stored: Callable[[str, Record], Row | None],
    ) -> None:
        self._shape = shape
        self._watch = watch
        self._stands = stands
        self._stored = stored
        # Of each row and column: the record that the row named when the value was written. Where the key is the
        # link, two rows may share one.
        self._born: dict[tuple[str, Record, str], Record] = {}
        self._rows: dict[tuple[str, Record], list[Row]] = defaultdict(list)
        self._touched: set[tuple[str, Record]] = set()
        # Of each plan that is being made: the records that have had two rows since it began, and the keys of the
        # rows that have been among them as long.
        self._planning: list[dict[tuple[str, Record], set[Record]]] = []
        # The fields of rows that were one of two, by their keys, until both sides say the same.
        self._tainted: dict[tuple[str, Record], set[str]] = {}

    def written(self, written: Written) -> None:
        """Take note of a row that was written."""
        table = written.table
        if table not in _LINKED:
            return
        if written.before is not None:
            self._forget_row(table, written.before)
        if written.after is not None:
            self._remember_row(table, written.before, written.after)

    def _forget_row(self, table: str, row: Row) -> None:
        link = self._shape.join_of(table, row)
        rows = self._rows[table, link]
        if row in rows:
            rows.remove(row)
            self._touched.add((table, link))

    def _remember_row(self, table: str, before: Row | None, after: Row) -> None:
        link = self._shape.join_of(table, after)
        key = self._key_of(table, after)
        if before is not None and self._key_of(table, before) != key:
            self._take_along(table, self._key_of(table, before), key)
        for column in self._shape.tables[table].fields:
            if before is None or before[column] != after[column]:
                self._born[table, key, column] = link
        if None in link:
            return
        self._rows[table, link].append(after)
        self._touched.add((table, link))

    def _take_along(self, table: str, before: Record, key: Record) -> None:
        """Know of a row under its new key what was known under the one before."""
        for column in self._shape.tables[table].fields:
            self._born.pop((table, key, column), None)
            if (born := self._born.pop((table, before, column), None)) is not None:
                self._born[table, key, column] = born
        self._tainted.pop((table, key), None)
        if (tainted := self._tainted.pop((table, before), None)) is not None:
            self._tainted[table, key] = tainted

    def transaction_ends(self) -> None:
        """Take out the records that one row names by now from those that a plan is made beside."""
        for one in self._touched:
            present = {self._key_of(one[0], row) for row in self._rows[one]}
            for shared in self._planning:
                if len(self._rows[one]) < 2:
                    shared.pop(one, None)
                elif one in shared:
                    shared[one] &= present
        self._touched.clear()

    @contextmanager
    def planning(self) -> Iterator[Callable[[str], None]]:
        """Let a plan be made; what is yielded says that it was."""
        self._watch.look()
        # An id in another spelling names none.
        shared = {
            (table, link): {self._key_of(table, row) for row in rows}
            for (table, link), rows in self._rows.items()
            if len(rows) > 1 and all(isinstance(part, int) for part in link)
        }
        self._planning.append(shared)

        def was_made(_plan_hash: str) -> None:
            self._watch.look()
            if self._shape.yaml.says.account != "default":
                # What a plan under another name of the account sees is known under that name alone.
                return
            for (table, _), keys in shared.items():
                for key in keys:
                    self._tainted[table, key] = set(self._shape.tables[table].fields)

        try:
            yield was_made
        finally:
            self._planning.remove(shared)

    def agree(self) -> None:
        """Let a record's only row be trusted again in the fields in which both sides say the same."""
        plain = self._shape.plain
        for (table, link), rows in self._rows.items() if self._tainted else ():
            columns = self._tainted.get((table, self._key_of(table, rows[0]))) if len(rows) == 1 else None
            if not columns:
                continue
            for theirs in (self._stands(table, link), self._stored(table, link)):
                columns -= {
                    column
                    for column in columns & (theirs or {}).keys()
                    if plain(table, column, rows[0][column]) == plain(table, column, (theirs or {})[column])
                }

    def arrived(self, write: Arrival) -> None:
        """Complain where a write carries a value that belongs to another record, or to a twin."""
        if write.table not in _LINKED or write.record is None:
            return
        rows = self._rows[write.table, write.record]
        tainted = {
            column
            for row in rows
            for column in self._tainted.get((write.table, self._key_of(write.table, row)), ())
        }
        theirs = self._stands(write.table, write.record) or {} if tainted else {}
        plain = self._shape.plain
        for column, value in write.values.items():
            if self._completes(write, value):
                continue
            # A lead is sent whole: with Enerflo's own values beside those that change.
            own = plain(write.table, column, value) == plain(write.table, column, theirs.get(column))
            if column in tainted and not own:
                self._watch.breaks(f"{write.words}: {column} comes from one of two rows")
            if self._shape.policy(write.table, column) == "review" and len(rows) == 1:
                self._arrived_from(write, column, rows[0])

    def _arrived_from(self, write: Arrival, column: str, row: Row) -> None:
        born = self._born.get((write.table, self._key_of(write.table, row), column))
        theirs = self._stands(write.table, write.record or ())
        if write.values.get("lead_id") == row.get("lead_id") and born == (None,):
            # Enerflo knows the lead by its own key, whether its row has the id already or not.
            return
        # A field that is empty at Enerflo takes what the CRM has.
        if (
            born is not None
            and not self._names(born, write.record)
            and theirs is not None
            and theirs[column] is not None
        ):
            self._watch.breaks(f"{write.words}: {column} was written for the record {born}")

    @staticmethod
    def _names(born: Record, record: Record | None) -> bool:
        """Return whether a row named the record, in whatever spelling."""
        return record is not None and [number_in(one) for one in born] == [number_in(one) for one in record]

    def _key_of(self, table: str, row: Row) -> Record:
        return tuple(self._shape.key_of(table, row).values())

    @staticmethod
    def _completes(write: Arrival, value: Any) -> bool:
        return write.table == "installs" and value == "Completed"
