"""Lists refusals and opens refused changes again, so that the next plan may contain them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.decided_plan import require_person
from enerflo_sync.plan.parts import record_name
from enerflo_sync.plan.reads import read_plan

_STANDING = sa.text("""
/* enerflo-sync reopen: what stands refused */
select refusal_id, table_name, key, enerflo_key, op, field, direction, before, after, plan_hash, decided_by,
  decided_at, reason
from sync.refusals
where account = :account and ended_at is null
  and (cast(:table as text) is null or table_name = :table)
  and (cast(:plan_hash as text) is null or plan_hash = :plan_hash)
  and (cast(:ids as bigint[]) is null or refusal_id = any(:ids))
order by table_name, key::text, field nulls first, refusal_id
""").bindparams(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))

_END = sa.text("""
/* enerflo-sync reopen: refused changes may be planned again */
update sync.refusals set ended_at = now(), ended_by = :who, end_reason = 'opened again'
where account = :account and refusal_id = any(:ids) and ended_at is null
""").bindparams(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A change that a person refused: who, when and why; ``field`` is None for a whole row."""

    refusal_id: int
    table_name: str
    key: Mapping[str, Any]
    enerflo_key: Mapping[str, Any] | None
    op: str
    field: str | None
    direction: str
    before: Any
    after: Any
    plan_hash: str
    decided_by: str
    decided_at: datetime
    reason: str | None


@dataclass(frozen=True)
class WhichRefusals:
    """A selection of refusals: all refusals of the account if nothing is given.

    :param table: the name of the mapped table, such as installs.
    :param key: the CRM's key, its parts joined by ``/``; or ``enerflo:`` and the record's ids at Enerflo.
    :param field: a CRM column.
    :param plan_hash: select the refusals of one rejected plan; at least the first eight characters of its
        hash.
    :param ids: select the refusals with these numbers.
    """

    table: str | None = None
    key: str | None = None
    field: str | None = None
    plan_hash: str | None = None
    ids: Sequence[int] = ()


def standing_refusals(
    connection: sa.Connection, config: SyncConfig, account: str, which: WhichRefusals
) -> list[Refusal]:
    """Return the selected refusals that have not ended, unmasked.

    :raises ConfigurationError: there is no such plan.
    """
    plan_hash = which.plan_hash and read_plan(connection, account, which.plan_hash, counted=False).plan_hash
    named = {"account": account, "table": which.table, "plan_hash": plan_hash, "ids": list(which.ids) or None}
    rows = connection.execute(_STANDING, named).mappings()
    columns = {name: table.key_columns for name, table in config.tables_for(account).items()}
    return [Refusal(**row) for row in rows if _fits(dict(row), which, columns.get(row["table_name"], ()))]


def reopen(
    connection: sa.Connection, config: SyncConfig, account: str, which: WhichRefusals, *, by: str
) -> list[Refusal]:
    """End the selected refusals so that the changes may be planned again, and return them unmasked.

    Runs in the caller's transaction.

    :param by: the person who opens them again.
    :raises ConfigurationError: no refusal is selected, the key fits several records, or nobody is named.
    """
    who = require_person(by, "--by")
    found = standing_refusals(connection, config, account, which)
    if not found:
        raise ConfigurationError(
            "there is no such refusal.",
            where="reopen",
            next_step="enerflo-sync reopen without arguments lists all refusals.",
        )
    key = (which.key or "").removeprefix("enerflo:")
    records = {(refusal.table_name, repr(sorted(refusal.key.items()))) for refusal in found}
    if key and key == which.key and len(records) > len({table for table, _ in records}):
        raise ConfigurationError(
            "more than one record reads like this.",
            where=f"key {key[:60]!r}",
            next_step="Name the record by enerflo: and its ids, or open all refusals of one plan.",
        )
    ids = [refusal.refusal_id for refusal in found]
    connection.execute(_END, {"account": account, "ids": ids, "who": who})
    return found


def _fits(row: Mapping[str, Any], which: WhichRefusals, columns: Sequence[str]) -> bool:
    # A refusal of a created or deleted row covers all its fields.
    if which.field is not None and row["field"] not in (which.field, None):
        return False
    if which.key is None:
        return True
    names = [record_name(row["key"], columns)]
    if row["enerflo_key"]:
        names.append("enerflo:" + record_name(row["enerflo_key"], ()))
    return which.key in names
