"""Which cause a difference gets: the first rule that fits, in the order of :class:`Cause`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from string import Template

from enerflo_sync.crm.decision import BLOCKING_RULES, WINNER_RULES, Resolution
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.carried_over import can_carry
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import joined_ids, pending_changes, quarantined
from enerflo_sync.reconcile.fit.hint_columns import hint_detail, hint_word
from enerflo_sync.reconcile.fit.hints import difference_hint
from enerflo_sync.reconcile.fit.labels import label_statement
from enerflo_sync.reconcile.fit.newer import newer_hint
from enerflo_sync.reconcile.fit.swapped import swapped_statement
from enerflo_sync.reconcile.join_columns import stored_join_key, wanted_difference
from enerflo_sync.reconcile.judge import judged
from enerflo_sync.reconcile.judged_rows import judged_rows
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.on_its_way import field_on_its_way, row_on_its_way
from enerflo_sync.reconcile.report import Cause

# What has differed for longer is not in flight, unless reconcile.in_flight_minutes is longer.
LONGEST_IN_FLIGHT = timedelta(days=1)

_AGREED_APART = ", ".join(str(n) for n, rule in enumerate(WINNER_RULES) if rule.name == "agreed_apart")

_KEEPING = ", ".join(str(n) for n, rule in enumerate(BLOCKING_RULES) if rule.outcome is Resolution.KEEP)

# Conditions over the columns of :mod:`enerflo_sync.reconcile.judged_rows` and of
# :mod:`enerflo_sync.reconcile.judge`. Rows that share a key have a statement of their own
# (:func:`duplicates_statement`).
ROW_RULES: Sequence[tuple[Cause, str]] = (
    (Cause.QUARANTINED, "o.quarantined"),
    (Cause.ON_ITS_WAY, "$on_its_way"),
    (Cause.DELETED_IN_ENERFLO, "o.tombstone"),
    (Cause.DELETED_IN_CRM, "o.was_agreed"),
    (Cause.VOIDED, "o.voided"),
    (Cause.MISSING_IN_CRM, "not o.in_crm and not o.stands_outside"),
    (Cause.MISSING_IN_ENERFLO, "not o.in_enerflo"),
    (Cause.POLICY, "o.stands_outside"),
)
FIELD_RULES: Sequence[tuple[Cause, str]] = (
    (Cause.QUARANTINED, "o.quarantined"),
    (Cause.DUPLICATE_IDENTITY, "x.was_twin and not f.equal or x.milestone_twice"),
    (Cause.ON_ITS_WAY, "not f.equal and $on_its_way"),
    (Cause.VOIDED, "o.voided"),
    (Cause.MISSING_IN_ENERFLO, "x.milestone_missing"),
    (Cause.EQUAL_AFTER_NORMALISATION, f"f.equal or (d.winner in ({_AGREED_APART}) and a.agreed_by = 'push')"),
    # A copy that is loaded again gives its rows a new time. What stood as it is for longer is not on its way.
    # Nor is what has differed for a day, with whatever values: one side may compute another value each time.
    (
        Cause.IN_FLIGHT,
        "o.young and u.unchanged_since > %(now)s::timestamptz - %(delay)s"
        f" and u.since > %(now)s::timestamptz - greatest(%(delay)s, interval '{LONGEST_IN_FLIGHT.days} day')",
    ),
    (Cause.PLANNED, "(o.key, f.field) in ($pending and p.op = 'update')"),
    (Cause.POLICY, "$declared"),
    (Cause.LEFT_APART, f"d.blocking in ({_KEEPING}) or d.winner in ({_AGREED_APART})"),
    (Cause.CONFLICT, "x.enerflo_moved and x.crm_moved"),
    (Cause.EDITED_IN_CRM, "x.crm_moved"),
    (Cause.EDITED_IN_ENERFLO, "x.enerflo_moved"),
)


def cause_of_row(comparison: Comparison, *without: Cause) -> str:
    """Return the SQL expression of why only one side has a record; takes ``account`` and ``now``.

    :param without: causes that the statement does not need.
    """
    return _cause(comparison, ROW_RULES, without, row_on_its_way, {})


def cause_of_field(comparison: Comparison, *without: Cause) -> str:
    """Return the SQL expression of a differing field's cause; takes ``account`` and ``now``.

    :param without: causes that the statement does not need.
    """
    parts = {"pending": pending_changes(comparison, "p.key, p.field"), "declared": _declared(comparison)}
    return _cause(comparison, FIELD_RULES, without, field_on_its_way, parts)


def _cause(
    comparison: Comparison,
    rules: Sequence[tuple[Cause, str]],
    without: Collection[Cause],
    waits: Callable[..., str],
    parts: dict[str, str],
) -> str:
    cases = []
    for cause, condition in rules:
        if cause in without or (cause is Cause.ON_ITS_WAY and not comparison.hands_over):
            continue
        cases.append(f"when {condition} then '{cause}'")
        if cause is Cause.ON_ITS_WAY:
            parts["on_its_way"], parts["late"] = waits(comparison), waits(comparison, late=True)
            # A change that is late must not get a later rule's cause, which would excuse it.
            late = condition.replace("$on_its_way", "$late")
            cases.append(f"when {late} then '{Cause.UNEXPLAINED}'")
    return Template(f"case {' '.join(cases)} else '{Cause.UNEXPLAINED}' end").substitute(parts)


def _declared(comparison: Comparison) -> str:
    """Return the condition that a rule of sync.yaml itself, and no default, keeps the sides apart.

    ``create_only`` and ``direction`` have no default that keeps the sides apart.
    """
    names = {"create_only", "direction"}
    declared = set(comparison.mapping.declared_rules)
    if ("void_in",) in declared:
        names.add("void")
    fields = [field for field in comparison.fields if (field.name, "null_overwrites") in declared]
    conditions = [f"d.blocking in ({_numbers(names)})"]
    if fields:
        listed = ", ".join(literal(field.name) for field in fields)
        conditions.append(f"d.blocking in ({_numbers({'null_kept'})}) and f.field in ({listed})")
    return " or ".join(conditions)


def _numbers(names: Collection[str]) -> str:
    return ", ".join(str(n) for n, rule in enumerate(BLOCKING_RULES) if rule.name in names)


# One of these statements is skipped where a table has no such rows: for a few rows PostgreSQL takes longer to
# plan it than to execute it.
_LACKING = Template("""
/* enerflo-sync reconcile $name: rows that one side lacks, with their causes */
insert into sync.differences
  (account, reconciliation_id, table_name, key, enerflo_value, crm_value, cause, since, first_seen_at)
select %(account)s, %(reconciliation_id)s, $table, d.key, d.enerflo_value, d.crm_value, d.cause,
       d.since, d.since
from (
  select o.key, case when o.in_enerflo then o.enerflo_key end as enerflo_value,
         case when o.in_crm then o.key end as crm_value, $cause as cause,
         coalesce(s.since, %(moment)s) as since
  from $rows
  left join $before s on s.key = o.key and s.field is null
) d
""")

_DIFFERING = Template("""
/* enerflo-sync reconcile $name: differing fields with their causes */
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause,
   since, first_seen_at, unchanged_since, hint, hint_detail)
select %(account)s, %(reconciliation_id)s, $table, d.key, d.field, d.enerflo_value, d.crm_value, d.cause,
       d.since, d.since, d.unchanged_since, $word, $detail
from (
  select d.*, coalesce($hint, $newer) as hint from (
    select $table as table_name, o.key, f.field, f.mine as enerflo_value, f.theirs as crm_value,
           $cause as cause, u.since, u.unchanged_since, $in_time as newer
    from $judged
    cross join lateral (
      select coalesce(s.since, %(moment)s) as since,
             coalesce(case when s.enerflo_value is not distinct from f.mine
                            and s.crm_value is not distinct from f.theirs then s.unchanged_since end,
                      %(moment)s) as unchanged_since
      offset 0
    ) u
    offset 0
  ) d
  offset 0
) d
""")


def differences_statements(
    comparison: Comparison, differing: Comparison, found: Mapping[str, int], *, wanted_only: bool
) -> list[str]:
    """Return what stores one difference for each differing field, and for each record that only one side has.

    Such a record is stored with its key as that side's value, and null for the other side. The statements
    take ``account``, ``reconciliation_id``, ``moment`` and :func:`cause_parameters`, and the table that
    :func:`before_statement` makes.

    :param differing: the comparison of the fields that differ in any row.
    :param found: the numbers of mismatched rows by kind.
    :param wanted_only: only wanted records were judged; where the others are carried, they have their hints.
    """
    named = {
        "name": comparison.name,
        "table": literal(comparison.name),
        "before": before_table(comparison),
    }
    statements = []
    if found["only_enerflo"] or found["only_crm"]:
        rows = judged_rows(comparison, on_both=False)
        statements.append(_LACKING.substitute(named, cause=cause_of_row(comparison), rows=rows))
    if found["differing"]:
        statement = _DIFFERING.substitute(
            named,
            cause=cause_of_field(differing),
            newer=f"case when d.cause = '{Cause.UNEXPLAINED}' then d.newer end",
            in_time=newer_hint(comparison),
            judged=judged(differing, f"left join {named['before']} s on s.key = o.key and s.field = f.field"),
            # It depends only on the two values and the mapping; so later runs can copy it.
            hint=difference_hint(
                {comparison.name: comparison.mapping}, "d", fields=[field.name for field in differing.fields]
            ),
            word=hint_word("d.hint"),
            detail=hint_detail("d.hint"),
        )
        wanted = f"exists (select from {comparison.wanted} w where {wanted_difference(comparison.joins)})"
        of_wanted = wanted if wanted_only and can_carry(comparison) else "true"
        swapped = swapped_statement(comparison.name, comparison.mapping, of_wanted)
        several = [swapped, label_statement(comparison)]
        statements += [statement, *(one for one in several if one is not None)]
    return statements


_BEFORE = Template("""
/* enerflo-sync reconcile $name: since when it has differed */
create temporary table $before on commit drop as
select key, field, min(coalesce(since, %(earlier_at)s)) as since,
       max(unchanged_since) as unchanged_since,
       (array_agg(enerflo_value))[1] as enerflo_value, (array_agg(crm_value))[1] as crm_value
from sync.differences d
where account = %(account)s and reconciliation_id = %(earlier)s and table_name = $table$of_wanted
group by key, field
""")


def before_table(comparison: Comparison) -> str:
    """Return the name of the temporary table with the differences of the previous reconciliation."""
    return f"pg_temp.{quoted(f'before_{comparison.name}')}"


def before_statement(comparison: Comparison, *, wanted_only: bool) -> str:
    """Return the statement that makes the table of the previous reconciliation's differences and their ages.

    Takes ``account``, ``earlier``, the id of the previous reconciliation, and ``earlier_at``, its moment. A
    difference that an older version stored without ``since`` is taken to be as old as that moment.

    :param wanted_only: only the differences of wanted keys; the others are carried.
    """
    of_wanted = (
        f"\n  and exists (select from {comparison.wanted} w where {wanted_difference(comparison.joins)})"
    )
    return _BEFORE.substitute(
        name=comparison.name,
        before=before_table(comparison),
        table=literal(comparison.name),
        of_wanted=of_wanted if wanted_only else "",
    )


# For each join key in `twice`: how many rows each side has, and the key and the values of ten of them.
DUPLICATES = Template("""theirs as (
  select $joined, jsonb_build_object(
           'rows', count(*), 'keys', to_jsonb((array_agg(c.key order by c.key))[1:10]),
           'values', to_jsonb((array_agg(c.said order by c.key))[1:10])) as rows
  from (select $joined_c, $crm_key as key, $crm_values as said from ($crm_side) c
        where exists (select from $twice d where $on_crm)) c
  group by $joined
), mine as (
  select $joined, jsonb_build_object(
           'rows', count(*), 'keys', to_jsonb((array_agg(m.key order by m.key))[1:10]),
           'values', to_jsonb((array_agg(m.said order by m.key))[1:10])) as rows
  from (select $joined_m, $mirror_key as key, $mirror_values as said from ($mirror_side) m
        where m.lives and exists (select from $twice d where $on_mirror)) m
  group by $joined
)""")

# The CRM's values are omitted where all of its rows have Enerflo's values.
DUPLICATE_ROWS = """case when theirs.rows -> 'values' <@ (mine.rows -> 'values')
    and mine.rows -> 'values' <@ (theirs.rows -> 'values') then theirs.rows - 'values' else theirs.rows end"""

_DUPLICATES = Template("""
/* enerflo-sync reconcile $name: join keys that more than one row has */
with $sides
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause, since, first_seen_at)
select %(account)s, %(reconciliation_id)s, $table, $join, null, mine.rows, $theirs,
       case when $quarantined then 'quarantined' else 'duplicate_identity' end,
       coalesce(s.since, %(moment)s), coalesce(s.since, %(moment)s)
from (select $joined_d, $key, $owner as owner from (select distinct $joined from $twice) d) d
left join theirs on $on_theirs left join mine on $on_mine
left join $before s on s.key = $join and s.field is null
""")


def duplicate_sides(comparison: Comparison) -> str:
    """Return the relations ``mine`` and ``theirs`` of a statement: each side's rows of a repeated key."""
    fields = comparison.fields
    return DUPLICATES.substitute(
        joined=comparison.join_names(),
        joined_c=comparison.join_names("c"),
        joined_m=comparison.join_names("m"),
        crm_key=comparison.crm_key(f"c.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)),
        crm_values=jsonb_object((field.name, field.crm.shown) for field in fields),
        crm_side=crm_side(comparison),
        on_crm=comparison.on("d", "c"),
        mirror_key=jsonb_object((name, f"m.p{n}") for n, name in enumerate(comparison.mirror_key, 1)),
        mirror_values=jsonb_object((field.name, field.enerflo.shown) for field in fields),
        mirror_side=mirror_side(comparison),
        on_mirror=comparison.on("d", "m"),
        twice=comparison.twice,
    )


def duplicates_statement(comparison: Comparison) -> str:
    """Return the statement that stores one difference for each join key that more than one row has.

    Each side's value holds the number of its rows, with the keys and the values of ten of them; null for a
    side without such rows. The CRM's values are omitted where they are the same as Enerflo's.
    """
    known = joined_ids(comparison, "d")
    return _DUPLICATES.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        sides=duplicate_sides(comparison),
        join=stored_join_key(comparison.joins, "d"),
        joined=comparison.join_names(),
        joined_d=comparison.join_names("d"),
        key=", ".join(
            f"{known.get(name, 'null::bigint')} as p{n}" for n, name in enumerate(comparison.mirror_key, 1)
        ),
        owner=known.get("install_id") or _owner_in_mirror(comparison),
        quarantined=quarantined(comparison, "d"),
        theirs=DUPLICATE_ROWS,
        before=before_table(comparison),
        twice=comparison.twice,
        on_theirs=comparison.on("theirs", "d"),
        on_mine=comparison.on("mine", "d"),
    )


_OWNER = Template("(select min(e.install_id) from $mirror e where $rows and $on)")


def _owner_in_mirror(comparison: Comparison) -> str:
    if not comparison.mirror_has_install:
        return "null::bigint"
    on = " and ".join(f"({join.mirror})::{join.type} = d.j{n}" for n, join in enumerate(comparison.joins, 1))
    return _OWNER.substitute(mirror=comparison.mirror, rows=comparison.mirror_rows, on=on)
