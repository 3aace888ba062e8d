"""The newest verdicts of many accounts: one query a warehouse, and none waits for another's warehouse."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import sqlalchemy as sa

from enerflo_airflow.accounts import sync_config
from enerflo_airflow.page_parts import reading
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.pages.accounts import AccountLine
from enerflo_sync.pages.verdicts import NewestVerdict, read_newest

log = logging.getLogger(__name__)

# How long a warehouse may take before its accounts are told without it.
SECONDS = 2.0
_SILENT = (
    "Its warehouse did not answer within 2 seconds. Look at Airflow's connection `{connection}`, and whether"
    " the server runs; the other accounts do not wait for it."
)
# A warehouse that does not answer holds its thread until the connection gives up.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="enerflo-accounts")
_under_way: dict[str, Future[Mapping[str, NewestVerdict | None]]] = {}


def read_lines(accounts: Sequence[str]) -> list[AccountLine]:
    """Return a line for each account; the failure of a warehouse stands in the lines of its accounts."""
    config = sync_config()
    by_connection: dict[str, list[str]] = {}
    for name in accounts:
        # Whatever the connection says: it names one warehouse.
        by_connection.setdefault(_warehouse_of(name), []).append(name)
    asked = {key: _asked(key, names) for key, names in by_connection.items()}
    wait(asked.values(), timeout=SECONDS)
    lines: list[AccountLine] = []
    for key, names in by_connection.items():
        connection = config.account(names[0]).airflow.warehouse_connection
        lines += _lines(names, asked[key], connection)
    return lines


def _warehouse_of(account: str) -> str:
    return sync_config().account(account).airflow.warehouse_connection


def _asked(key: str, names: list[str]) -> Future[Mapping[str, NewestVerdict | None]]:
    """Return the answer of a warehouse, which may be under way since an earlier page."""
    before = _under_way.get(key)
    if before is not None and not before.done():
        return before
    _under_way[key] = _threads.submit(_read, names)
    return _under_way[key]


def _read(names: list[str]) -> Mapping[str, NewestVerdict | None]:
    schedules = {name: sync_config().account(name).schedule for name in names}
    with reading(names[0]) as opened, opened.engine.connect() as connection:
        connection.execute(sa.text(f"set local statement_timeout = {int(SECONDS * 1000)}"))
        return read_newest(connection, schedules)


def _lines(
    names: list[str], answer: Future[Mapping[str, NewestVerdict | None]], connection: str
) -> list[AccountLine]:
    if not answer.done():
        return [AccountLine(name, None, _SILENT.format(connection=connection)) for name in names]
    try:
        found = answer.result()
    except EnerfloSyncError as error:
        return [AccountLine(name, None, str(error)) for name in names]
    except Exception as error:
        # One account's failure keeps no other from being shown.
        log.exception("accounts_unread connection=%s", connection)
        why = f"Reading it failed ({type(error).__name__}). The API server's log has the reason."
        return [AccountLine(name, None, why) for name in names]
    return [
        AccountLine(name, found[name])
        if name in found
        else AccountLine(name, None, _SILENT.format(connection=connection))
        for name in names
    ]
