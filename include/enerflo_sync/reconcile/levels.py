"""How many rows each CRM table had, so that rows that vanish all at once do not count as people's deletions.

While a copy of a CRM is loaded again, all its rows may be marked as deleted, or the table may be empty. A
reconciliation at that moment would find half the company deleted. So each reconciliation notes how many
living rows a table has. If the number falls suddenly, deletions are believed only after the table stays at
its new level for an hour. If the level changes again, the hour starts anew; if the rows come back, nothing
was deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.report import Cause, GoneAtOnce

# People do not delete more rows than this in a minute.
FEWEST_ROWS = 10
# The table has to stay at its level for this long. Falls within this time count as one fall.
PROOF = timedelta(hours=1)

# Options of the mapping that decide which rows count as living.
_COUNTED_BY = ("crm_table", "where", "deleted_when")

_LAST = sa.text("""
/* enerflo-sync reconcile: how many rows the CRM's tables had */
select report->'levels' from sync.reconciliations
where account = :account and reconciliation_id <> :reconciliation_id and finished_at is not null
order by compared_until desc, started_at desc limit 1
""")

# Only asked where rows are missing, since the ledger has no index for this query.
_OWN_DELETIONS = sa.text("""
/* enerflo-sync reconcile: rows that our own plans deleted */
select count(*) from sync.ledger
where account = :account and table_name = :table and op = 'delete' and direction = 'to_crm'
  and decision = 'applied' and recorded_at > :since
""")

_MARKED = Template(
    "/* enerflo-sync reconcile $name: rows marked as deleted */ select count(*) from $crm t $which"
)

_HOLD = Template(f"""
/* enerflo-sync reconcile $name: rows that went all at once are no deletions yet */
update sync.differences set cause = '{Cause.GONE_AT_ONCE}'
where account = %(account)s and reconciliation_id = %(reconciliation_id)s and table_name = $table
  and field is null and crm_value is null
  and cause in ('{Cause.DELETED_IN_CRM}', '{Cause.VOIDED}', '{Cause.MISSING_IN_CRM}')
""")  # noqa: S608 - constants

_IN_DOUBT = sa.text("""
/* enerflo-sync plan: tables whose rows went all at once */
select report->'gone_at_once' from sync.reconciliations
where account = :account and finished_at is not null
  and (cast(:reconciliation_id as text) is null or reconciliation_id = :reconciliation_id)
order by compared_until desc, started_at desc limit 1
""")


class Level(msgspec.Struct, frozen=True):
    """How many living rows a CRM table has, and which number of rows is believed.

    :param signature: digest of the options that choose the rows; levels of other rows are not compared.
    :param believed: the believed number of rows, as of ``believed_at``; lost rows are counted from it.
    :param held: the level at which the table has stayed since ``held_since``; None where nothing is in doubt.
    """

    signature: str
    rows: int
    believed: int
    believed_at: datetime
    held: int | None = None
    held_since: datetime | None = None

    @property
    def in_doubt(self) -> bool:
        """Return whether rows are missing whose deletion is not believed."""
        return self.held is not None


def next_level(
    before: Level | None, signature: str, rows: int, now: datetime, guard_percent: int, own_deletions: int = 0
) -> Level:
    """Return the table's level after a reconciliation finds ``rows`` living rows at ``now``.

    :param before: the level of the previous reconciliation; None if there was none.
    :param own_deletions: rows that our plans deleted since ``before.believed_at``.
    """
    believed = Level(signature, rows, rows, now)
    if before is None or before.signature != signature:
        return believed
    # The database's clock may have been set back since.
    since = None if before.held_since is None else min(before.held_since, now)
    before = msgspec.structs.replace(before, believed_at=min(before.believed_at, now), held_since=since)
    if not is_sudden(before.believed - own_deletions, rows, guard_percent):
        # A small fall is believed in the end, but adds up with further falls within the hour.
        falls = not before.in_doubt and rows < before.believed and now - before.believed_at < PROOF
        return msgspec.structs.replace(before, rows=rows) if falls else believed
    if before.held is None or before.held_since is None:
        return msgspec.structs.replace(before, rows=rows, held=rows, held_since=now)
    less, more = sorted((before.held, rows))
    if is_sudden(more, less, guard_percent):
        return msgspec.structs.replace(before, rows=rows, held=rows, held_since=now)
    return believed if now - before.held_since >= PROOF else msgspec.structs.replace(before, rows=rows)


def is_sudden(before: int, rows: int, guard_percent: int) -> bool:
    """Return whether so many rows were lost that people cannot have deleted them."""
    gone = before - rows
    return gone >= FEWEST_ROWS and gone > before * guard_percent / 100


@dataclass
class LevelLook:
    """Notes a reconciliation's numbers of rows in the CRM's tables, in its transaction.

    :param before: the levels of the previous reconciliation, by table.
    """

    connection: sa.Connection
    account: str
    before: Mapping[str, Level]
    now: datetime
    guard_percent: int
    levels: dict[str, Level] = field(default_factory=dict)
    gone: list[GoneAtOnce] = field(default_factory=list)

    def look(self, comparison: Comparison, rows: int) -> GoneAtOnce | None:
        """Note how many living rows a table has; return a loss that is not believed, else None."""
        name, signature = str(comparison.name), _signature(comparison)
        # Under the name that the table has in sync.yaml by now, or else under one from before.
        same = (former for former, level in self.before.items() if level.signature == signature)
        noted_as = name if name in self.before else next(same, name)
        before = self.before.get(noted_as)
        counted = partial(next_level, before, signature, rows, self.now, self.guard_percent)
        level, own = counted(), 0
        if before is not None and level.in_doubt:
            own = self._own_deletions(noted_as, before.believed_at)
            level = counted(own)
        self.levels[name] = level
        if not level.in_doubt:
            return None
        found = GoneAtOnce(
            table_name=name,
            crm_table=full_name(comparison.mapping),
            gone=level.believed - own - rows,
            rows=rows,
            since=level.believed_at,
            marked=self._marked(comparison) if comparison.mapping.deleted_when else None,
        )
        self.gone.append(found)
        return found

    def _own_deletions(self, name: str, since: datetime) -> int:
        named = {"account": self.account, "table": name, "since": since}
        return int(self.connection.execute(_OWN_DELETIONS, named).scalar_one())

    def _marked(self, comparison: Comparison) -> int:
        which = f"where not ({comparison.living('t')})"
        statement = _MARKED.substitute(name=comparison.name, crm=comparison.crm, which=which)
        return int(self.connection.exec_driver_sql(statement, {}).scalar_one())


def _signature(comparison: Comparison) -> str:
    counted = comparison.mapping.model_dump(mode="json", include=set(_COUNTED_BY))
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]


def read_levels(connection: sa.Connection, account: str, reconciliation_id: str) -> dict[str, Level]:
    """Return the levels that the account's previous reconciliation stored, by table.

    :param reconciliation_id: of the present one, which may be a second attempt.
    """
    named = {"account": account, "reconciliation_id": reconciliation_id}
    return msgspec.convert(connection.scalar(_LAST, named) or {}, dict[str, Level])


def hold_back(connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]) -> None:
    """Give the stored differences of missing rows the cause that the table's loss is not believed yet.

    :param parameters: ``account`` and ``reconciliation_id``.
    """
    statement = _HOLD.substitute(name=comparison.name, table=literal(comparison.name))
    connection.exec_driver_sql(statement, parameters)


def tables_in_doubt(
    connection: sa.Connection, account: str, reconciliation_id: str | None
) -> dict[str, GoneAtOnce]:
    """Return the losses that a reconciliation did not believe, by table; of the last one if None."""
    named = {"account": account, "reconciliation_id": reconciliation_id}
    found = msgspec.convert(connection.scalar(_IN_DOUBT, named) or [], list[GoneAtOnce], strict=False)
    return {one.table_name: one for one in found}
