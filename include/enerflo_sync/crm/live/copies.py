"""Tables that a tool maintains as copies of another system, recognised by the columns that the tool adds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.notice import Notice


@dataclass(frozen=True)
class CopyTool:
    """A tool that copies tables into warehouses.

    :param marks: columns that the tool adds; one of them is enough to recognise the tool.
    :param arrivals: the columns with the time at which the copy got the row, the best first.
    :param deletions: the columns that mark a row as deleted, each with its mark.
    """

    name: str
    marks: Collection[str]
    arrivals: Collection[str]
    deletions: Collection[tuple[str, str]] = ()


TOOLS = (
    CopyTool(
        "Fivetran",
        ("_fivetran_synced", "_fivetran_deleted", "_fivetran_id", "_fivetran_active", "_fivetran_batch"),
        ("_fivetran_synced",),
        (("_fivetran_deleted", "true"), ("_fivetran_active", "false")),
    ),
    CopyTool(
        "Airbyte",
        (
            "_airbyte_extracted_at",
            "_airbyte_raw_id",
            "_airbyte_emitted_at",
            "_airbyte_ab_id",
            "_airbyte_meta",
        ),
        ("_airbyte_extracted_at", "_airbyte_normalized_at", "_airbyte_emitted_at"),
        (("_ab_cdc_deleted_at", "not_null"),),
    ),
    CopyTool(
        "Stitch or another Singer tap",
        ("_sdc_extracted_at", "_sdc_batched_at", "_sdc_received_at", "_sdc_sequence", "_sdc_table_version"),
        ("_sdc_batched_at", "_sdc_received_at", "_sdc_extracted_at"),
        (("_sdc_deleted_at", "not_null"),),
    ),
    CopyTool("dlt", ("_dlt_id", "_dlt_load_id"), ()),
    CopyTool(
        "Hevo",
        ("__hevo__ingested_at", "__hevo__loaded_at", "__hevo_id"),
        ("__hevo__loaded_at", "__hevo__ingested_at"),
        (("__hevo__marked_deleted", "true"),),
    ),
)


def tool_of(table: LiveTable) -> CopyTool | None:
    """Return the tool whose columns a table has; None if the table does not look like a copy."""
    return next((tool for tool in TOOLS if any(mark in table.columns for mark in tool.marks)), None)


def copy_hints(mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield the tool's columns for arrival and deletion that the mapping does not use yet."""
    tool = tool_of(table)
    if tool is None:
        return
    arrival = next(
        (name for name in tool.arrivals if name in table.columns and table.columns[name].kind.is_time), None
    )
    if arrival is not None and mapping.arrived_at is None:
        yield Notice(
            "hint",
            ("arrived_at",),
            f"no arrived_at, in a copy that {tool.name} keeps",
            "the column with the time at which the copy got the row",
            f"Write arrived_at: {arrival}; changed rows are then found without a look at all rows.",
        )
    marks = {name: mark for name, mark in tool.deletions if name in table.columns}
    if marks and not mapping.deleted_when:
        name, mark = next(iter(marks.items()))
        yield Notice(
            "hint",
            ("deleted_when",),
            f"no deleted_when, in a copy that {tool.name} keeps",
            "the column that marks a deleted row, which stays in the copy",
            f"Write deleted_when: {{{name}: {mark}}}, or deleted rows are compared as living ones.",
        )
