"""The newest verdicts of many accounts: one query a warehouse, and none waits for another's warehouse."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import sqlalchemy as sa

from enerflo_airflow.accounts import sync_config
from enerflo_airflow.page_parts import reading
from enerflo_sync.crm.problems import Problem
from enerflo_sync.crm.schedule import Schedule
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.pages.accounts import AccountLine
from enerflo_sync.pages.verdicts import NewestVerdict, read_newest

log = logging.getLogger(__name__)

# How many mistakes of one file the page shows; enerflo-sync doctor shows all.
_MOST_PROBLEMS = 3
# The page waits this long for a warehouse; then its accounts are shown without a verdict.
SECONDS = 2.0
_SILENT = (
    "Its warehouse did not answer within 2 seconds. Look at Airflow's connection `{connection}`, and whether"
    " the server runs; the other accounts do not wait for it."
)
# A warehouse that does not answer holds its thread until the connection gives up.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="enerflo-accounts")
_under_way: dict[str, Future[Mapping[str, NewestVerdict | None]]] = {}


def read_lines(accounts: Sequence[str]) -> list[AccountLine]:
    """Return a line for each account; the failure of a warehouse stands in the lines of its accounts.

    So does a mistake in an account's own file.
    """
    config = sync_config()
    by_connection: dict[str, list[str]] = {}
    lines = [_unusable(name, config.unusable[name]) for name in accounts if name in config.unusable]
    for name in accounts:
        if name in config.unusable:
            continue
        # A connection names one warehouse.
        by_connection.setdefault(config.account(name).airflow.warehouse_connection, []).append(name)
    asked = {
        key: _asked(key, {name: config.account(name).schedule for name in names})
        for key, names in by_connection.items()
    }
    wait(asked.values(), timeout=SECONDS)
    for key, names in by_connection.items():
        lines += _lines(names, asked[key], key)
    return lines


def _unusable(name: str, problems: Sequence[Problem]) -> AccountLine:
    told = " ".join(str(one) for one in problems[:_MOST_PROBLEMS])
    more = f" And {len(problems) - _MOST_PROBLEMS} more." if len(problems) > _MOST_PROBLEMS else ""
    why = f"Its configuration cannot be read, and none of its jobs runs: {told}{more}"
    return AccountLine(name, None, why, "its configuration cannot be read")


def _asked(key: str, schedules: Mapping[str, Schedule]) -> Future[Mapping[str, NewestVerdict | None]]:
    """Return the answer of a warehouse, which may be under way since an earlier page."""
    before = _under_way.get(key)
    if before is not None and not before.done():
        return before
    _under_way[key] = _threads.submit(_read, schedules)
    return _under_way[key]


def _read(schedules: Mapping[str, Schedule]) -> Mapping[str, NewestVerdict | None]:
    with reading(next(iter(schedules))) as opened, opened.engine.connect() as connection:
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
