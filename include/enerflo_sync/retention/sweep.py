"""The interface of retention sweeps: each finds old data of one kind in batches, and deletes or counts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import sqlalchemy as sa

from enerflo_sync.crm.retention import Kept

# A time before that of any row.
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
# Rows of one transaction, which takes a fraction of a second, so that other jobs hardly wait for it.
BATCH = 2_000

_NOTE = sa.text("""
/* enerflo-sync prune: what it deleted */
insert into sync.prunings as p
  (account, run_id, kind, pruned_at, bound, before, rows, bytes, oldest, newest)
values (:account, :run_id, :kind, :at, :bound, :before, :rows, :bytes, :oldest, :newest)
on conflict (account, run_id, kind) do update
set rows = p.rows + excluded.rows, bytes = p.bytes + excluded.bytes,
    before = greatest(p.before, excluded.before), bound = excluded.bound,
    oldest = least(p.oldest, excluded.oldest), newest = greatest(p.newest, excluded.newest)
""")


@dataclass(frozen=True)
class Scope:
    """One kind of data of one account, and its limit.

    :param before: the time limit; older data is deleted.
    :param bound: the option of sync.yaml that sets the limit, with its value.
    :param at: when the run began.
    :param run_id: the run; None means a dry run, which deletes and locks nothing.
    """

    account: str
    kind: Kept
    before: datetime
    bound: str
    at: datetime
    run_id: str | None

    @property
    def writes(self) -> bool:
        """Return whether old data is deleted, not only counted."""
        return self.run_id is not None

    @property
    def values(self) -> dict[str, Any]:
        """Return the parameters that every statement has."""
        return {"account": self.account, "before": self.before}


@dataclass(frozen=True)
class Gone:
    """What one batch deleted, or would delete.

    :param size: the approximate number of bytes of the rows or files.
    """

    rows: int
    size: int
    oldest: datetime | None
    newest: datetime | None


class Sweep(Protocol):
    """Finds and deletes old data of one kind."""

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would delete; each batch is one transaction.

        :param connection: it has no open transaction when the generator yields.
        """
        ...


def note(connection: sa.Connection, scope: Scope, gone: Gone) -> None:
    """Add what a batch deleted to ``sync.prunings``, in the transaction of the batch."""
    values = scope.values | {"run_id": scope.run_id, "kind": str(scope.kind), "at": scope.at}
    values |= {"bound": scope.bound, "rows": gone.rows, "bytes": gone.size}
    connection.execute(_NOTE, values | {"oldest": gone.oldest, "newest": gone.newest})


def gone_of(rows: Sequence[sa.RowMapping]) -> Gone:
    """Return the sums over rows with the columns ``at`` and ``size``, and optionally ``rows``."""
    moments = [row["at"] for row in rows if row["at"] is not None]
    return Gone(
        sum(row.get("rows", 1) for row in rows),
        sum(row["size"] or 0 for row in rows),
        min(moments, default=None),
        max(moments, default=None),
    )


class RowSweep:
    """The old rows of one table that a statement selects.

    :param select: the statement that returns ``id`` (the row's ctid as text), ``at`` and ``size`` of rows
        before ``:before``, ordered by ``at`` and by ``place``, a text that orders rows of the same time. Its
        other parameters are ``:after_at``, ``:after_place`` and ``:most``; ``{lock}`` is replaced by a
        locking clause when rows are deleted.
    :param delete: the statement that deletes the rows ``:ids`` and rows that belong to them.
    """

    def __init__(self, select: str, delete: str) -> None:
        self._look = sa.text(select.format(lock=""))
        self._take = sa.text(select.format(lock="for update of t skip locked"))
        self._delete = sa.text(f"/* enerflo-sync prune: rows that are too old */ {delete}")

    def batches(self, connection: sa.Connection, scope: Scope, **values: Any) -> Iterator[Gone]:
        """Yield what each batch deleted, or would delete (:meth:`Sweep.batches`).

        :param values: further parameters of the selection.
        """
        after = {"after_at": BEGINNING, "after_place": ""}
        while True:
            with connection.begin():
                statement = self._take if scope.writes else self._look
                named = {**scope.values, **values, **after, "most": BATCH}
                rows = connection.execute(statement, named).mappings().all()
                if not rows:
                    return
                gone = gone_of(rows)
                if scope.writes:
                    connection.execute(self._delete, {"ids": [row["id"] for row in rows]})
                    note(connection, scope, gone)
            after = {"after_at": rows[-1]["at"], "after_place": rows[-1]["place"]}
            yield gone
