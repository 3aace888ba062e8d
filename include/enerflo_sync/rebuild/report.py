"""The report of a rebuild by table: rows that are new, changed or gone, and why other rows stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.warehouse.runs import RunState
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata, personal_data_of

# How many samples are listed for each table and for each field.
SAMPLES = 3


class Sample(msgspec.Struct, frozen=True):
    """One changed value, masked if it is personal data."""

    key: Mapping[str, Any]
    before: Any
    after: Any


class FieldDifference(msgspec.Struct, frozen=True):
    """The number of rows in which a column differs, with samples."""

    field: str
    rows: int
    samples: Sequence[Sample]


class TableDifference(msgspec.Struct, frozen=True):
    """The differences between a mirror table and the rows that its stored records give.

    :param rows: the number of rows that the stored records give.
    :param gone: the number of rows that their record does not list any more.
    :param keys: sample keys of new and of gone rows.
    """

    table_name: str
    rows: int
    new: int
    changed: int
    gone: int
    fields: Sequence[FieldDifference]
    keys: Mapping[str, Sequence[Mapping[str, Any]]]


class Unreadable(msgspec.Struct, frozen=True):
    """Stored records that this release cannot read, grouped by reason; their rows stay as they are."""

    table_name: str
    reason: str
    records: int
    keys: Sequence[Mapping[str, Any]]


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a rebuild.

    :param written: whether the differences were written; if not, nothing was written.
    :param left: counts of rows that stay as they are, by table and reason.
    :param run_id: the run in ``sync.runs``; None if nothing was written.
    """

    account: str
    written: bool
    started_at: datetime
    finished_at: datetime
    tables: Sequence[TableDifference]
    unreadable: Sequence[Unreadable]
    left: Mapping[str, Mapping[str, int]]
    run_id: str | None = None
    state: RunState | None = None

    @property
    def differing(self) -> int:
        """Return how many rows are new, changed or gone."""
        return sum(table.new + table.changed + table.gone for table in self.tables)

    @property
    def needs_a_person(self) -> bool:
        """Return whether a person has to look: there are unwritten differences or unreadable records."""
        return bool(self.unreadable) or (not self.written and bool(self.differing))


@dataclass
class TableOutcome:
    """The differences that one chunk found in one table, with unmasked samples."""

    table_name: str
    rows: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0
    fields: dict[str, tuple[int, list[Any]]] = field(default_factory=dict)
    keys: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        """Return how many rows are new, changed or gone."""
        return self.new + self.changed + self.gone


@dataclass
class Differences:
    """The sum of the chunks' differences; it stores only counts and a few samples."""

    tables: dict[str, TableOutcome] = field(default_factory=dict)
    unreadable: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable_keys: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    left: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, found: TableOutcome) -> None:
        """Add the differences that a chunk found in a table."""
        total = self.tables.setdefault(found.table_name, TableOutcome(found.table_name))
        for name in ("rows", "new", "changed", "gone"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        for name, (rows, samples) in found.fields.items():
            before, kept = total.fields.setdefault(name, (0, []))
            total.fields[name] = (before + rows, (kept + samples)[:SAMPLES])
        for name, keys in found.keys.items():
            total.keys[name] = (total.keys.get(name, []) + keys)[:SAMPLES]

    def leave(self, table_name: str, reason: str, count: int = 1) -> None:
        """Count rows that stay as they are, by reason."""
        if count:
            self.left.setdefault(table_name, Counter())[reason] += count

    def cannot_read(self, table_name: str, reason: str, key: Mapping[str, Any]) -> None:
        """Count a stored record that cannot be read."""
        group = table_name, reason
        self.unreadable[group] += 1
        keys = self.unreadable_keys.setdefault(group, [])
        if len(keys) < SAMPLES:
            keys.append(key)

    def of_tables(self) -> list[TableDifference]:
        """Return the tables' differences, masked, the most frequent field first."""
        return [
            TableDifference(one.table_name, one.rows, one.new, one.changed, one.gone, _fields(one), one.keys)
            for one in self.tables.values()
        ]

    def of_unreadable(self) -> list[Unreadable]:
        """Return the unreadable records by reason, the most frequent reason first."""
        return [
            Unreadable(table_name, reason, count, self.unreadable_keys[table_name, reason])
            for (table_name, reason), count in self.unreadable.most_common()
        ]


def _fields(table: TableOutcome) -> list[FieldDifference]:
    classes = personal_data_of(table.table_name)
    built_in = metadata.tables[f"{MIRROR_SCHEMA}.{table.table_name}"].c
    # A column that sync.yaml declares may hold personal data, so it is masked as free text.
    classes = {name: PersonalData.FREE_TEXT for name in table.fields if name not in built_in} | {**classes}
    ordered = sorted(table.fields.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        FieldDifference(name, rows, [_masked(sample, classes.get(name)) for sample in samples])
        for name, (rows, samples) in ordered
    ]


def _masked(sample: Any, kind: PersonalData | None) -> Sample:
    key, before, after = sample
    if kind is None:
        return Sample(key, before, after)
    return Sample(key, mask(before, kind), mask(after, kind))
