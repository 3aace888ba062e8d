"""Carrying approved changes to the CRM's own database.

An approved change is first handed over to ``sync.crm_changes``, in one transaction with plan and ledger
(:mod:`enerflo_sync.apply.handed_over`). Then it is written here if the row still has the digest of our copy,
and the row is read back into the copy. The copy is the evidence of what arrived. So a crash at any point
loses nothing: a written change shows in the next copy, and is not written twice, because its row then has
another digest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa

from enerflo_sync.agreed.adopted import GIVEN_AWAY
from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.agreed.handing_over import end_unmade, note_taken
from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.agreed.own_writes import noting_rows
from enerflo_sync.agreed.soft_deletes import note_carried_marks
from enerflo_sync.copies.copy_table import CopyTable
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.due import RowWrite, due_writes, given_away, numbers_of, unfit_changes
from enerflo_sync.copies.named_rows import NAMED, named_already
from enerflo_sync.copies.refresh import JOB
from enerflo_sync.copies.remote_table import RemoteTable, remote_table
from enerflo_sync.copies.remote_writes import RemoteWriter
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.rewritten import NOT_KEPT
from enerflo_sync.warehouse.alone import alone

# If another column of a row changed meanwhile, the write is repeated with the row's present digest.
_ATTEMPTS = 3
_MOVED = "the CRM's row says something else than when the plan was made"
_NOT_DELETED = (
    "a row in another database is only deleted by a mark (deleted_when): delete it there, or declare one"
)

_LEFT = """
/* enerflo-sync carry: changes that could not be written */
select number, op from sync.crm_changes
where account = %(account)s and table_name = %(table)s and ended_at is null and state = 'open'
  and (kind = 'link' or %(to_crm)s)
"""


def carry_changes(
    connection: sa.Connection,
    crm: CrmConnections,
    config: SyncConfig,
    comparisons: Iterable[Comparison],
    account: str,
    run_id: str,
) -> None:
    """Write the open changes of tables in another database there, and record the outcome of each.

    It commits several times. Afterwards no change of these tables is open: each arrived, moved or is parked.
    Only changes that the mode of their table does not allow any more stay open.

    :param connection: to the warehouse; has no open transaction.
    :raises RetriableError: the CRM's database is away; changes that are not written yet stay open.
    :raises ConfigurationError: the database refuses all writes.
    """
    carried = [
        comparison for comparison in comparisons if comparison.mapping.is_carried and comparison.mode.writes
    ]
    if not carried:
        return
    with alone(connection, account, JOB, wait=True):
        for comparison in carried:
            _carry(connection, crm, config, comparison, account, run_id)


def _carry(
    connection: sa.Connection,
    crm: CrmConnections,
    config: SyncConfig,
    comparison: Comparison,
    account: str,
    run_id: str,
) -> None:
    made: set[int] = set()
    for _ in range(_ATTEMPTS):
        with connection.begin():
            for number, reason in unfit_changes(connection, comparison, account).items():
                end_unmade(connection, account, run_id, [number], Decision.PARKED, reason)
            lost = given_away(connection, comparison, account)
            end_unmade(connection, account, run_id, lost, Decision.MOVED, GIVEN_AWAY)
            writes, moved = due_writes(connection, comparison, account)
            if undone := sorted(made.intersection(numbers_of(writes))):
                end_unmade(connection, account, run_id, undone, Decision.PARKED, NOT_KEPT)
                writes, moved = due_writes(connection, comparison, account)
            end_unmade(connection, account, run_id, moved, Decision.MOVED, _MOVED)
            note_taken(connection, account, numbers_of(writes))
            if not writes:
                record_arrivals(connection, [comparison], account, read_back=True)
        if not writes:
            break
        with crm.connected(f"writing {comparison.mapping.crm_table}") as theirs:
            remote = remote_table(theirs, crm, config, account, comparison.name)
            with connection.begin():
                there = named_already(connection, theirs, remote, comparison, writes)
                unmade = [number for place in sorted(there) for number in writes[place].numbers]
                end_unmade(connection, account, run_id, unmade, Decision.MOVED, NAMED)
            writes = [write for place, write in enumerate(writes) if place not in there]
            theirs.commit()
            writer = RemoteWriter(theirs, remote)
            written = writer.write(writes)
            done = {number for place in written.changed for number in writes[place].numbers}
            made.update(done - written.left_out.keys())
            with connection.begin():
                _take_back(connection, comparison, account, remote, writer, writes, written.changed)
                for place, reason in written.refused.items():
                    numbers = writes[place].numbers
                    end_unmade(connection, account, run_id, numbers, Decision.PARKED, reason)
                for number, reason in written.left_out.items():
                    end_unmade(connection, account, run_id, [number], Decision.PARKED, reason)
                _, moved = due_writes(connection, comparison, account)
                altered, moved = sorted(made.intersection(moved)), sorted({*moved} - made)
                end_unmade(connection, account, run_id, altered, Decision.PARKED, NOT_KEPT)
                end_unmade(connection, account, run_id, moved, Decision.MOVED, _MOVED)
                record_arrivals(connection, [comparison], account, read_back=True)
    _end_left(connection, comparison, account, run_id, made)


def _end_left(
    connection: sa.Connection, comparison: Comparison, account: str, run_id: str, made: set[int]
) -> None:
    """End the changes that are still open after all attempts, each with its reason."""
    with connection.begin():
        named = {
            "account": account,
            "table": str(comparison.name),
            "to_crm": "to_crm" in comparison.mode.writes,
        }
        left = connection.exec_driver_sql(_LEFT, named).all()
        undone = [row.number for row in left if row.number in made]
        deletions = [row.number for row in left if row.op == "delete" and row.number not in made]
        others = [row.number for row in left if row.op != "delete" and row.number not in made]
        end_unmade(connection, account, run_id, undone, Decision.PARKED, NOT_KEPT)
        end_unmade(connection, account, run_id, deletions, Decision.PARKED, _NOT_DELETED)
        end_unmade(connection, account, run_id, others, Decision.MOVED, _MOVED)


def _take_back(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    remote: RemoteTable,
    writer: RemoteWriter,
    writes: Sequence[RowWrite],
    changed: Collection[int],
) -> None:
    """Read the rows back into the copy, and store the time of change that our write left on them."""
    ours = [one.key_text for place, one in enumerate(writes) if place in changed and one.op == "update"]
    known = [one.key_hash for one in writes if one.key_hash is not None]
    with noting_rows(connection, comparison, account, ours):
        copy = CopyTable(connection, comparison.mapping.relation, remote)
        copy.merge_keys(writer.read_back([one.key for one in writes]), known)
    marked = [one for place, one in enumerate(writes) if place in changed and one.op == "delete"]
    note_carried_marks(connection, comparison, account, numbers_of(marked))
