"""Refused rows that come back under another key, or in another CRM table: the refusal holds for them, too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from string import Template

from enerflo_sync.agreed.written import fitting_key
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judge import crm_value_for_enerflo
from enerflo_sync.reconcile.judged_rows import row_stands
from enerflo_sync.reconcile.mismatched import crm_side
from enerflo_sync.reconcile.on_its_way import names_array

# A person changed the key of a refused row, or made the row again: its values come back under another key.
_REMADE = Template("""
/* enerflo-sync plan $name: new rows that say what a refused one said that is gone */
insert into pg_temp.refused_met
select r.refusal_id, $table, d.record, 'insert', 'to_enerflo', null, $words, false, true, true
from sync.refusals r
join (
  select d.key as record, jsonb_strip_nulls(jsonb_object_agg(d.field, d.after) - $key_columns) as after
  from pg_temp.decided d
  where d.table_name = $table and d.outcome = 'to_enerflo' and d.op = 'insert' and d.field is not null
  group by 1
) d on $says_the_same
where r.account = %(account)s and r.table_name in ($of_tables) and r.ended_at is null and r.op = 'insert'
  and r.direction = 'to_enerflo' and d.after <> '{}'
  and not ($stands)
""")
_SAYS_ALL = "d.after = jsonb_strip_nulls(r.after - {key_columns}) and d.record <> r.key"
# Another CRM table may have other columns, so only the values of the new row are compared with those of the
# refused row.
_SAYS_PART = """not exists (
    select from jsonb_each(d.after) e
    where r.after -> coalesce({names}::jsonb ->> e.key, e.key) is distinct from e.value)"""


def remade_statements(comparison: Comparison, comparisons: Sequence[Comparison], words: str) -> Iterator[str]:
    """Yield the statements that add such rows of a table to ``refused_met``; each takes ``account``.

    :param words: SQL of the text about a refusal ``r`` that a plan shows.
    """
    names = {"name": comparison.name, "table": literal(comparison.name), "words": words}
    for parts in _refused_rows(comparison, comparisons):
        yield _REMADE.substitute(names, **parts)


def _refused_rows(comparison: Comparison, comparisons: Sequence[Comparison]) -> Iterator[dict[str, str]]:
    """Yield the SQL parts that find refused rows ``r``: first in the same CRM table, then in other ones."""
    kinds = {other.name: other.kind for other in comparisons}
    of_kind = [name for name in comparison.siblings if kinds[name] == comparison.kind]
    key_columns = names_array(list(comparison.mapping.key_columns))
    yield {
        "key_columns": key_columns,
        "of_tables": ", ".join(map(literal, (comparison.name, *of_kind))),
        "says_the_same": _SAYS_ALL.format(key_columns=key_columns),
        "stands": f"{row_stands(comparison, 'r.key')} and not {_says_something_else(comparison)}",
    }
    for name, relative in comparison.relatives.items():
        yield {
            "key_columns": key_columns,
            "of_tables": literal(name),
            "says_the_same": _SAYS_PART.format(names=literal(json.dumps(dict(relative.fields)))),
            "stands": relative.stands("r.key", None),
        }


def _says_something_else(comparison: Comparison) -> str:
    """Return the condition that the CRM row with a refusal's key has other values than the refused row.

    Then an import gave the key to another row, and the refused row is gone.
    """
    names = comparison.mapping.key_columns
    of_row = " and ".join(
        f"c.k{n} = {fitting_key(comparison, 'r.key', name)}" for n, name in enumerate(names, 1)
    )
    columns = ", ".join(f"c.c{n}" for n, _ in enumerate(comparison.fields, 1))
    other = " or ".join(
        f"{crm_value_for_enerflo(comparison, field)} is distinct from r.after -> {literal(field.name)}"
        f" and jsonb_exists(r.after, {literal(field.name)})"
        for field in comparison.fields
    )
    said = f"select {columns} from ({crm_side(comparison)}) c where {of_row}"  # noqa: S608 - names of ours
    return f"exists (select from ({said}) o where {other})"
