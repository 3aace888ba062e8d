"""The mismatched rows of one table with the facts by which reconciliation and plan judge them."""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.decision import (
    BLOCKING_RULES,
    POLICIES,
    WINNER_RULES,
    Resolution,
    constant_facts,
    rule_sql,
)
from enerflo_sync.crm.mapping import FieldType, NullRule, Side, mirror_type
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.agreed_pairs import (
    agreed_pair,
    enerflo_as_before,
    handed_over_elsewhere,
    kept_elsewhere,
    row_moved,
    row_replaced,
    same_as_agreed,
)
from enerflo_sync.reconcile.changed import (
    is_older,
    is_time_unsure,
    left_its_time,
)
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.doubtful import has_day_only, has_other_form, is_nulled
from enerflo_sync.reconcile.judged_rows import CHANGED, judged_rows
from enerflo_sync.reconcile.late_tools import tool_late
from enerflo_sync.reconcile.put_back import put_back
from enerflo_sync.reconcile.rewritten import rewritten
from enerflo_sync.reconcile.seen_otherwise import seen_otherwise
from enerflo_sync.reconcile.twin_marks import mark_of_field
from enerflo_sync.reconcile.values import (
    BLANK,
    Field,
    domain_of,
    mirror_kind,
    translated_back,
)
from enerflo_sync.reconcile.wide import facts_of_milestone

_CONSTANTS = (
    *POLICIES,
    "null_overwrites",
    "create_only",
    "crm_allowed",
    "enerflo_allowed",
    "enerflo_writable",
)
_OF_MILESTONE = ("milestone_twice", "milestone_missing")
_DOUBTS = ("other_form", "day_only", "copy_nulled")
_FACTS_OF_FIELD = (
    ("field", "null::text"),
    *((name, "null::jsonb") for name in ("mine", "theirs", "to_crm_value", "to_enerflo_value")),
    *((name, "false") for name in ("equal", "unreadable", "enerflo_null", "crm_null", *_DOUBTS)),
    *((name, "false") for name in ("crm_barred", "enerflo_barred", *_OF_MILESTONE, *_CONSTANTS)),
    ("milestone", "null::bigint"),
    ("seen_at", "o.observed_at"),
)

# A value that is equal as declared was not edited. Yet both sides' values can drift apart while each stays
# within the tolerance; then a side has changed if its exact value differs from the agreed one.
_MOVED = Template("""v.$side or a.agreed_by = 'comparison' and not (v.mine or v.theirs)
             and $now is distinct from $then""")

# o: a mismatched row; f: one of its differing fields; x: the facts; d: the numbers of the rules that decide;
# b: the CRM's agreed value; v: whether each side's value differs from its agreed value. `offset 0` makes
# PostgreSQL compute each part once instead of inlining it many times.
_JUDGED = Template("""$rows
  cross join lateral (
    select $names where false
    $fields
  ) f
  $beside
  $twin
  $pair
  cross join lateral (
    select case when a.crm_value is null then a.value else nullif(a.crm_value, 'null') end as theirs offset 0
  ) b
  cross join lateral (
    select a.account is not null and not $mine_same as mine,
           a.account is not null and not $theirs_same as theirs offset 0
  ) v
  cross join lateral (
    select $constants, f.enerflo_null, f.crm_null, $doubts, f.crm_barred, f.enerflo_barred,
           f.milestone_twice, f.milestone_missing,
           a.account is not null as base_known,
           coalesce(a.agreed_by <> 'comparison', false) as base_kept,
           coalesce(a.agreed_by = 'comparison' and $in_enerflo_then < a.agreed_at, false) as agreed_late,
           n.account is not null as was_twin,
           n.account is null and a.account is null and $replaced as row_replaced,
           n.account is null and (a.account is null and $row_moved or $handed_over) as row_moved,
           n.account is null and a.account is null and $kept_elsewhere as kept_elsewhere,
           n.account is null and a.account is null and $as_before as enerflo_as_before,
           coalesce(a.agreed_by = 'reworded', false) as own_word, $put_back as put_back,
           $tool_late as tool_late, $rewritten as rewritten,
           $crm_older as crm_older, $enerflo_older as enerflo_older,
           coalesce($mine_moved, false) as enerflo_moved, coalesce($theirs_moved, false) as crm_moved,
           coalesce(o.changed_in_crm > $in_enerflo_then, false) as crm_later,
           $unsure or $unmoved or $seen_otherwise as time_unsure offset 0
  ) x
  cross join lateral (select $winner as winner offset 0) w
  cross join lateral (
    select x.*, w.winner in ($to_crm) as to_crm, w.winner in ($to_enerflo) as to_enerflo
  ) y
  cross join lateral (select w.winner, $blocking as blocking offset 0) d""")

_OWN_SPELLING = """coalesce((
      select min(s.name) from enerflo.install_statuses s where s.account = %(account)s
        and s.deleted_at is null and lower(btrim(s.name)) = lower(btrim($value))), $value)"""

_VOIDS_BY_ID = Template("""exists (
      select from enerflo.install_statuses s where s.account = %(account)s
        and s.status_id = any(%(voided_ids)s::bigint[]) and lower(btrim(s.name)) = $name)""")

_FIELD = Template("""union all
    select $values
    where $differs""")


def judged(comparison: Comparison, beside: str = "") -> str:
    """Return the ``from`` part with ``o``, ``f``, ``a``, ``x``, ``y`` and ``d``: a row per differing field.

    Only rows that both sides have: :func:`enerflo_sync.reconcile.judged_rows.judged_rows` gives the others.
    Takes ``account`` and the parameters of :func:`enerflo_sync.reconcile.conditions.cause_parameters`.

    :param comparison: of the fields to judge (:func:`enerflo_sync.reconcile.differing_fields.of_differing`).
    :param beside: a further join with ``o`` and ``f``. It belongs before the facts: PostgreSQL takes these
        for so expensive that after them every way to join costs the same to it, and it took nested loops.
    """
    sides = {
        outcome: ", ".join(str(n) for n, rule in enumerate(WINNER_RULES) if rule.outcome is outcome)
        for outcome in (Resolution.TO_CRM, Resolution.TO_ENERFLO)
    }
    # In a wide table each field has its own milestone, and so its own time of observation.
    crm_older, enerflo_older = is_older(comparison)
    in_enerflo_then = f"least({CHANGED}, f.seen_at)" if comparison.is_wide else CHANGED
    return _JUDGED.substitute(
        rows=judged_rows(comparison, on_both=True),
        beside=beside,
        in_enerflo_then=in_enerflo_then,
        unsure=is_time_unsure(comparison, in_enerflo_then),
        unmoved=left_its_time(comparison),
        seen_otherwise=seen_otherwise(comparison, in_enerflo_then),
        crm_older=crm_older,
        enerflo_older=enerflo_older,
        names=", ".join(f"{value} as {name}" for name, value in _FACTS_OF_FIELD),
        fields="\n    ".join(_field(comparison, field) for field in comparison.fields),
        twin=mark_of_field(comparison),
        doubts=", ".join(f"f.{name}" for name in _DOUBTS),
        pair=agreed_pair(comparison),
        row_moved=row_moved(comparison),
        kept_elsewhere=kept_elsewhere(comparison),
        as_before=enerflo_as_before(comparison),
        handed_over=handed_over_elsewhere(comparison),
        put_back=put_back(comparison),
        tool_late=tool_late(comparison),
        rewritten=rewritten(comparison),
        replaced=row_replaced(comparison),
        mine_same=same_as_agreed(comparison, "f.mine", "a.value"),
        theirs_same=same_as_agreed(comparison, "f.theirs", "b.theirs", in_crm=True),
        mine_moved=_MOVED.substitute(side="mine", now="f.mine", then="a.value"),
        theirs_moved=_MOVED.substitute(side="theirs", now="f.theirs", then="b.theirs"),
        constants=", ".join(f"f.{name}" for name in _CONSTANTS),
        winner=rule_sql(WINNER_RULES, "x"),
        to_crm=sides[Resolution.TO_CRM],
        to_enerflo=sides[Resolution.TO_ENERFLO],
        blocking=rule_sql(BLOCKING_RULES, "y"),
    )


def _field(comparison: Comparison, field: Field) -> str:
    values = {
        "field": literal(field.name),
        "mine": field.enerflo.shown,
        "theirs": field.crm.shown,
        "to_crm_value": enerflo_value_for_crm(field),
        "to_enerflo_value": crm_value_for_enerflo(comparison, field),
        "equal": field.equal,
        "unreadable": f"{field.crm.rest} is not null",
        "enerflo_null": _is_null(field, field.enerflo.shown),
        "crm_null": _is_null(field, field.crm.shown),
        "other_form": has_other_form(comparison, field),
        "day_only": has_day_only(field),
        "copy_nulled": is_nulled(comparison, field),
        "crm_barred": "false",
        "enerflo_barred": "false",
        "milestone_twice": "false",
        "milestone_missing": "false",
        "milestone": "null::bigint",
        "seen_at": "o.observed_at",
    }
    if comparison.is_wide:
        values |= facts_of_milestone(field.number, field.equal)
    if comparison.is_installs and field.mapping.enerflo == "status_name":
        if Side.CRM not in comparison.mapping.void_in:
            values["crm_barred"] = "o.voided"
        if Side.ENERFLO not in comparison.mapping.void_in:
            values["enerflo_barred"] = _voids(crm_value_for_enerflo(comparison, field))
    constants = constant_facts(comparison.kind, comparison.mapping, field.mapping)
    values |= {name: str(constants[name]).lower() for name in _CONSTANTS}
    return _FIELD.substitute(
        values=", ".join(values[name] for name, _ in _FACTS_OF_FIELD), differs=field.differs
    )


def _voids(value: str) -> str:
    """Return the condition that a status is a voided one, which ``sync.yaml`` declares by name or by id."""
    name = f"lower(btrim({value} #>> '{{}}'))"
    return f"({name} = any(%(voided_names)s::text[]) or {_VOIDS_BY_ID.substitute(name=name)}) is true"


def _is_null(field: Field, shown: str) -> str:
    if field.mapping.null is NullRule.EMPTY_IS_NULL:
        return f"coalesce(btrim({shown} #>> '{{}}', {BLANK}), '') = ''"
    return f"({shown}) is null"


def enerflo_value_for_crm(field: Field) -> str:
    """Return Enerflo's value in the CRM's form, as JSON."""
    return f"to_jsonb({field.enerflo.value})" if field.mapping.type is FieldType.TEXT else field.enerflo.shown


def crm_value_for_enerflo(comparison: Comparison, field: Field) -> str:
    """Return the CRM's value in Enerflo's form, as JSON; a status in the company's own spelling.

    Enerflo stores moments, so a day becomes the first moment of that day in the mapping's zone.
    """
    mapping = field.mapping
    by_day = domain_of(mapping, comparison.live.columns[field.name]) is FieldType.DATE
    if by_day and _keeps_moments(comparison, field):
        zone = literal(mapping.time_zone or comparison.mapping.time_zone)
        return f"to_jsonb({field.crm.value}::timestamp at time zone {zone})"
    if mapping.type is FieldType.TIMESTAMP and not by_day:
        return f"to_jsonb({field.crm.value})"
    if mapping.type is not FieldType.TEXT:
        return field.crm.shown
    value = f"btrim({field.crm.value}, {BLANK})" if mapping.trim else field.crm.value
    value = translated_back(value, mapping, field.fold)
    if comparison.is_installs and mapping.enerflo == "status_name":
        value = Template(_OWN_SPELLING).substitute(value=value)
    return f"to_jsonb({value})"


def _keeps_moments(comparison: Comparison, field: Field) -> bool:
    kind = mirror_kind(mirror_type(comparison.kind, comparison.mapping, field.mapping.enerflo))
    return kind is Kind.TIMESTAMPTZ
