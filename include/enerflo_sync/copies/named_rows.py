"""New rows whose record a row of the CRM's own database names by now, maybe in another spelling of the key.

The copy does not have what somebody made there since it was read, and the statement that makes a row looks
for the row's own key only. So the links are looked up there just before new rows are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import RemoteColumn
from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_table import RemoteTable
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.near_keys import is_near_any

NAMED = "a row of the CRM names the record by now, or may do so in another spelling of the key"

# How many new rows one query looks for.
_TOGETHER = 200
_FLOATS = ("double precision", "real")


def named_already(
    connection: sa.Connection,
    theirs: sa.Connection,
    remote: RemoteTable,
    comparison: Comparison,
    writes: Sequence[RowWrite],
) -> set[int]:
    """Return the positions of the new rows among the writes whose record a row there names already.

    :param connection: to the warehouse, in the caller's transaction: it judges the spelling of keys.
    :param theirs: to the CRM's database.
    """
    names = [join.crm_name for join in comparison.joins]
    columns = {one.name: one for one in remote.columns if one.name in names}
    if {*names} <= {one.name for one in remote.key} and not any(one.is_text for one in columns.values()):
        # The statement that makes the row looks for this key, which has one spelling.
        return set()
    new = [place for place, write in enumerate(writes) if write.op == "insert" and _names(write, names)]
    found: set[int] = set()
    for first in range(0, len(new), _TOGETHER):
        some = {place: writes[place].values for place in new[first : first + _TOGETHER]}
        rows = _alike(theirs, remote, columns, some)
        found |= {
            place
            for place, values in some.items()
            if any(_is_named(connection, columns, values, row) for row in rows)
        }
    return found


def _names(write: RowWrite, names: Sequence[str]) -> bool:
    return all(write.values.get(name) is not None for name in names)


def _alike(
    theirs: sa.Connection,
    remote: RemoteTable,
    columns: Mapping[str, RemoteColumn],
    new: Mapping[int, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the links of rows there that may name one of the records: texts equal its id, or contain it."""
    dialect = remote.dialect
    texts = [name for name, column in columns.items() if column.is_text]
    exact, spelled, parameters = [], [], dict[str, Any]()
    for place, values in new.items():
        equal, contained = [], []
        for n, (name, column) in enumerate(columns.items()):
            one = f"l{place}_{n}"
            if name in texts:
                equal.append(f"{dialect.as_text(column)} = :{one}")
                contained.append(f"{dialect.as_text(column)} like :{one}_like")
                parameters[one] = str(values[name])
                parameters[f"{one}_like"] = f"%{_significant(values[name])}%"
            else:
                same = f"{dialect.quoted(column.own)} = {dialect.compared(f':{one}', column)}"
                equal.append(same)
                contained.append(same)
                parameters[one] = dialect.parameter(column, values[name])
        exact.append(f"({' and '.join(equal)})")
        spelled.append(f"({' and '.join(contained)})")
    conditions = list(exact)
    if texts:
        # Another spelling is longer. Nearly all rows have the plain one, and are looked at no further.
        longer = []
        for n, name in enumerate(texts):
            least = min(len(_significant(values[name])) for values in new.values())
            longer.append(f"{dialect.as_text(columns[name])} like :longer{n}")
            parameters[f"longer{n}"] = "_" * (least + 1) + "%"
        conditions.append(f"(({' or '.join(longer)}) and ({' or '.join(spelled)}))")
    # As text, a number may have fewer digits than it holds, or be a digest of it (Snowflake).
    links = ", ".join(
        dialect.quoted(column.own) if column.type in _FLOATS else dialect.as_text(column)
        for column in columns.values()
    )
    query = f"select distinct {links} from {remote.table} where {' or '.join(conditions)}"  # noqa: S608 - quoted
    rows = theirs.execute(dialect.statement(query, parameters), parameters)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _significant(key: Any) -> str:
    text = str(key).strip()
    return text.lstrip("+0") or text


def _is_named(
    connection: sa.Connection,
    columns: Mapping[str, RemoteColumn],
    values: Mapping[str, Any],
    row: Mapping[str, Any],
) -> bool:
    return all(
        is_near_any(connection, str(values[name]), [str(row[name])])
        if column.is_text
        else _is_same(values[name], str(row[name]))
        for name, column in columns.items()
    )


def _is_same(key: Any, text: str) -> bool:
    """Return whether a key equals one that the CRM's database gave as text: it may write ``1`` as ``1.0``."""
    if isinstance(key, int | float | Decimal):
        with suppress(InvalidOperation):
            return Decimal(str(key)) == Decimal(text)
    return str(key) == text
