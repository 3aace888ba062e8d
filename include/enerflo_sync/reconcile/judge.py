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
from enerflo_sync.crm.keys import fitting
from enerflo_sync.crm.mapping import FieldType, NullRule, Side, mirror_type
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.agreed_pairs import (
    agreed_pair,
    enerflo_as_before,
    had_another_key,
    handed_over_elsewhere,
    is_alone,
    kept_elsewhere,
    row_moved,
    row_replaced,
    same_as_agreed,
)
from enerflo_sync.reconcile.changed import (
    changed_in_crm,
    changed_in_enerflo,
    is_older,
    is_time_unsure,
    left_its_time,
    own_writes,
    record_time,
)
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import (
    OWNERS,
    difference_key,
    quarantined,
    voided,
    young,
)
from enerflo_sync.reconcile.doubtful import has_day_only, has_other_form, is_nulled
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
_BLANK_FIELD = (
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

# o: a mismatched row; f: one of its differing fields, null where one side has no row; x: the facts; d: the
# numbers of the rules that decide; b: the CRM's agreed value; v: whether each side's value differs from its
# agreed value. `offset 0` makes PostgreSQL compute each part once instead of inlining it many times.
_JUDGED = Template("""(
    select o.*, $key as key, $enerflo_key as enerflo_key, $quarantined as quarantined,
           $voided as voided, $young as young, $marked as marked_deleted,
           $outside as stands_outside, $was_agreed as was_agreed,
           $is_alone as is_alone, $record_time as record_time,
           $in_crm as changed_in_crm, $in_enerflo as changed_in_enerflo
    from $mismatched o $owners$own_writes where $compared
  ) o
  cross join lateral (
    select $blank where not (o.in_enerflo and o.in_crm)
    $fields
  ) f
  left join sync.agreed_twins n on n.account = %(account)s and n.table_name = $table and n.key = o.key
    and n.field = f.field
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
           coalesce(a.agreed_by = 'reworded', false) as own_word,
           $crm_older as crm_older, $enerflo_older as enerflo_older,
           coalesce($mine_moved, false) as enerflo_moved, coalesce($theirs_moved, false) as crm_moved,
           coalesce(o.changed_in_crm > $in_enerflo_then, false) as crm_later,
           $unsure or $unmoved as time_unsure offset 0
  ) x
  cross join lateral (select $winner as winner offset 0) w
  cross join lateral (
    select x.*, w.winner in ($to_crm) as to_crm, w.winner in ($to_enerflo) as to_enerflo
  ) y
  cross join lateral (select w.winner, $blocking as blocking offset 0) d""")

CHANGED = "o.changed_in_enerflo"

_OWN_SPELLING = """coalesce((
      select min(s.name) from enerflo.install_statuses s where s.account = %(account)s
        and s.deleted_at is null and lower(btrim(s.name)) = lower(btrim($value))), $value)"""

_VOIDS_BY_ID = Template("""exists (
      select from enerflo.install_statuses s where s.account = %(account)s
        and s.status_id = any(%(voided_ids)s::bigint[]) and lower(btrim(s.name)) = $name)""")

# Looked up by the row's key: very many rows may have the same value in one column.
_FURTHER_LINK = Template("""exists (
      select from sync.agreed b where b.account = a.account and b.table_name = a.table_name and b.key = a.key
        and b.field = $field and b.is_link and b.value = $value)""")

_FIELD = Template("""union all
    select $values
    where o.in_enerflo and o.in_crm and ($differs)""")


def judged(comparison: Comparison) -> str:
    """Return the ``from`` part with ``o``, ``f``, ``a``, ``x``, ``y`` and ``d``: a row per differing field.

    A record that only one side has gives one row, with null as ``f.field``. Takes ``account`` and the
    parameters of
    :func:`enerflo_sync.reconcile.conditions.cause_parameters`.
    """
    sides = {
        outcome: ", ".join(str(n) for n, rule in enumerate(WINNER_RULES) if rule.outcome is outcome)
        for outcome in (Resolution.TO_CRM, Resolution.TO_ENERFLO)
    }
    of_install = comparison.mirror_has_install and not comparison.is_installs
    # In a wide table each field has its own milestone, and so its own time of observation.
    crm_older, enerflo_older = is_older(comparison)
    in_enerflo_then = f"least({CHANGED}, f.seen_at)" if comparison.is_wide else CHANGED
    return _JUDGED.substitute(
        key=difference_key(comparison),
        enerflo_key=_enerflo_key(comparison),
        quarantined=quarantined(comparison, "o"),
        voided=voided("o")
        if comparison.is_installs
        else voided("i")
        if comparison.mirror_has_install
        else "false",
        young=young("o"),
        marked=_marked_deleted(comparison),
        outside=_stands_outside(comparison),
        is_alone=is_alone(comparison, [f"o.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)]),
        in_crm=changed_in_crm(comparison),
        in_enerflo=changed_in_enerflo(comparison),
        in_enerflo_then=in_enerflo_then,
        record_time=record_time(comparison, "o.own_time", "i.install_updated_at"),
        unsure=is_time_unsure(comparison, in_enerflo_then),
        unmoved=left_its_time(comparison),
        crm_older=crm_older,
        enerflo_older=enerflo_older,
        own_writes=own_writes(comparison),
        was_agreed=_was_agreed(comparison),
        mismatched=comparison.mismatched,
        owners=OWNERS if of_install else "",
        compared=comparison.comparable,
        blank=", ".join(f"{value} as {name}" for name, value in _BLANK_FIELD),
        fields="\n    ".join(_field(comparison, field) for field in comparison.fields),
        table=literal(comparison.name),
        doubts=", ".join(f"f.{name}" for name in _DOUBTS),
        pair=agreed_pair(comparison),
        row_moved=row_moved(comparison),
        kept_elsewhere=kept_elsewhere(comparison),
        as_before=enerflo_as_before(comparison),
        handed_over=handed_over_elsewhere(comparison),
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


def _enerflo_key(comparison: Comparison) -> str:
    key = jsonb_object((name, f"o.p{n}") for n, name in enumerate(comparison.mirror_key, 1))
    return f"case when o.in_enerflo or o.tombstone then {key} end"


def once_agreed(comparison: Comparison) -> str:
    """Return the condition that a row ``a`` of ``sync.agreed`` is about a record ``o`` that the CRM lacks.

    If the CRM has its own key, every column that names the record must agree, in the key or as a link.
    """
    of_table = f"a.account = %(account)s and a.table_name = {literal(comparison.name)}"
    if not comparison.key_is_record:
        # If the pair does not name its record, the columns alone identify it. The pair then counts as
        # evidence of a deletion, which writes nothing.
        of_table += f" and coalesce(a.enerflo_key = {comparison.record_key('o')}, true)"
    if comparison.mapping.joined_by_key and not comparison.links:
        return f"{of_table} and a.key = {difference_key(comparison)}"
    names = {join.crm_name: f"to_jsonb(o.j{n})" for n, join in enumerate(comparison.joins, 1)}
    links = [join.crm_name for join in comparison.links]
    said = [f"a.key -> {literal(name)} = {value}" for name, value in names.items() if name not in links]
    said += [f"a.link = {names[name]} and a.field = {literal(name)}" for name in links[:1]]
    said += [_FURTHER_LINK.substitute(field=literal(name), value=names[name]) for name in links[1:]]
    return " and ".join([of_table, *said, _not_relinked(comparison)])


def _not_relinked(comparison: Comparison) -> str:
    """Return the condition that nobody let the CRM row of a pair ``a`` name another record since.

    A row that had another key before was not relinked: an import numbered the rows anew.
    """
    names = f"{_of_stored_key(comparison, 'a.key')} and {comparison.crm_key_known}"
    if comparison.former_rows is not None:
        link = f"to_jsonb(({comparison.links[0].crm})::{comparison.links[0].type})"
        of_record = names_record(comparison, "t", "w.enerflo_key")
        names += f" and not {had_another_key(comparison, link, 'a.key', of_record)}"
    return f"not exists (select from {comparison.crm_rows} t where {names})"


def row_stands(comparison: Comparison, key: str, record: str | None = None) -> str:
    """Return the condition that the whole CRM table, whatever ``where`` says, has a living row of a key.

    :param record: SQL of the mirror's key of a record as JSON, which the row must name: an import may give
        the key to another row. Null where the key is the record's id.
    """
    of_key = _of_stored_key(comparison, key)
    of_record = "" if record is None else f" and {names_record(comparison, 't', record)}"
    return f"exists (select from {comparison.crm} t where {of_key} and {comparison.living('t')}{of_record})"


def names_record(comparison: Comparison, row: str, record_key: str) -> str:
    """Return the condition that a CRM row names the record of Enerflo that has a jsonb key.

    The statement needs the parameter ``account``. The condition is ``true`` if the CRM's key is the record's
    id, because such a row cannot name another record.
    """
    if comparison.key_is_record:
        return "true"
    same = [
        f"e.{quoted(name)} = ({record_key} ->> {literal(name)})::bigint" for name in comparison.mirror_key
    ]
    same += [
        f"({join.mirror})::{join.type} = ({join.of_crm(f'{row}.{quoted(join.crm_name)}')})::{join.type}"
        for join in comparison.joins
    ]
    return (
        f"exists (select from {comparison.mirror} e where e.account = %(account)s and {' and '.join(same)})"
    )


def _of_stored_key(comparison: Comparison, key: str) -> str:
    """Return the condition that a CRM row ``t`` has a stored key."""
    return " and ".join(
        f"t.{quoted(name)} = {stored_key(comparison, key, name)}" for name in comparison.mapping.key_columns
    )


def stored_key(comparison: Comparison, key: str, column: str) -> str:
    """Return one column of a stored key as SQL; null if the column had another type when it was stored."""
    live = comparison.live.columns[column]
    number = live.kind in {Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT}
    text = f"{key}->>{literal(column)}"
    wanted = "number" if number else "string"
    return fitting(live, f"case when jsonb_typeof({key}->{literal(column)}) = '{wanted}' then {text} end")


def _was_agreed(comparison: Comparison) -> str:
    """Return the condition that the CRM once had the row of a record that only Enerflo has now.

    The evidence is an agreed pair of values, or a row that is marked as deleted. A row that no longer meets
    ``where`` was not deleted.
    """
    agreed = f"exists (select from sync.agreed a where {once_agreed(comparison)})"
    if comparison.mapping.condition is not None:
        agreed = f"not {comparison.stands_outside('o')} and {agreed}"
    return f"(o.in_enerflo and not o.in_crm and ({agreed} or {comparison.marked_deleted('o')}))"


def _marked_deleted(comparison: Comparison) -> str:
    return f"(o.in_enerflo and not o.in_crm and {comparison.marked_deleted('o')})"


def _stands_outside(comparison: Comparison) -> str:
    outside = f"{comparison.stands_outside('o')} and not {comparison.marked_deleted('o')}"
    return (
        "false" if comparison.mapping.condition is None else f"(o.in_enerflo and not o.in_crm and {outside})"
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
        values |= facts_of_milestone(comparison.fields.index(field) + 1, field.equal)
    if comparison.is_installs and field.mapping.enerflo == "status_name":
        if Side.CRM not in comparison.mapping.void_in:
            values["crm_barred"] = "o.voided"
        if Side.ENERFLO not in comparison.mapping.void_in:
            values["enerflo_barred"] = _voids(crm_value_for_enerflo(comparison, field))
    constants = constant_facts(comparison.kind, comparison.mapping, field.mapping)
    values |= {name: str(constants[name]).lower() for name in _CONSTANTS}
    return _FIELD.substitute(
        values=", ".join(values[name] for name, _ in _BLANK_FIELD), differs=field.differs
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
