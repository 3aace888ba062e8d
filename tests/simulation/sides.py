"""What there is on both sides of one settled day, and what the last plan says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.simulation.shapes import OTHER_TYPE, Shape
from tests.simulation.values import Row

Rows = Callable[[str], list[tuple[Any, ...]]]
Same = Callable[[str, Any, Any], None]


class Sides:
    """Reads both sides, once.

    :param rows: answers a query on the warehouse.
    :param same: complains where what is expected is not what is found.
    :param plan: the hash of the last plan.
    """

    def __init__(
        self, rows: Rows, same: Same, truth: Callable[[str], Iterator[Any]], plan: str, shape: Shape
    ) -> None:
        self._plan = plan
        self._shape = shape
        self._tables = shape.tables
        self._rows = rows
        self._same = same
        self._truth = truth
        self._crm = {name: self._table(name) for name in self._tables}
        self._outside = {name: self._records_outside(name) for name in self._tables}
        self._enerflo = {name: self._records(name) for name in self._tables}
        self._listed = self._listed_places()
        # The keys of rows that once named a record of Enerflo.
        self._gone = {
            (name, value): key
            for name, key, value in rows("select table_name, key, value from told.agreed where is_link")
        }
        # The keys that new rows of records were to get.
        self._new_keys = {
            (name, tuple(record.values())): key
            for name, key, record in rows(
                "select table_name, key, enerflo_key from told.plan_changes"
                " where direction = 'to_crm' and op = 'insert' and enerflo_key is not null"
            )
        }
        self._on_their_way = self._handed_over() if shape.copied else set()
        voided = self._enerflo["installs"].values()
        self._voided = {row["install_id"] for row in voided if row["status_name"] == "Voided"}

    def _table(self, name: str) -> list[Row]:
        return [
            row
            for (row,) in self._rows(
                f"select to_jsonb(t) - 'ctid' from {self._shape.seen}.{name} t where {self._shape.living}"
                f" order by (to_jsonb(t) - 'ctid')::text"
            )
        ]

    def _records_outside(self, name: str) -> set[tuple[Any, ...]]:
        """Return the records of rows that ``where`` leaves out."""
        if self._shape.yaml.says.whole:
            return set()
        query = f"select to_jsonb(t) from {self._shape.seen}.{name} t where to_jsonb(t) ->> 'record_type' = '{OTHER_TYPE}'"
        return {self._join(name, row) for (row,) in self._rows(query)}

    def _records(self, name: str) -> dict[tuple[Any, ...], Row]:
        columns = list(self._tables[name].joins.values())
        found = [row._asdict() for row in self._truth(self._tables[name].truth)]
        return {tuple(row[column] for column in columns): row for row in found}

    def _listed_places(self) -> set[tuple[str, str, str | None]]:
        """Return what the last plan left to a person, or tried and was refused."""
        return {
            (table, text_of(key), field)
            for table, key, field in self._rows(
                "select table_name, key, case when left(cause, 7) <> 'missing' then field end"
                f" from told.plan_undecided where plan_hash = '{self._plan}'"
                " union select table_name, key, case when op = 'update' then field end"
                f" from told.plan_changes where plan_hash = '{self._plan}' and state in ('parked', 'refused')"
            )
        }

    def _handed_over(self) -> set[tuple[str, str, str | None]]:
        """Return the places of what was handed over and never arrived: a courier lost it, or brought it too early.

        :raises Divergence: one that the copy shows is not noted.
        """
        found: set[tuple[str, str, str | None]] = set()
        shown = []
        for name, key, record, op, column, after in self._rows(
            'select table_name, key, enerflo_key, op, "column", after from told.crm_changes'
            " where state = 'open' and ended_at is null"
        ):
            found.add((name, text_of(key), column if op == "update" else None))
            if record is not None:
                found.add((name, text_of(self._shape.link_of(name, tuple(record.values()))), None))
            rows = [row for row in self._crm[name] if self._key(name, row) == key]
            plain = self._plain
            if op == "update" and len(rows) == 1 and record is not None:
                is_its = self._join(name, rows[0]) == tuple(record.values())
                if is_its and plain(name, column, rows[0][column]) == plain(name, column, after):
                    shown.append((name, key, column, after))
        self._same("changes that the copy shows, and that count as on their way", [], shown)
        return found

    def _is_on_its_way(self, name: str, key: Row | None, field: str | None = None) -> bool:
        text = text_of(key or {})
        return (name, text, None) in self._on_their_way or (name, text, field) in self._on_their_way

    def _is_listed(self, table: str, key: Row, field: str | None = None) -> bool:
        text = text_of(key)
        return (table, text, None) in self._listed or (
            field is not None and (table, text, field) in self._listed
        )

    def _key(self, name: str, row: Row) -> Row:
        return self._shape.key_of(name, row)

    def _join(self, name: str, row: Row) -> tuple[Any, ...]:
        return self._shape.join_of(name, row)

    def _plain(self, name: str, column: str, value: Any) -> Any:
        return self._shape.plain(name, column, value)


def text_of(key: Row) -> str:
    return json.dumps(key, sort_keys=True)
