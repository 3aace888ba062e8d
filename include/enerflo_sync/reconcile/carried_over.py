"""Carry stored differences over from the previous reconciliation without judging them again.

A difference keeps its cause while its row does not change, unless its age, a quarantine item or a voided
install can change the cause. On a quiet day most differences are like this, and copying them is cheap.
"""

from __future__ import annotations

from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import joined_ids, pending_changes, quarantined, voided
from enerflo_sync.reconcile.fit.hint_columns import hint_detail, hint_word
from enerflo_sync.reconcile.join_columns import keys_of_difference, wanted_difference
from enerflo_sync.reconcile.on_its_way import handed_over_keys
from enerflo_sync.reconcile.report import Cause

# Such a cause stays until one of the two rows changes, the install is voided or quarantined, a plan covers
# the difference, or both sides agree on another value.
_LASTING = (
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


def lasting_causes(comparison: Comparison) -> list[str]:
    """Return the causes that a row's difference keeps while the row does not change.

    ``voided`` is among them for installs only: a voided status changes the install's own row, but not the
    rows that belong to the install.
    """
    own = (Cause.VOIDED,) if comparison.is_installs else ()
    return [str(cause) for cause in (*_LASTING, *own)]


def can_carry(comparison: Comparison) -> bool:
    """Return whether a difference's key alone identifies its records and its install."""
    owner_known = not comparison.mirror_has_install or any(
        j.mirror_name == "install_id" for j in comparison.joins
    )
    return (
        comparison.mapping.joined_by_key
        and comparison.mirror_unique
        and not comparison.compares_loose
        and owner_known
    )


_REJUDGED = Template("""
  union all
  select $joins from (
    select d.*, $ids, $owner as owner from (
      select $keys, d.key, d.field, d.cause from sync.differences d
      where d.account = %(account)s and d.reconciliation_id = %(previous)s and d.table_name = $table
    ) d
  ) d where d.cause <> all(%(lasting)s::text[]) or $outside or $quarantined or $voided or d.key in ($pending)
    or exists (
      select from sync.agreed a where a.account = %(account)s and a.table_name = $table and a.key = d.key
        and a.agreed_at > %(since)s)
    or $handed_over
""")

_VOIDED = Template("""d.owner in (
    select i.install_id from enerflo.installs i
    where i.account = %(account)s and i.observed_at > %(since)s and i.deleted_at is null and $voided)""")


def rejudged_keys(comparison: Comparison) -> str:
    """Return the part of the wanted keys whose differences of the previous run may get another cause now.

    Takes ``account``, ``previous``, ``since``, ``lasting`` and the statuses of a voided install.
    """
    known = joined_ids(comparison, "d")
    of_install = comparison.mirror_has_install and not comparison.is_installs
    return _REJUDGED.substitute(
        joins=comparison.join_names("d"),
        ids=", ".join(f"{known[name]} as p{n}" for n, name in enumerate(comparison.mirror_key, 1)),
        owner=known.get("install_id", "null::bigint"),
        keys=", ".join(f"{key} as j{n}" for n, key in enumerate(keys_of_difference(comparison.joins), 1)),
        table=literal(comparison.name),
        # A row that does not meet ``where`` can change without being noticed.
        outside="false" if comparison.mapping.condition is None else "d.field is null and d.cause = 'policy'",
        quarantined=quarantined(comparison, "d"),
        pending=pending_changes(comparison, "p.key"),
        handed_over=handed_over_keys(comparison),
        voided=_VOIDED.substitute(voided=voided("i", "status")) if of_install else "false",
    )


_CARRIED_BEFORE = """d.account = %(account)s and d.reconciliation_id = %(previous)s
  and d.table_name = $table and d.cause = any(%(lasting)s::text[])"""

_ONE_SIDED_KEYS = Template(f"""union
select $keys from sync.differences d where {_CARRIED_BEFORE} and d.field is null""")  # noqa: S608 - a constant


def one_sided_keys(comparison: Comparison) -> str:
    """Return the keys of carried records that only one side had when the previous run ended."""
    return _ONE_SIDED_KEYS.substitute(
        keys=", ".join(f"{key} as j{n}" for n, key in enumerate(keys_of_difference(comparison.joins), 1)),
        table=literal(comparison.name),
    )


# Causes of carried records that only Enerflo has.
_ENERFLOS = "('missing_in_crm', 'deleted_in_crm', 'voided')"

_CARRY = Template(f"""
/* enerflo-sync reconcile $name: differences whose rows did not move */
with carried as materialized (
  select d.key, d.field, d.enerflo_value, d.crm_value, d.cause, d.since, d.unchanged_since,
         $word as hint, $detail as hint_detail, $keys
  from sync.differences d
  where {_CARRIED_BEFORE} and not exists (select from $wanted w where $on)
), stored as (
  insert into sync.differences
    (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause,
     since, first_seen_at, unchanged_since, hint, hint_detail)
  select %(account)s, %(reconciliation_id)s, $table, key, field, enerflo_value, crm_value, cause,
         since, since, unchanged_since, hint, hint_detail
  from carried
)
select count(*) filter (where field is null and cause in {_ENERFLOS}) as only_enerflo,
       count(*) filter (where field is null and cause not in {_ENERFLOS}) as only_crm,
       coalesce(sum($digest) filter (where field is null and cause in {_ENERFLOS}), 0) as enerflo_keys,
       coalesce(sum($digest) filter (where field is null and cause not in {_ENERFLOS}), 0) as crm_keys,
       (select count(*) from (select from carried where field is not null group by $joins) r) as differing
from carried
""")  # noqa: S608 - a constant


def carry_over(
    connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]
) -> dict[str, int]:
    """Copy the differences of unwanted keys that keep their cause; return their number by kind of row."""
    query = _CARRY.substitute(
        name=comparison.name,
        keys=", ".join(f"{key} as j{n}" for n, key in enumerate(keys_of_difference(comparison.joins), 1)),
        joins=comparison.join_names(),
        digest=comparison.key_digest([f"j{n}" for n, _ in enumerate(comparison.joins, 1)]),
        table=literal(comparison.name),
        wanted=comparison.wanted,
        on=wanted_difference(comparison.joins),
        # Rows of older programs have the detail in the hint.
        word=hint_word("d.hint"),
        detail=f"coalesce(d.hint_detail, {hint_detail('d.hint')})",
    )
    return dict(connection.exec_driver_sql(query, parameters).mappings().one())
