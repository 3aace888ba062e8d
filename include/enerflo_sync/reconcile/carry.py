"""Differences that an incremental run takes over from the one before, unjudged.

A difference whose row did not move keeps its cause when no passing of time, quarantine item or voided
install can change it. Most differences of a quiet day are such, and a copy is all that they cost.
"""

from __future__ import annotations

from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import joined_ids, pending_changes, quarantined, voided
from enerflo_sync.reconcile.join_columns import keys_of_difference, wanted_difference
from enerflo_sync.reconcile.on_its_way import handed_over_keys
from enerflo_sync.reconcile.report import Cause

# Causes that stay until one of the two rows moves, its install is voided or it falls into quarantine, a plan
# covers it or another value is agreed on.
_SETTLED = (
    Cause.DELETED_IN_ENERFLO,
    Cause.DELETED_IN_CRM,
    Cause.MISSING_IN_CRM,
    Cause.MISSING_IN_ENERFLO,
    Cause.EQUAL_AFTER_NORMALISATION,
    Cause.POLICY,
    Cause.LEFT_APART,
    Cause.CONFLICT,
    Cause.EDITED_IN_CRM,
    Cause.EDITED_IN_ENERFLO,
    Cause.UNEXPLAINED,
)


def settled_causes(comparison: Comparison) -> list[str]:
    """Return the causes that a row's difference keeps while the row does not move.

    An install's row carries the status by which it is voided; what belongs to an install does not.
    """
    own = (Cause.VOIDED,) if comparison.is_installs else ()
    return [str(cause) for cause in (*_SETTLED, *own)]


def can_carry(comparison: Comparison) -> bool:
    """Return whether a difference's key alone says which records, and which install, it is about."""
    owner_known = not comparison.mirror_has_install or any(
        j.mirror_name == "install_id" for j in comparison.joins
    )
    return (
        comparison.mapping.joined_by_key
        and comparison.mirror_unique
        and not comparison.compares_loose
        and owner_known
    )


_UNSETTLED = Template("""
  union all
  select $joins from (
    select d.*, $ids, $owner as owner from (
      select $keys, d.key, d.field, d.cause from sync.differences d
      where d.account = %(account)s and d.reconciliation_id = %(previous)s and d.table_name = $table
    ) d
  ) d where d.cause <> all(%(settled)s::text[]) or $outside or $quarantined or $voided or d.key in ($pending)
    or exists (
      select from sync.agreed a where a.account = %(account)s and a.table_name = $table and a.key = d.key
        and a.agreed_at > %(since)s)
    or $handed_over
""")

_VOIDED = Template("""d.owner in (
    select i.install_id from enerflo.installs i
    where i.account = %(account)s and i.observed_at > %(since)s and i.deleted_at is null and $voided)""")


def unsettled_keys(comparison: Comparison) -> str:
    """Return the part of the wanted keys that differed before and may get another cause by now.

    Takes ``account``, ``previous``, ``since``, ``settled`` and the statuses of a voided install.
    """
    known = joined_ids(comparison, "d")
    of_install = comparison.mirror_has_install and not comparison.is_installs
    return _UNSETTLED.substitute(
        joins=comparison.join_names("d"),
        ids=", ".join(f"{known[name]} as p{n}" for n, name in enumerate(comparison.mirror_key, 1)),
        owner=known.get("install_id", "null::bigint"),
        keys=", ".join(f"{key} as j{n}" for n, key in enumerate(keys_of_difference(comparison.joins), 1)),
        table=literal(comparison.name),
        # A row outside may go without a trace.
        outside="false" if comparison.mapping.condition is None else "d.field is null and d.cause = 'policy'",
        quarantined=quarantined(comparison, "d"),
        pending=pending_changes(comparison, "p.key"),
        handed_over=handed_over_keys(comparison),
        voided=_VOIDED.substitute(voided=voided("i", "status")) if of_install else "false",
    )


_SETTLED_BEFORE = """d.account = %(account)s and d.reconciliation_id = %(previous)s
  and d.table_name = $table and d.cause = any(%(settled)s::text[])"""

_ONE_SIDED_KEYS = Template(f"""union
select $keys from sync.differences d where {_SETTLED_BEFORE} and d.field is null""")  # noqa: S608 - a constant


def one_sided_keys(comparison: Comparison) -> str:
    """Return the keys of the settled records that stood on one side only when the last run ended."""
    return _ONE_SIDED_KEYS.substitute(
        keys=", ".join(f"{key} as j{n}" for n, key in enumerate(keys_of_difference(comparison.joins), 1)),
        table=literal(comparison.name),
    )


# Causes of settled records that only Enerflo has.
_ENERFLOS = "('missing_in_crm', 'deleted_in_crm', 'voided')"

_CARRY = Template(f"""
/* enerflo-sync reconcile $name: differences whose rows did not move */
with settled as materialized (
  select d.key, d.field, d.enerflo_value, d.crm_value, d.cause, d.since, d.hint, $keys from sync.differences d
  where {_SETTLED_BEFORE} and not exists (select from $wanted w where $on)
), stored as (
  insert into sync.differences
    (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause, since, hint)
  select %(account)s, %(reconciliation_id)s, $table, key, field, enerflo_value, crm_value, cause, since, hint
  from settled
)
select count(*) filter (where field is null and cause in {_ENERFLOS}) as only_enerflo,
       count(*) filter (where field is null and cause not in {_ENERFLOS}) as only_crm,
       coalesce(sum($digest) filter (where field is null and cause in {_ENERFLOS}), 0) as enerflo_keys,
       coalesce(sum($digest) filter (where field is null and cause not in {_ENERFLOS}), 0) as crm_keys,
       (select count(*) from (select from settled where field is not null group by $joins) r) as differing
from settled
""")  # noqa: S608 - a constant


def carry(connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]) -> dict[str, int]:
    """Copy the settled differences of unwanted keys and return what kind of rows they are about."""
    query = _CARRY.substitute(
        name=comparison.name,
        keys=", ".join(f"{key} as j{n}" for n, key in enumerate(keys_of_difference(comparison.joins), 1)),
        joins=comparison.join_names(),
        digest=comparison.key_digest([f"j{n}" for n, _ in enumerate(comparison.joins, 1)]),
        table=literal(comparison.name),
        wanted=comparison.wanted,
        on=wanted_difference(comparison.joins),
    )
    return dict(connection.exec_driver_sql(query, parameters).mappings().one())
