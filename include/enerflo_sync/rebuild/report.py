"""What a rebuild found and did, by table: rows that are new, changed or gone, and why others stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from enerflo_sync.masking import PERSONAL_COLUMNS, PersonalData, mask
from enerflo_sync.warehouse.runs import RunState
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

# Of each table, and of each field of it.
SAMPLES = 3


class Sample(msgspec.Struct, frozen=True):
    """One changed value, masked where it is personal."""

    key: Mapping[str, Any]
    before: Any
    after: Any


class FieldDifference(msgspec.Struct, frozen=True):
    """In how many rows a column differs, with samples."""

    field: str
    rows: int
    samples: Sequence[Sample]


class TableDifference(msgspec.Struct, frozen=True):
    """How a mirror table differs from what its stored records say.

    :param rows: how many the records say.
    :param gone: rows that their record does not list.
    :param keys: samples of the new and of the gone rows.
    """

    table_name: str
    rows: int
    new: int
    changed: int
    gone: int
    fields: Sequence[FieldDifference]
    keys: Mapping[str, Sequence[Mapping[str, Any]]]


class Unreadable(msgspec.Struct, frozen=True):
    """Stored records that cannot be read any more, by what is wrong with them; their rows stay."""

    table_name: str
    reason: str
    records: int
    keys: Sequence[Mapping[str, Any]]


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild found.

    :param written: whether the differences were written; without, nothing was.
    :param left: rows that stay as they are, by table and reason.
    :param run_id: its record in ``sync.runs``; None where nothing was written.
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
        """Return whether something waits: differences that are not written, or what cannot be read."""
        return bool(self.unreadable) or (not self.written and bool(self.differing))


@dataclass
class TableOutcome:
    """What one chunk found in one table; rows and samples as the database gives them."""

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
    """Adds up what the chunks of a rebuild found; as large as its samples, however many rows differ."""

    tables: dict[str, TableOutcome] = field(default_factory=dict)
    unreadable: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable_keys: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    left: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, found: TableOutcome) -> None:
        """Add what a chunk found in a table."""
        total = self.tables.setdefault(found.table_name, TableOutcome(found.table_name))
        for name in ("rows", "new", "changed", "gone"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        for name, (rows, samples) in found.fields.items():
            before, kept = total.fields.setdefault(name, (0, []))
            total.fields[name] = (before + rows, (kept + samples)[:SAMPLES])
        for name, keys in found.keys.items():
            total.keys[name] = (total.keys.get(name, []) + keys)[:SAMPLES]

    def leave(self, table_name: str, reason: str, count: int = 1) -> None:
        """Note rows that stay as they are."""
        if count:
            self.left.setdefault(table_name, Counter())[reason] += count

    def cannot_read(self, table_name: str, reason: str, key: Mapping[str, Any]) -> None:
        """Note a stored record that cannot be read."""
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
        """Return what cannot be read, the most frequent trouble first."""
        return [
            Unreadable(table_name, reason, count, self.unreadable_keys[table_name, reason])
            for (table_name, reason), count in self.unreadable.most_common()
        ]


def _fields(table: TableOutcome) -> list[FieldDifference]:
    classes = PERSONAL_COLUMNS.get(table.table_name, {})
    built_in = metadata.tables[f"{MIRROR_SCHEMA}.{table.table_name}"].c
    # Of a declared column only the mapping may know that it names nobody.
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
