"""The cells of an exported list of differences, the same for CSV and for a workbook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from enerflo_sync.counted import count_of
from enerflo_sync.crm.fields import FieldType
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.reconcile.fit.hints import HINT_TEXTS, Hint
from enerflo_sync.reconcile.render.cause_texts import CAUSES
from enerflo_sync.reconcile.render.wording import key_values, shown_values
from enerflo_sync.reconcile.report import Difference, ReconciliationReport, StoredDifference

# The header of the install's Enerflo id, whatever the CRM calls its column.
INSTALL_ID: Final = "enerflo_install_id"
WHOLE_RECORD: Final = "whole record"
# Columns that follow those of the key.
VALUE_COLUMNS: Final = (
    "field",
    "enerflo",
    "crm",
    "cause",
    "cause_label",
    "since",
    "hint",
    "hint_words",
    "masked",
)
_WIDEST: Final = 1_000_000
# The full-width forms are included, since some spreadsheets treat them like the plain signs.
_BEGINS_A_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class ExportedTable:
    """How the differences of one mapped table are exported.

    :param key: the columns of the key, each with its name in the export.
    :param types: by field, the domain of its comparison; other fields are text.
    """

    name: str
    key: Mapping[str, str]
    types: Mapping[str, FieldType]


def exported_tables(
    report: ReconciliationReport, mappings: Mapping[str, TableMapping] | None = None
) -> dict[str, ExportedTable]:
    """Return how each table of a report is exported.

    :param mappings: the mapping by table. A table without one exports the keys of the report's samples
        unchanged, and every value in its JSON form.
    """
    tables = {}
    for table in report.tables:
        mapping = (mappings or {}).get(table.table_name)
        joined = mapping.join_columns if mapping else {}
        columns = dict.fromkeys(mapping.key_columns if mapping else ())
        for sample in table.samples:
            columns |= dict.fromkeys(sample.key)
        tables[table.table_name] = ExportedTable(
            name=table.table_name,
            key={
                name: INSTALL_ID if name == INSTALL_ID or joined.get(name) == "install_id" else name
                for name in columns
            },
            types={name: one.type for name, one in mapping.fields.items()} if mapping else {},
        )
    return tables


def key_columns(tables: Mapping[str, ExportedTable]) -> list[str]:
    """Return the key columns of all tables, the install's first."""
    further = (name for table in tables.values() for name in table.key.values())
    return list(dict.fromkeys([INSTALL_ID, *further]))


def exported_key(difference: Difference, table: ExportedTable | None) -> dict[str, Any]:
    """Return the parts of a difference's key by their names in the export."""
    names = table.key if table else {}
    return {names.get(name, name): value for name, value in difference.key.items()}


def sides(difference: Difference) -> tuple[Any, Any]:
    """Return both sides' values; for a whole record a description in words."""
    if difference.field is not None:
        return difference.enerflo_value, difference.crm_value
    mine, theirs = shown_values(difference, _WIDEST)
    return (
        _rows_in_words(difference.enerflo_value) or mine.short,
        _rows_in_words(difference.crm_value) or theirs.short,
    )


def _rows_in_words(value: Any) -> str:
    """Return the values of each row that shares a key, in words; empty for any other value."""
    if not isinstance(value, dict) or not isinstance(value.get("values"), list):
        return ""
    rows = (
        f"{key_values(key)} ({', '.join(f'{name} {plain(value)}' for name, value in row.items())})"
        for key, row in zip(value["keys"], value["values"], strict=False)
    )
    return f"{count_of(value['rows'], 'row')}: {'; '.join(rows)}"


def plain(value: Any) -> str:
    """Return a value as a text without quotes; a list or an object as JSON."""
    return (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)
    )


def words_of(difference: Difference) -> tuple[str, str]:
    """Return the cause and the hint of a difference in words."""
    hint = "" if difference.hint is None else HINT_TEXTS[Hint(difference.hint)]
    return CAUSES[difference.cause].label, hint


def since_of(difference: Difference) -> datetime | None:
    """Return when a reconciliation first found a difference; None if unknown."""
    return difference.since if isinstance(difference, StoredDifference) else None


def begins_a_formula(text: str) -> bool:
    """Return whether a spreadsheet could read a text as a formula; it does not with a plain number."""
    return text.startswith(_BEGINS_A_FORMULA) and not _NUMBER.fullmatch(text)
