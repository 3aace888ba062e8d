"""Which cause a difference gets: rules in the order of :class:`Cause`, the first that fits wins."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from enerflo_sync.crm.decision import BLOCKING_RULES, WINNER_RULES, Outcome
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import joined_ids, pending_changes, quarantined
from enerflo_sync.reconcile.judge import judged
from enerflo_sync.reconcile.report import Cause

AGREED_APART = next(n for n, rule in enumerate(WINNER_RULES) if rule.name == "agreed_apart")

_KEEPING = ", ".join(str(n) for n, rule in enumerate(BLOCKING_RULES) if rule.outcome is Outcome.KEEP)

# Conditions over what :mod:`enerflo_sync.reconcile.judge` yields. Rows that share a key now have a statement of
# their own.
RULES: Sequence[tuple[Cause, str]] = (
    (Cause.QUARANTINED, "o.quarantined"),
    (Cause.DUPLICATE_IDENTITY, "x.was_twin and not f.equal"),
    (Cause.DELETED_IN_ENERFLO, "o.tombstone"),
    (Cause.DELETED_IN_CRM, "o.was_agreed"),
    (Cause.VOIDED, "o.voided"),
    (Cause.MISSING_IN_CRM, "not o.in_crm"),
    (Cause.MISSING_IN_ENERFLO, "not o.in_enerflo"),
    (Cause.EQUAL_AFTER_NORMALISATION, f"f.equal or (d.winner = {AGREED_APART} and a.agreed_by = 'push')"),
    (Cause.IN_FLIGHT, "o.young"),
    (Cause.PLANNED, "(o.key, f.field) in ($pending and p.op = 'update')"),
    (Cause.POLICY, f"d.blocking in ({_KEEPING}) or d.winner = {AGREED_APART}"),
    (Cause.CONFLICT, "x.enerflo_moved and x.crm_moved"),
    (Cause.EDITED_IN_CRM, "x.crm_moved"),
    (Cause.EDITED_IN_ENERFLO, "x.enerflo_moved"),
)


def cause_of(plan: Comparison, *without: Cause) -> str:
    """Return the SQL expression of a difference's cause; takes ``account`` and ``now``.

    :param without: causes that a statement does not ask for.
    """
    cases = " ".join(f"when {condition} then '{cause}'" for cause, condition in RULES if cause not in without)
    pending = pending_changes(plan, "p.key, p.field")
    return Template(f"case {cases} else '{Cause.UNEXPLAINED}' end").substitute(pending=pending)


_DIFFERENCES = Template("""
/* enerflo-sync reconcile $name: differences with their causes */
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause)
select %(account)s, %(reconciliation_id)s, $table, o.key, f.field, f.mine, f.theirs, $cause
from $judged
""")


def differences_statement(plan: Comparison) -> str:
    """Return the statement that stores a row per differing field, and one per record on one side only.

    Takes ``account``, ``reconciliation_id`` and :func:`cause_parameters`.
    """
    return _DIFFERENCES.substitute(
        name=plan.name, table=literal(plan.name), cause=cause_of(plan), judged=judged(plan)
    )


_DUPLICATES = Template("""
/* enerflo-sync reconcile $name: join keys that more than one row has */
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause)
select %(account)s, %(reconciliation_id)s, $table, $join, null, null, d.rows,
       case when $quarantined then 'quarantined' else 'duplicate_identity' end
from (
  select $joined, $key, $owner as owner,
         jsonb_build_object(
           'rows', count(*), 'keys', to_jsonb((array_agg($crm_key order by $crm_key))[1:10])) as rows
  from $twice d left join $crm t on $on
  group by $joined
) d
""")


def duplicates_statement(plan: Comparison) -> str:
    """Return the statement that stores one difference for each join key that more than one row has.

    Its CRM value says how many rows there are, and names ten of them by their keys.
    """
    known = joined_ids(plan, "d")
    return _DUPLICATES.substitute(
        name=plan.name,
        table=literal(plan.name),
        join=jsonb_object((join.crm_name, f"d.j{n}") for n, join in enumerate(plan.joins, 1)),
        joined=plan.join_names("d"),
        key=", ".join(
            f"{known.get(name, 'null::bigint')} as p{n}" for n, name in enumerate(plan.mirror_key, 1)
        ),
        owner=known.get("install_id") or _owner_in_mirror(plan),
        crm_key=plan.crm_key(f"t.{quoted(name)}" for name in plan.mapping.key_columns),
        quarantined=quarantined(plan, "d"),
        twice=plan.twice,
        crm=plan.crm_rows,
        on=" and ".join(f"({join.crm})::{join.type} = d.j{n}" for n, join in enumerate(plan.joins, 1)),
    )


_OWNER = Template("(select min(e.install_id) from $mirror e where $rows and $on)")


def _owner_in_mirror(plan: Comparison) -> str:
    if not plan.mirror_has_install:
        return "null::bigint"
    on = " and ".join(f"({join.mirror})::{join.type} = d.j{n}" for n, join in enumerate(plan.joins, 1))
    return _OWNER.substitute(mirror=plan.mirror, rows=plan.mirror_rows, on=on)
