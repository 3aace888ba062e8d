"""Values that plans may write to a column of an enumeration, which lacks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.mapping import Direction, FieldType, NullRule, SourceOfTruth
from enerflo_sync.masking import PersonalData
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.mismatched import mirror_side
from enerflo_sync.reconcile.values import Field

# More of them are counted and not named.
NAMED = 10

_UNLISTED = Template("""
/* enerflo-sync doctor: values of Enerflo that an enumeration of the CRM lacks */
select said from (
  select $value as said from ($mirror_side) m where lives
  union
  select unnest(%(labels)s::text[])
) s
where said is not null and said <> all (enum_range(null::$type)::text[]) $but_blank
order by 1
""")


def unlisted_values(
    connection: sa.Connection, comparison: Comparison, account: str
) -> Iterator[tuple[Field, Sequence[str]]]:
    """Yield each field whose CRM column is an enumeration that lacks values, with these values.

    They are Enerflo's present values with the CRM's labels, and the labels of ``values``. Fields with
    personal data, and fields that no plan writes to the CRM, are left out.
    """
    if "to_crm" not in comparison.mode.writes:
        return
    for one in comparison.fields:
        live, mapping = comparison.live.columns[one.name], one.mapping
        written = mapping.direction in {Direction.BOTH, Direction.TO_CRM}
        if not (written and live.is_listed and one.domain is FieldType.TEXT):
            continue
        if mapping.source_of_truth is SourceOfTruth.CRM or mapping.personal_kind is not PersonalData.NONE:
            continue
        statement = _UNLISTED.substitute(
            value=one.enerflo.value,
            mirror_side=mirror_side(comparison),
            type=live.unchecked_type,
            but_blank="and btrim(said) <> ''" if mapping.null is NullRule.EMPTY_IS_NULL else "",
        )
        labels = list(mapping.values.values())
        found = connection.exec_driver_sql(statement, {"account": account, "labels": labels}).scalars().all()
        if found:
            yield one, found


def unlisted_texts(comparison: Comparison, one: Field, values: Sequence[str]) -> tuple[str, str, str]:
    """Return what was found, what is expected, and the next step."""
    type_ = comparison.live.columns[one.name].of_domain or comparison.live.columns[one.name].type
    named = ", ".join(values[:NAMED])
    more = f" and {len(values) - NAMED:,} more" if len(values) > NAMED else ""
    return (
        f"no label {named}{more} in {type_}, the type of {one.name}",
        "a label for each value that Enerflo has and for each one of values",
        f"Run: alter type {type_} add value …; or name a label that it has, in values. Until then each write"
        " of such a value is parked.",
    )
