"""The agreed pair by which a differing field is judged, and CRM values that were agreed on elsewhere.

SQL over the parts of :mod:`enerflo_sync.reconcile.judge`: ``o`` is the mismatched row, ``f`` the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.on_its_way import names_array
from enerflo_sync.reconcile.related import Relative

# If a new row replaces another one, its values do not show an edit: whoever made it may have copied old
# values. The other row is found by its agreed link. A row that belonged to another record and was relinked is
# not new: somebody edited it. For keys that changed columns see enerflo_sync.agreed.key_changes.
_REPLACED = Template("""not exists (
      select from sync.agreed q where q.account = %(account)s and q.table_name = $table and q.key = o.key
        and q.field = f.field)
    and exists (
      select from sync.agreed l join sync.agreed p on p.account = l.account and p.table_name = l.table_name
        and p.key = l.key and p.field = f.field and p.enerflo_key = o.enerflo_key
      where l.account = %(account)s and l.table_name = $table and l.field = $link_field and l.link = $link
        and l.key <> o.key and jsonb_exists_all(l.key, $key_columns))""")

_PAIR = Template("""left join sync.agreed a on a.account = %(account)s and a.table_name = $table
    and a.key = o.key and a.field = f.field and n.account is null
    and a.agreed_by not like 'former%%'$of_record$overtaken$meant""")

# A person may have moved the row from one table of sync.yaml to another one of the same CRM table, and back.
# But another row of the same key (an opportunity of another type for the same install) has its own pair.
_LATEST_PAIR = Template("""left join lateral (
    select s.*, s.ctid from sync.agreed s
    where s.account = %(account)s and s.table_name in ($tables) and s.key = o.key and s.field = f.field
      and $means_the_same and s.agreed_by not like 'former%%'$of_record$overtaken
      and (s.table_name = $table or o.is_alone)
    order by s.agreed_at desc, s.table_name = $table desc limit 1
  ) a on n.account is null$meant""")

# A row can lose its key and get it back. If both sides agreed on other values while the row had another key,
# the pairs from its first time under this key are outdated.
_OVERTAKEN = Template("""
    and not exists (
      select from sync.agreed l join sync.agreed q on q.account = l.account and q.table_name = l.table_name
        and q.key = l.key and q.field = f.field and q.enerflo_key = o.enerflo_key
      where l.account = %(account)s and l.table_name = $table and l.link = $link and l.field = $field
        and l.key <> o.key and (q.agreed_by not like 'former%%' or q.agreed_by like 'former_row%%')
        and $overtaken)""")

# An import may give a row the key of another row. So the row that names a record may have had another key
# before. But if the row under the former key still names the record too, two rows name one record.
_HAD_ANOTHER_KEY = Template("""exists (
      select from sync.agreed w where w.account = %(account)s and w.table_name = $table
        and w.link = $link and w.field = $field and w.key <> $key and $of_record and not $stands)""")

# Both sides agreed on the CRM's value, but for another record, in another table, or for a former row of the
# record. So nobody edited the value.
_ROW_MOVED = Template("""exists (
      select from ($pairs) q cross join lateral (
        select case when q.crm_value is null then q.value else nullif(q.crm_value, 'null') end as theirs) h
      where $same$meant)""")
_OF_ROW = Template("""select q.value, q.crm_value from sync.agreed q
        where q.account = %(account)s and q.table_name in ($tables) and q.key = o.key and q.field = f.field
          and q.agreed_by not like 'former%%'""")
# See enerflo_sync.agreed.former_rows.
_OF_FORMER_KEY = Template("""select q.value, q.crm_value from sync.agreed q
        where q.account = %(account)s and q.table_name = $table and q.key = o.key and q.field = f.field
          and q.enerflo_key = o.enerflo_key and q.agreed_by like 'former_row%%'""")
_OF_RELATIVE = Template("""select q.value, q.crm_value from sync.agreed q
        where q.account = %(account)s and q.table_name = $table and $of_record
          and q.field = case f.field $fields end
          and (q.agreed_by not like 'former%%' or q.agreed_by like 'former_row%%')""")

# The record had a row under another key or in another CRM table. There, a person took our write back, or the
# table stored another value than we wrote.
_KEPT_ELSEWHERE = Template("""exists (
      select from ($pairs) q cross join lateral (
        select case when q.crm_value is null then q.value else nullif(q.crm_value, 'null') end as theirs) h
      where $mine_same and $theirs_same$meant)""")

# Both sides agreed on Enerflo's value for the record's former row. The present CRM row has another value.
_AS_BEFORE = Template("""exists (
      select from ($pairs) q cross join lateral (
        select case when q.crm_value is null then q.value else nullif(q.crm_value, 'null') end as theirs) h
      where $mine_same and not $theirs_same$meant)""")

_KEPT = "q.agreed_by not in ('comparison', 'former_row_comparison')"

# The row moved to this table of sync.yaml while a handed-over change was on its way to the row.
_HANDED_OVER = Template("""exists (
      select from sync.crm_changes w
      where w.account = %(account)s and w.table_name in ($siblings) and w.key = o.key and w.op = 'update'
        and w."column" = f.field and w.ended_at is null and $same)""")

# We handed the value over when the row was in another table or named another record, and both sides have not
# agreed on the field since. This includes changes that ended. These are found by their plan, because the
# index of `sync.crm_changes` by key has only open changes. If the change ended because the row names another
# record, `copy_value` is what the row showed then.
_HANDED_OVER_BEFORE = Template("""exists (
      select from sync.plan_changes p join sync.crm_changes w
        on w.account = p.account and w.plan_hash = p.plan_hash and w.position = p.position
      where p.account = %(account)s and p.key = o.key and w.key = o.key and w.op <> 'delete'
        and w."column" = f.field and ($elsewhere) and (a.account is null or w.made_at >= a.agreed_at)
        and ($same or w.state = 'superseded' and w.enerflo_key <> o.enerflo_key and $shown))""")


# The inner query does not depend on the row, so PostgreSQL runs it once for all rows.
_ALONE = Template("""not exists (with shared as materialized (
        select $columns from $crm t where $living group by $numbers having count(*) > 1)
      select from shared s where $same)""")


def is_alone(comparison: Comparison, keys: Sequence[str]) -> str:
    """Return the condition that no two rows of the whole CRM table have a key, whatever ``where`` chooses.

    ``true`` if a unique index ensures that, or if no other table of ``sync.yaml`` maps the CRM table.

    :param keys: SQL of the key, a value for each key column.
    """
    names = comparison.mapping.key_columns
    if not comparison.siblings or comparison.live.unique_by(names):
        return "true"
    return _ALONE.substitute(
        columns=", ".join(f"t.{quoted(name)} as k{n}" for n, name in enumerate(names, 1)),
        crm=comparison.crm,
        living=comparison.living("t"),
        numbers=", ".join(str(n) for n, _ in enumerate(names, 1)),
        same=" and ".join(f"s.k{n} = {key}" for n, key in enumerate(keys, 1)),
    )


def agreed_pair(comparison: Comparison) -> str:
    """Return the join with a field's agreed pair: the latest one of any table in which it means the same."""
    table, meant = literal(comparison.name), _meant(comparison)
    if not comparison.siblings:
        of_record = comparison.of_record("a", "o.enerflo_key")
        overtaken = _overtaken(comparison, "a")
        return _PAIR.substitute(table=table, of_record=of_record, overtaken=overtaken, meant=meant)
    same = [
        f"(s.table_name <> {literal(name)} or s.field = any({names_array(sorted(sibling.same_fields))}))"
        for name, sibling in comparison.siblings.items()
    ]
    return _LATEST_PAIR.substitute(
        table=table,
        tables=comparison.names_of_table,
        means_the_same=" and ".join(same),
        of_record=comparison.of_record("s", "o.enerflo_key"),
        overtaken=_overtaken(comparison, "s"),
        meant=meant,
    )


def _overtaken(comparison: Comparison, pair: str) -> str:
    """Return ``and not …``: the record has a later pair of the field with other values, under another key."""
    if comparison.former_rows is None:
        return ""
    link = comparison.links[0]
    return _OVERTAKEN.substitute(
        table=literal(comparison.name),
        field=literal(link.crm_name),
        link=f"to_jsonb(o.j{list(comparison.joins).index(link) + 1})",
        overtaken=is_overtaken(pair, "q"),
    )


def is_overtaken(pair: str, later: str) -> str:
    """Return the condition that one pair is older than another one of its field, and has other values."""
    return (
        f"{pair}.agreed_at < {later}.agreed_at"
        f" and ({pair}.value, {pair}.crm_value) is distinct from ({later}.value, {later}.crm_value)"
    )


def had_another_key(comparison: Comparison, link: str, key: str, of_record: str, stands: str) -> str:
    """Return the condition that the row of a record was agreed on before under another key.

    :param link: SQL of the value in the row's first column that names the record, as JSON.
    :param key: SQL of the row's key.
    :param of_record: the condition that a pair ``w`` is about the record.
    :param stands: the condition that a row with the key of ``w`` names the record of ``w`` now.
    """
    return _HAD_ANOTHER_KEY.substitute(
        table=literal(comparison.name),
        field=literal(comparison.links[0].crm_name),
        link=link,
        key=key,
        of_record=of_record,
        stands=stands,
    )


def row_moved(comparison: Comparison) -> str:
    """Return whether the CRM's value of ``f.field`` was agreed on for another record, row or table."""
    pairs = []
    if comparison.siblings or not comparison.key_is_record:
        pairs.append(_OF_ROW.substitute(tables=comparison.names_of_table))
    pairs += [_of_relative(name, relative) for name, relative in comparison.earlier.items()]
    pairs += _of_former_key(comparison)
    if not pairs:
        return "false"
    return _ROW_MOVED.substitute(
        pairs=" union all ".join(pairs),
        same=same_as_agreed(comparison, "f.theirs", "h.theirs", in_crm=True),
        meant=_meant(comparison),
    )


def kept_elsewhere(comparison: Comparison) -> str:
    """Return whether both sides have the values of ``f.field`` that a write or undo left in a former row."""
    return _of_former_rows(comparison, _KEPT_ELSEWHERE, f" and {_KEPT}")


def enerflo_as_before(comparison: Comparison) -> str:
    """Return whether Enerflo's value of ``f.field`` was agreed on for a former row, and the CRM's was not."""
    return _of_former_rows(comparison, _AS_BEFORE)


def _of_former_rows(comparison: Comparison, condition: Template, which: str = "") -> str:
    """Return a condition about pairs of the record's rows that are gone or belong to other records by now.

    :param which: ``and …``, the pairs ``q`` that count.
    """
    pairs = [
        f"{_of_relative(name, relative)}{which} and not {relative.stands('q.key', 'q.enerflo_key')}"
        for name, relative in comparison.earlier.items()
    ]
    pairs += [f"{of_key}{which}" for of_key in _of_former_key(comparison)]
    if not pairs:
        return "false"
    return condition.substitute(
        pairs=" union all ".join(pairs),
        mine_same=same_as_agreed(comparison, "f.mine", "q.value"),
        theirs_same=same_as_agreed(comparison, "f.theirs", "h.theirs", in_crm=True),
        meant=_meant(comparison),
    )


def _of_former_key(comparison: Comparison) -> list[str]:
    if comparison.former_rows is None:
        return []
    return [_OF_FORMER_KEY.substitute(table=literal(comparison.name))]


def _of_relative(name: str, relative: Relative) -> str:
    """Return the select of the pairs ``q`` that the record's field ``f.field`` has in another table."""
    fields = (f"when {literal(mine)} then {literal(there)}" for mine, there in relative.fields.items())
    return _OF_RELATIVE.substitute(table=literal(name), of_record=relative.of_record, fields=" ".join(fields))


def handed_over_elsewhere(comparison: Comparison) -> str:
    """Return whether the CRM's value of ``f.field`` was handed over for a sibling's row or another record."""
    if not comparison.hands_over or (comparison.key_is_record and not comparison.siblings):
        return "false"
    same = same_as_agreed(comparison, "f.theirs", "w.after", in_crm=True)
    elsewhere, found = [], []
    if comparison.siblings:
        siblings = ", ".join(map(literal, comparison.siblings))
        elsewhere.append(f"w.table_name in ({siblings})")
        found.append(_HANDED_OVER.substitute(siblings=siblings, same=same))
    if not comparison.key_is_record:
        of_table = f"w.table_name = {literal(comparison.name)}"
        elsewhere.append(f"{of_table} and w.enerflo_key <> o.enerflo_key")
    shown = same_as_agreed(comparison, "f.theirs", "w.copy_value", in_crm=True)
    found.append(_HANDED_OVER_BEFORE.substitute(elsewhere=" or ".join(elsewhere), same=same, shown=shown))
    return f"({' or '.join(found)})"


def _meant(comparison: Comparison) -> str:
    """Return ``and …``: the field means what it meant when the pair was stored; ``""`` if all fields do."""
    changed = ", ".join(literal(name) for name in sorted(comparison.remeant))
    return f" and f.field not in ({changed})" if changed else ""


def row_replaced(comparison: Comparison) -> str:
    """Return whether the record of ``o`` has an agreed pair of the field ``f`` with another CRM row."""
    links = [n for n, join in enumerate(comparison.joins, 1) if join in comparison.links]
    if comparison.key_is_record or not links:
        return "false"
    link = links[-1]
    return _REPLACED.substitute(
        table=literal(comparison.name),
        link_field=literal(comparison.joins[link - 1].crm_name),
        link=f"to_jsonb(o.j{link})",
        key_columns=f"array[{', '.join(literal(name) for name in comparison.mapping.key_columns)}]",
    )


def same_as_agreed(comparison: Comparison, now: str, then: str, *, in_crm: bool = False) -> str:
    """Return whether a side's value of ``f.field`` equals its agreed value, as the field is declared."""
    cases = " ".join(
        f"when {literal(field.name)} then {field.same_shown(now, then, in_crm=in_crm)}"
        for field in comparison.fields
    )
    return f"({now} is not distinct from {then} or case f.field {cases} else false end)"
