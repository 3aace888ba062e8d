"""Sends a plan's changes to Enerflo: each once, read back, with an outcome and a reason.

The outbox is ``sync.plan_changes``. A change is marked ``sent`` and committed before its request is sent.
After a kill the next push finds this mark and reads the record before it sends anything again, so no write is
lost and none is made twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Applying, Decision
from enerflo_sync.apply.enerflo.installs import push_install
from enerflo_sync.apply.enerflo.leads import push_lead
from enerflo_sync.apply.enerflo.notes import install_of_notes, push_notes
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from enerflo_sync.apply.enerflo.report import PushReport
from enerflo_sync.clock import Clock
from enerflo_sync.copies.fresh_rows import FreshRows
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.enerflo.failures import AuthenticationError, DeletedRecordError
from enerflo_sync.errors import (
    BadRecordError,
    ContractDriftError,
    FatalError,
    NotFoundError,
    RetriableError,
)
from enerflo_sync.outbox.changes import OutboxChange, key_text, open_changes
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

__all__ = ["PushReport", "push"]

Progress = Callable[[str, int, int | None], None]
Task = Callable[[], None]

# After this many records in a row that could not be reached, Enerflo counts as away, and the other changes
# wait.
GIVE_UP_AFTER = 3


def push(
    client: EnerfloClient,
    connection: sa.Connection,
    applying: Applying,
    config: SyncConfig,
    comparisons: Mapping[str, Comparison],
    *,
    clock: Clock,
    component_keys: ComponentKeys,
    fresh: FreshRows | None = None,
    progress: Progress | None = None,
) -> PushReport:
    """Send the plan's changes to Enerflo and return their outcomes.

    The process may be killed at any time and run again: a change that was sent is searched for before it is
    sent again. Changes that Enerflo refuses are parked, and the others are still sent. Changes of records
    that cannot be reached wait for the next push.

    :param connection: without an open transaction; none is open while a request runs.
    :param comparisons: the comparisons of the tables that the plan changes.
    :param fresh: reads rows of a CRM in another database again, before a request uses their values.
    :param progress: called with ``("push", changes processed, all changes)``.
    :raises AuthenticationError: the API key is not accepted; everything that was not written waits.
    :raises ConfigurationError: Enerflo's address is wrong, or a right on a table is missing.
    :raises RetriableError: the warehouse went away, or another plan or apply is running.
    """
    with warehouse_errors("push"), alone(connection, applying.account):
        with connection.begin():
            changes = open_changes(connection, applying)
        run = PushRun(client, connection, applying, config, comparisons, clock, component_keys, fresh)
        done, in_a_row = 0, 0
        for task, of_record in _tasks(run, changes):
            if in_a_row >= GIVE_UP_AFTER:
                run.report.stopped = "Enerflo does not answer; the rest waits for the next push."
                break
            in_a_row = in_a_row + 1 if _troubled(run, task, of_record) else 0
            done += len(of_record)
            if progress is not None:
                progress("push", done, len(changes))
        run.report.waiting = len(run.open(changes))
        log.info("push_done plan=%s %s", applying.plan_hash[:12], run.report.as_dict())
        return run.report


def _troubled(run: PushRun, task: Task, changes: Sequence[OutboxChange]) -> bool:
    """Write the changes of one record; return whether the record could not be reached."""
    run.troubled = False
    try:
        task()
    except AuthenticationError:
        raise
    except RetriableError as error:
        log.warning("push_waits table=%s error=%s", changes[0].table, type(error).__name__)
        return True
    except DeletedRecordError:
        _park(run, changes, "not there: Enerflo says that the record was deleted.")
    except NotFoundError:
        _park(run, changes, "not there (404): Enerflo has no such record.")
    except (BadRecordError, ContractDriftError) as error:
        _park(run, changes, f"Enerflo's record cannot be read: {error.what}")
    except FatalError as error:
        _park(run, changes, f"Enerflo does not show the record ({type(error).__name__}).")
    except sa.exc.DataError:
        _park(run, changes, "a value does not fit its column.")
    return run.troubled


def _park(run: PushRun, changes: Sequence[OutboxChange], reason: str) -> None:
    run.connection.rollback()
    run.finish([PushOutcome(run.open(changes), Decision.PARKED, reason)])


def _tasks(run: PushRun, changes: Sequence[OutboxChange]) -> list[tuple[Task, list[OutboxChange]]]:
    """Return one task for each record, with its changes, in the plan's order."""
    # Rows of two tables may have the same key, so the table is part of the group. But the changes of one
    # install are sent together, whichever table they come from.
    groups: dict[tuple[str, str, str], list[OutboxChange]] = {}
    installs = install_of_notes(run.comparisons, changes)
    for change in changes:
        kind, record = _record_of(run, change, installs)
        table = "" if kind == "install" else change.table
        groups.setdefault((kind, record, table), []).append(change)
    tasks: list[tuple[Task, list[OutboxChange]]] = []
    for (kind, record, _), group in groups.items():
        match kind:
            case "install":
                tasks.append((partial(push_install, run, int(record), group), group))
            case "notes":
                tasks.append((partial(push_notes, run, record, group), group))
            case "new lead" | "lead":
                tasks.append((partial(push_lead, run, group), group))
            case _:
                tasks.append((partial(_refuse, run, record, group), group))
    return tasks


def _record_of(
    run: PushRun, change: OutboxChange, installs: Mapping[tuple[str, str], str]
) -> tuple[str, str]:
    """Return the kind of task that writes a change, and the record to which the change belongs."""
    known = change.enerflo_key or {}
    if change.table not in run.comparisons:
        return "refused", f"the table {change.table} is not mapped."
    kind = run.comparisons[change.table].kind
    match kind, change.op:
        case RecordKind.INSTALLS | RecordKind.MILESTONES, "update" if "install_id" in known:
            return "install", str(known["install_id"])
        case RecordKind.NOTES, "insert":
            return "notes", installs.get((change.table, key_text(change)), "")
        case RecordKind.LEADS, "insert":
            # Inserts are a task of their own: if the lead exists, its appointment may still be due.
            return "new lead", key_text(change)
        case RecordKind.LEADS, "update" if "customer_id" in known:
            return "lead", key_text(change)
    if change.op == "update" and kind in (RecordKind.INSTALLS, RecordKind.MILESTONES, RecordKind.LEADS):
        return "refused", f"the change of {change.table} names no record of Enerflo."
    return "refused", f"Enerflo has no call that {change.op}s a record of {change.table}."


def _refuse(run: PushRun, reason: str, changes: Sequence[OutboxChange]) -> None:
    run.finish([PushOutcome(changes, Decision.REFUSED, reason)])
