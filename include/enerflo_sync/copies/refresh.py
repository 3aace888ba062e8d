"""Updating the copies of an account's CRM tables.

The CRM's database computes a sum of row digests for each bucket of keys. Only buckets whose sum differs from
our copy's are read. So an edit is found whatever ``updated_at`` says, and unchanged rows are not transferred.
Each row comes with its own digest, so a row that changes while it is read is corrected by the next refresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.copies.copy_table import CopyTable
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.remote_table import RemoteTable, remote_table
from enerflo_sync.copies.trust import require_empty_texts
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.copies import KEY_HASH
from enerflo_sync.crm.elsewhere import copy_of
from enerflo_sync.crm.names import quoted
from enerflo_sync.errors import RetriableError
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import server_time, warehouse_errors

Progress = Callable[[str, int, int], None]

# The name of the lock under which an account's copies are written.
JOB = "copy of the CRM"
# Rows in a bucket: one changed row makes this many rows be read.
_ROWS_A_BUCKET = 16
# Primes: numeric keys are often at regular distances, such as a power of two; with a number of buckets that
# shares a factor with the distance, many keys would share one bucket.
_BUCKETS = (61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)
# Rows ``c`` of a copy whose keys are of some buckets.
_OF_BUCKETS = f"c.{KEY_HASH} %% %(buckets)s = any(%(differ)s::bigint[])"
# How often to read a table again that changes while it is read.
_ROUNDS = 3

_KNOWN = sa.text("""
/* enerflo-sync copy: what is known of a copy */
select signature, rows from sync.crm_copies where account = :account and table_name = :table
""")
_NOTE = sa.text("""
/* enerflo-sync copy: a copy is up to date */
insert into sync.crm_copies
  (account, table_name, crm_table, signature, read_at, rows, rows_read, seconds, statements, bytes_read,
   place)
values (:account, :table, :crm_table, :signature, :read_at, :rows, :rows_read, :seconds, :statements,
  :bytes_read, :place)
on conflict (account, table_name) do update set crm_table = excluded.crm_table,
  signature = excluded.signature, read_at = excluded.read_at, rows = excluded.rows,
  rows_read = excluded.rows_read, seconds = excluded.seconds, statements = excluded.statements,
  bytes_read = excluded.bytes_read, place = excluded.place
""")


# Copies contain customers' data. Copies of the present sync.yaml were updated just now; copies that only
# another installation's file names are updated at least daily.
_OLD = sa.text("""
/* enerflo-sync copy: copies of tables that are mapped no more */
delete from sync.crm_copies where account = :account and read_at < now() - interval '7 days'
returning table_name
""")


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of updating one copy.

    :param read_at: the copy has the CRM's state as of this time of the warehouse's clock.
    :param rows_read: how many rows were transferred; ``rows`` is how many the copy has.
    :param bytes_read: about how many bytes these rows are: their size in our own pages.
    :param statements: how many statements the CRM's database was sent.
    """

    table_name: str
    crm_table: str
    read_at: datetime
    rows: int
    rows_read: int
    bytes_read: int
    statements: int
    seconds: float


def refresh_copies(
    engine: sa.Engine,
    crm: CrmConnections,
    config: SyncConfig,
    account: str,
    *,
    progress: Progress | None = None,
) -> list[CopyReport]:
    """Update the copy of each mapped table, each in its own transaction.

    Copies of tables that are no longer mapped are dropped after a week.

    :raises ConfigurationError: a table or column does not exist, or ``where`` is not a condition.
    :raises RetriableError: a database is away; the copies are unchanged.
    """
    require_empty_texts(crm.dialect, config, account)
    tick = progress or (lambda _name, _done, _total: None)
    reports = []
    with (
        warehouse_errors("copy"),
        engine.connect() as connection,
        alone(connection, account, JOB, wait=True),
        crm.kept_open(),
    ):
        for name, mapping in config.tables_for(account).items():
            with crm.connected(f"reading {mapping.crm_table}") as theirs, connection.begin():
                reports.append(_refresh(connection, theirs, crm, config, account, name, tick))
        with connection.begin():
            _drop_old(connection, account)
    return reports


def _drop_old(connection: sa.Connection, account: str) -> None:
    """Drop copies that were not updated for a week, because no table has their name any more."""
    for name in connection.execute(_OLD, {"account": account}).scalars().all():
        place = quoted(*copy_of(account, name)).replace("%%", "%")
        connection.execute(sa.text(f"drop table if exists {place}".replace(":", "\\:")))


def _refresh(
    connection: sa.Connection,
    theirs: sa.Connection,
    crm: CrmConnections,
    config: SyncConfig,
    account: str,
    name: str,
    tick: Progress,
) -> CopyReport:
    began, sent, mapping = time.monotonic(), crm.sent, config.tables_for(account)[name]
    place = str(config.table_spot(account, name, "crm_table"))
    remote = remote_table(theirs, crm, config, account, name, again=True)
    copy = CopyTable(connection, mapping.relation, remote)
    known = connection.execute(_KNOWN, {"account": account, "table": name}).one_or_none()
    moved = 0
    told = f"copy of {mapping.crm_table}"
    if known is None or known.signature != remote.signature or not copy.exists():
        copy.make()
        moved += copy.load(remote.rows(theirs), lambda done: tick(told, done, 0))
    rows = moved or (0 if known is None else known.rows)
    for _ in range(_ROUNDS):
        # A new transaction: an open one may keep showing the rows of its first read, as in MySQL.
        theirs.commit()
        read_at = server_time(connection)
        rows, read, steady = _read_what_differs(theirs, copy, remote, rows)
        moved += read
        if steady:
            break
    else:
        raise RetriableError(
            f"{mapping.crm_table} changes faster than it is read: a tenth of it was another one each time."
            " Nothing of it was compared.",
            where=place,
            next_step="Run it again when nobody loads it. A view must say the same of an unchanged row.",
        )
    report = CopyReport(
        table_name=name,
        crm_table=mapping.crm_table,
        read_at=read_at,
        rows=rows,
        rows_read=moved,
        bytes_read=copy.bytes_read,
        statements=crm.sent - sent,
        seconds=round(time.monotonic() - began, 3),
    )
    copy.take_place()
    named = {"account": account, "table": name, "signature": remote.signature, "place": crm.place}
    values = msgspec.structs.asdict(report)
    connection.execute(_NOTE, named | {key: values[key] for key in values if key != "table_name"})
    return report


def _read_what_differs(
    theirs: sa.Connection, copy: CopyTable, remote: RemoteTable, about: int
) -> tuple[int, int, bool]:
    """Return how many rows the CRM has, how many were read, and whether few enough differed.

    :param about: the approximate number of rows in the copy.
    """
    buckets = next((number for number in _BUCKETS if number * _ROWS_A_BUCKET >= about), _BUCKETS[-1])
    bucket, digest = remote.bucket(buckets), remote.dialect.total(remote.row_hash)
    query = f"select {bucket}, count(*), {digest} from {remote.table} group by {bucket}"  # noqa: S608
    # The two databases compute in parallel.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="crm-sums") as pool:
        asked = pool.submit(lambda: theirs.execute(sa.text(query)))
        here = copy.buckets(buckets)
        there = asked.result()
    # Their buckets row by row, dropping compared ones: 20 MB less for a million rows than holding both.
    rows, differ = 0, []
    for bucket_number, number, total in there:
        rows += int(number)
        if here.pop(int(bucket_number), None) != (int(number), str(total)):
            differ.append(int(bucket_number))
    differ = sorted([*differ, *here])
    if not differ:
        return rows, 0, True
    if len(differ) > remote.dialect.most_named:
        read = copy.merge(remote.rows(theirs), "true", {})
    else:
        asked_for, replaced = f"{bucket} in ({_list(differ)})", _OF_BUCKETS
        if keys := _keys_of(theirs, copy, remote, buckets, differ):
            asked_for = f"{remote.whole_key} in ({_list(keys)}) and {asked_for}"
            replaced = f"c.{quoted(remote.key[0].name)} = any(%(keys)s::bigint[])"
        values = {"buckets": buckets, "differ": differ, "keys": keys}
        read = copy.merge(remote.rows(theirs, f"where {asked_for}"), replaced, values)
    return rows, read, len(differ) * 10 < buckets


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _keys_of(
    theirs: sa.Connection, copy: CopyTable, remote: RemoteTable, buckets: int, differ: Sequence[int]
) -> list[int]:
    """Return every key that a row of these buckets may have, since both databases have an index of the keys.

    A scan of a million rows for a few would take a sixth of a refresh. No keys are returned if the key is not
    one whole number, if some are below zero or missing, or if there are too many to name.
    """
    if remote.whole_key is None or not remote.dialect.most_keys or differ[0] < 0:
        return []
    # Asked for after the sums, so that no row in these has a larger key.
    query = f"select min({remote.whole_key}), max({remote.whole_key}) from {remote.table}"  # noqa: S608
    ends = [*theirs.execute(sa.text(query)).one(), *copy.ends()]
    known = [int(end) for end in ends if end is not None]
    smallest, largest = min(known, default=-1), max(known, default=-1)
    if smallest < 0 or (largest // buckets + 1) * len(differ) > remote.dialect.most_keys:
        return []
    return [key for bucket in differ for key in range(bucket, largest + 1, buckets)]
