"""Conditions over mismatched rows: quarantined, voided or just changed; and the rows' keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from string import Template
from typing import Any

from enerflo_sync.crm.config import StatusNames
from enerflo_sync.crm.mapping import MIRROR_TABLES, RecordKind
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.join_columns import stored_join_key
from enerflo_sync.reconcile.values import WHOLE_TEXT


def quarantined(comparison: Comparison, alias: str) -> str:
    """Return the condition that a record, or its install, has an open item in quarantine.

    ``alias`` has the columns ``p1…`` and ``owner`` of ``mismatched``.
    """
    keys = ", ".join(f"{alias}.p{n}" for n, _ in enumerate(comparison.mirror_key, 1))
    conditions = [_among_items(keys, MIRROR_TABLES[comparison.kind], comparison.mirror_key)]
    if comparison.mirror_has_install and not comparison.is_installs:
        conditions.append(_among_items(f"{alias}.owner", MIRROR_TABLES[RecordKind.INSTALLS], ["install_id"]))
    return "(" + " or ".join(conditions) + ")"


# `offset 0` keeps PostgreSQL from running the cast before the text is checked.
_ITEMS = Template("""coalesce(($keys) in (
    select $ids from (
      select q.key from sync.quarantine q
      where q.account = %(account)s and q.state = 'open' and q.table_name = $table and $whole offset 0
    ) q), false)""")


def _among_items(keys: str, table: str, columns: Sequence[str]) -> str:
    texts = [f"q.key->>{literal(column)}" for column in columns]
    return _ITEMS.substitute(
        keys=keys,
        ids=", ".join(f"({text})::bigint" for text in texts),
        table=literal(table),
        whole=" and ".join(f"{text} ~ {literal(WHOLE_TEXT)}" for text in texts),
    )


def voided(alias: str, prefix: str = "install_status") -> str:
    """Return the condition that an install is voided: ``alias`` has ``<prefix>_id`` and ``<prefix>_name``."""
    return status_among("voided", alias, prefix)


def status_among(kind: str, alias: str, prefix: str) -> str:
    """Return the condition that a status is one of a kind; takes :func:`kind_parameters`."""
    return (
        f"coalesce({alias}.{prefix}_id = any(%({kind}_ids)s::bigint[])"
        f" or lower(btrim({alias}.{prefix}_name)) = any(%({kind}_names)s::text[]), false)"
    )


def kind_parameters(kind: str, statuses: Iterable[str | int]) -> dict[str, Any]:
    """Return the statuses of a kind, given by name or id, as the parameters that a condition takes."""
    given = list(statuses)
    return {
        f"{kind}_ids": [status for status in given if isinstance(status, int)],
        f"{kind}_names": [status.strip().lower() for status in given if isinstance(status, str)],
    }


# An install has its own status; other records have their install's.
OWNERS = """left join lateral (
    select i.status_id as install_status_id, i.status_name as install_status_name,
           i.updated_at as install_updated_at, i.observed_at as install_observed_at
    from enerflo.installs i
    where i.account = %(account)s and i.install_id = o.owner and i.deleted_at is null
  ) i on true"""


def believed_change(alias: str) -> str:
    """Return when the CRM's row says it changed; null if that time lies too far in the future.

    A time in the future would excuse its row's differences, and make it the newer row, for as long as it lies
    ahead.
    """
    return f"case when {alias}.changed_at <= %(now)s::timestamptz + %(delay)s then {alias}.changed_at end"


def young(alias: str) -> str:
    """Return the condition that one side changed so recently that the sync may not have followed yet."""
    moved = f"greatest({alias}.observed_at, {believed_change(alias)})"
    return f"coalesce({moved} > %(now)s::timestamptz - %(delay)s, false)"


def cause_parameters(statuses: StatusNames, now: datetime, in_flight_minutes: int) -> dict[str, Any]:
    """Return the parameters of this module's conditions, except ``account``."""
    return {
        **kind_parameters("voided", statuses.voided),
        "now": now,
        "delay": timedelta(minutes=in_flight_minutes),
    }


def difference_key(comparison: Comparison) -> str:
    """Return the jsonb key of a mismatched row: the CRM row's key, or the join key if there is none."""
    mine = stored_join_key(comparison.joins, "o")
    theirs = comparison.crm_key(f"o.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1))
    return f"case when o.in_crm then {theirs} else {mine} end"


def joined_ids(comparison: Comparison, alias: str) -> dict[str, str]:
    """Return the mirror's columns in the join key, each as a bigint, as Enerflo's ids are.

    ``alias`` has ``j1…``; a value that is not a whole number becomes null.
    """
    ids = {}
    for n, join in enumerate(comparison.joins, 1):
        value = f"trim_scale({alias}.j{n})" if join.type == "numeric" else f"{alias}.j{n}"
        ids[join.mirror_name] = (
            f"(case when {value}::text ~ {literal(WHOLE_TEXT)} then {value}::text::bigint end)"
        )
    return ids


def pending_changes(comparison: Comparison, columns: str) -> str:
    """Return the select of ``columns`` of changes ``p`` in plans that wait or are being applied.

    Changes that the table's mode forbids to apply are not included: in report mode a plan is only shown.
    Takes ``account`` and ``now``.
    """
    return (
        f"select {columns} from sync.plan_changes p join sync.plans q using (account, plan_hash)"  # noqa: S608
        f" where p.account = %(account)s and p.table_name = {literal(comparison.name)}"
        f" and p.direction = any('{{{','.join(sorted(comparison.mode.writes))}}}'::text[])"
        " and p.state in ('planned', 'sent') and q.state in ('open', 'approved') and q.expires_at > %(now)s"
    )
