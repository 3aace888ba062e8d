"""Columns of the CRM that write the same field of Enerflo: in one table, in two tables, or in two layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from enerflo_sync.crm.mapping import TableMapping


class SameWrite(NamedTuple):
    """A column of a table, and a column of another one that writes the same field of Enerflo."""

    table: str
    there: str
    here: str


def same_writes(name: str, tables: Mapping[str, TableMapping]) -> Iterator[SameWrite]:
    """Yield each other column that writes the same field as one of a table, in it or in another table.

    Two columns of milestones may be about different milestones: their records tell.
    """
    kind = tables[name].kind(name)
    for other, mapping in tables.items():
        for there, theirs in mapping.fields.items() if mapping.kind(other) == kind else ():
            for here, mine in tables[name].fields.items():
                if theirs.enerflo == mine.enerflo and (other, there) != (name, here):
                    yield SameWrite(other, there, here)
