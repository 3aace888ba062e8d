"""The mismatched rows of one table with what is known of each as a whole, whatever its fields say."""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.keys import fitting
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.agreed_pairs import had_another_key, is_alone
from enerflo_sync.reconcile.changed import (
    changed_in_crm,
    changed_in_enerflo,
    left_by_others,
    maybe_ours,
    own_writes,
    record_time,
    written_over_at,
)
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import OWNERS, difference_key, quarantined, voided, young

_ROWS = Template("""(
    select o.*, $key as key, $enerflo_key as enerflo_key, $quarantined as quarantined,
           $voided as voided, $young as young, $marked as marked_deleted,
           $outside as stands_outside, $was_agreed as was_agreed,
           $is_alone as is_alone, $record_time as record_time,
           $in_crm as changed_in_crm, $left_by_others as left_by_others,
           $written_over_at as written_over_at, $in_enerflo as changed_in_enerflo,
           $install_observed_at as install_observed_at,
           $maybe_ours_since as maybe_ours_since, $maybe_ours_until as maybe_ours_until
    from $mismatched o $owners$own_writes where $compared and $sides
  ) o""")

CHANGED = "o.changed_in_enerflo"

# Looked up by the row's key: very many rows may have the same value in one column.
_FURTHER_LINK = Template("""exists (
      select from sync.agreed b where b.account = a.account and b.table_name = a.table_name and b.key = a.key
        and b.field = $field and b.is_link and b.value = $value)""")


def judged_rows(comparison: Comparison, *, on_both: bool) -> str:
    """Return the select ``o`` of a table's mismatched rows, with what is known of each.

    Takes ``account`` and the parameters of :func:`enerflo_sync.reconcile.conditions.cause_parameters`.

    :param on_both: the rows that both sides have; otherwise those that one side lacks.
    """
    since, until = maybe_ours(comparison)
    of_install = comparison.mirror_has_install and not comparison.is_installs
    return _ROWS.substitute(
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
        was_agreed=_was_agreed(comparison),
        is_alone=is_alone(comparison, [f"o.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)]),
        record_time=record_time(comparison, "o.own_time", "i.install_updated_at"),
        in_crm=changed_in_crm(comparison),
        left_by_others=left_by_others(comparison),
        written_over_at=written_over_at(comparison),
        install_observed_at="i.install_observed_at" if of_install else "null::timestamptz",
        in_enerflo=changed_in_enerflo(comparison),
        maybe_ours_since=since,
        maybe_ours_until=until,
        mismatched=comparison.mismatched,
        owners=OWNERS if of_install else "",
        own_writes=own_writes(comparison),
        compared=comparison.comparable,
        sides="o.in_enerflo and o.in_crm" if on_both else "not (o.in_enerflo and o.in_crm)",
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


def names_nothing_now(comparison: Comparison) -> str:
    """Return the condition that the CRM still has the row of a record ``o``, which names no record any more.

    An import may empty the column that names the record, or a person mistype it. If the row names another
    record, its key may have gone to another row.
    """
    if not comparison.links:
        return "false"
    return (
        f"exists (select from sync.agreed a join {comparison.crm_rows} t on"
        f" {_of_stored_key(comparison, 'a.key')} and not {_names_any_record(comparison)}"
        f" where {once_agreed(comparison)})"
    )


def _not_relinked(comparison: Comparison) -> str:
    """Return the condition that nobody let the CRM row of a pair ``a`` name another record since.

    A row that had another key before was not relinked: an import numbered the rows anew. Neither was one that
    names no record of Enerflo: its id was emptied or mistyped.
    """
    if comparison.mapping.joined_by_key and not comparison.links:
        names = f"{_of_stored_key(comparison, 'a.key')} and {comparison.crm_key_known}"
    else:
        names = f"{_of_stored_key(comparison, 'a.key')} and {_names_any_record(comparison)}"
    if comparison.former_rows is not None:
        link = f"to_jsonb(({comparison.links[0].crm})::{comparison.links[0].type})"
        of_record = names_record(comparison, "t", "w.enerflo_key")
        stands = row_stands(comparison, "w.key", "w.enerflo_key")
        names += f" and not {had_another_key(comparison, link, 'a.key', of_record, stands)}"
    return f"not exists (select from {comparison.crm_rows} t where {names})"


def _names_any_record(comparison: Comparison) -> str:
    """Return the condition that a CRM row ``t`` names a record that Enerflo has; never null.

    Where an import emptied many ids, the mirror is not searched for each of them.
    """
    same = " and ".join(
        f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
    )
    return (
        f"({comparison.crm_key_known} and exists (select from {comparison.mirror} e"
        f" where {comparison.mirror_rows} and e.deleted_at is null and {same}))"
    )


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
    ``where`` was not deleted. Another row of the record that never met it (of another record type) says
    nothing about the row of the pair.
    """
    agreed = f"exists (select from sync.agreed a where {once_agreed(comparison)})"
    if comparison.mapping.condition is not None:
        outside = comparison.stands_outside("o")
        if not comparison.mapping.joined_by_key:
            of_key = _of_stored_key(comparison, "a.key")
            left = f"exists (select from {comparison.rows_outside} t where {of_key})"
            outside += f" and exists (select from sync.agreed a where {once_agreed(comparison)} and {left})"
        agreed = f"not ({outside}) and {agreed}"
    return f"(o.in_enerflo and not o.in_crm and ({agreed} or {comparison.marked_deleted('o')}))"


def _marked_deleted(comparison: Comparison) -> str:
    return f"(o.in_enerflo and not o.in_crm and {comparison.marked_deleted('o')})"


def _stands_outside(comparison: Comparison) -> str:
    outside = f"{comparison.stands_outside('o')} and not {comparison.marked_deleted('o')}"
    return (
        "false" if comparison.mapping.condition is None else f"(o.in_enerflo and not o.in_crm and {outside})"
    )
