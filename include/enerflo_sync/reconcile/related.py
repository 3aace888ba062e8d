"""Other tables of ``sync.yaml`` between which a person may move what the CRM says of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sibling:
    """Another table with the same CRM table: a row may move from one to the other.

    :param same_fields: the columns that mean the same in both.
    :param keeps_times: whether its pairs are stored with the times of both sides' records.
    """

    same_fields: frozenset[str]
    keeps_times: bool


@dataclass(frozen=True)
class Relative:
    """A table in which the record of a mismatched row may have had another row before.

    That is a table with another CRM table and the same kind of records, or the table itself, whose row got
    another key.

    :param fields: by column of the mismatched row, the column there that means the same.
    :param of_record: the condition that an agreed pair ``q`` is about the record of a mismatched row ``o``.
    :param stands: makes of the SQL of a stored key and of its record's key (None: any record) the condition
        that the row is still in that CRM table.
    """

    fields: Mapping[str, str]
    of_record: str
    stands: Callable[[str, str | None], str]
