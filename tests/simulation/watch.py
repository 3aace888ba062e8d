"""What becomes of the CRM's rows, told in its order to everything that looks after a promise."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import psycopg

from tests.simulation.shapes import Shape
from tests.simulation.values import Row

PEOPLE = "people"
# Ends and begins of transactions whose rows a request may rest on: the one that marks it as sent, and the one
# before it, which may have looked at the source.
_TRANSACTIONS = 2


class Written(NamedTuple):
    """One row that was written, as of its commit.

    :param tx: its transaction.
    :param by_people: a person wrote it, and no job.
    :param was_marked: the row was marked as deleted before. A marked row counts as a row that is not there.
    """

    n: int
    table: str
    op: str
    before: Row | None
    after: Row | None
    tx: int
    by_people: bool
    was_marked: bool = False

    @property
    def is_seen(self) -> bool:
        """Return whether it happened to a row that is not marked as deleted."""
        return self.before is not None or self.after is not None


class Watch:
    """Reads on in the history of the CRM's rows.

    :ivar listeners: told of each row, and ``transactions`` when all rows of one were told.
    :ivar broken: what they found, in words.
    :ivar restores: an undo is applied, which may take away the mark of a row that the undone plan had marked.
    """

    def __init__(self, connection: psycopg.Connection[Any], shape: Shape) -> None:
        self._shape = shape
        self.listeners: list[Callable[[Written], None]] = []
        self.transactions: list[Callable[[], None]] = []
        self.broken: list[str] = []
        self.restores = False
        self._connection = connection
        self._last = 0
        # Numbers of transactions that were not committed at the last look.
        self._open: set[int] = set()

    def look(self, *, nobody_writes: bool = False) -> None:
        """Tell of the rows that were written since the last look.

        :param nobody_writes: no transaction is open that has written.
        """
        tx = None
        for written in self.since(self._last, self._open):
            if tx not in (None, written.tx):
                self._transaction_ends()
            tx = written.tx
            self._open.discard(written.n)
            self._open.update(range(self._last + 1, written.n))
            self._last = max(self._last, written.n)
            if written.was_marked and not (written.by_people or self.restores):
                self.breaks(
                    f"a row of crm.{written.table} that is marked as deleted, or outside, was written: {written.op}"
                )
            if written.is_seen:
                for listener in self.listeners:
                    listener(written)
        if tx is not None:
            self._transaction_ends()
        if nobody_writes:
            self._open.clear()

    def _transaction_ends(self) -> None:
        for listener in self.transactions:
            listener()

    def since(self, n: int, also: Collection[int] = ()) -> list[Written]:
        """Return the rows that were written after the n-th, and those of some further numbers."""
        rows = self._connection.execute(
            "select n, table_name, op, before, after, tx, writer = %s from simulation.crm_written"
            " where n > %s or n = any(%s) order by n",
            [PEOPLE, n, list(also)],
        )
        return [self._of_living(Written(*row)) for row in rows]

    def choose_otherwise(self, act: Callable[[], None]) -> None:
        """Let sync.yaml choose other rows, and tell of those that come or go by it as of rows that people made or deleted."""
        self.look()
        tables = ("installs", "milestones")
        here = {table: self._living(table) for table in tables}
        act()
        for table in tables:
            now = self._living(table)
            for op, rows, others in (("delete", here[table], now), ("insert", now, here[table])):
                for row in (one for one in rows if one not in others):
                    before, after = (row, None) if op == "delete" else (None, row)
                    for listener in self.listeners:
                        listener(Written(self._last, table, op, before, after, 0, by_people=True))
        self._transaction_ends()

    def _living(self, table: str) -> list[Row]:
        query = f"select to_jsonb(t) - 'ctid' from {self._shape.seen}.{table} t where {self._shape.living}"
        return [row for (row,) in self._connection.execute(query.encode()).fetchall()]

    def _of_living(self, written: Written) -> Written:
        """Return what happened as it is for somebody to whom rows marked as deleted are not there."""
        before, after = (None if self._shape.is_away(row) else row for row in (written.before, written.after))
        if (before, after) == (written.before, written.after):
            return written
        op = "insert" if before is None else "delete" if after is None else "update"
        return written._replace(op=op, before=before, after=after, was_marked=before is not written.before)

    def position(self) -> int:
        """Return the number of the last row that was written."""
        row = self._connection.execute("select coalesce(max(n), 0) from simulation.crm_written").fetchone()
        assert row is not None
        return int(row[0])

    def breaks(self, text: str) -> None:
        """Note that a promise is broken."""
        self.broken.append(text)


class Transactions:
    """Where in the history of the CRM the last transactions of a process began."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._began = [0] * _TRANSACTIONS

    def begins(self) -> None:
        """Remember that one begins."""
        self._began = [*self._began[1:], self._watch.position()]

    @property
    def since(self) -> int:
        """Return where the earlier one began."""
        return self._began[0]
