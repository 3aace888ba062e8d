"""Which milestones stand in columns of one row, written down a second time beside the engine's own reading."""

from __future__ import annotations

from typing import Any, NamedTuple


class WideColumn(NamedTuple):
    """A column of a wide table: the milestone that it names, by title or id, and what of it."""

    milestone: str | int
    enerflo: str
    type: str
    policy: str


WIDE_ZONE = "America/Denver"
WIDE_COLUMNS = {
    "permit_date": WideColumn("Permitting", "completed_at", "date", "newest"),
    "permit_due": WideColumn("permitting ", "due_at", "timestamptz", "newest"),
    "pto_date": WideColumn(3907, "completed_at", "timestamptz", "newest"),
    "plans_begun": WideColumn("Engineering", "started_at", "timestamptz", "crm"),
    "utility_due": WideColumn("Interconnection", "due_at", "timestamptz", "enerflo"),
}


def in_columns(milestone: int, title: str, column: str) -> list[WideColumn]:
    """Return the wide columns that name a milestone's field."""
    names = (milestone, title.strip().casefold())
    return [
        one
        for one in WIDE_COLUMNS.values()
        if one.enerflo == column
        and (one.milestone.strip().casefold() if isinstance(one.milestone, str) else one.milestone) in names
    ]


def wide_mapping(table: str, deleted_when: dict[str, Any] | None) -> dict[str, Any]:
    """Return what sync.yaml says of the wide table ``permits``.

    :param table: where its columns stand; :param deleted_when: what marks its rows, where rows are marked.
    """
    columns = {
        name: {
            "milestone": one.milestone,
            "enerflo": one.enerflo,
            "type": "date" if one.type == "date" else "timestamp",
            "source_of_truth": one.policy,
            **({"time_zone": WIDE_ZONE} if one.type == "date" else {"precision": "second"}),
        }
        for name, one in WIDE_COLUMNS.items()
    }
    return {
        **{"of": "milestones", "layout": "wide", "crm_table": f"crm.{table}"},
        **{"key": {"enerflo_install_id": "install_id"}, "updated_at": "updated_at"},
        **({"deleted_when": deleted_when} if deleted_when else {}),
        "columns": columns,
    }
