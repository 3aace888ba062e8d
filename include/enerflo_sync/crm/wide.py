"""Wide tables of milestones: which milestone a column belongs to, and mistakes in declaring it."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.crm.mapping import RecordKind, TableMapping, WideColumn
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.problems import Problem
from enerflo_sync.crm.source import Place, Source

# A wide table's row is an install with only some of its columns, so plans neither insert nor delete rows.
_OF_ROWS = ("create_in", "create_only", "create_when", "delete_in", "on_insert", "adopt", "void_in")

# Columns of a milestone's own table that name it.
_NAMES = ("install_id", "milestone_id")


def is_milestone(wanted: str | int, alias: str) -> str:
    """Return the condition that a mirror row of a milestone has the title, or the id."""
    if isinstance(wanted, int):
        return f"{alias}.milestone_id = {wanted}"
    return f"lower(btrim({alias}.title)) = lower(btrim({literal(wanted)}))"


def names_milestone(wanted: str | int, milestone_id: int, title: str | None) -> bool:
    """Return whether a milestone with this id and title has the wanted title or id."""
    return (
        milestone_id == wanted
        if isinstance(wanted, int)
        else folded_title(title or "") == folded_title(wanted)
    )


def same_milestone(left: WideColumn, right: WideColumn) -> bool | None:
    """Return whether two columns name the same milestone; None if a title and an id leave that open."""
    names = left.milestone, right.milestone
    if isinstance(names[0], str) and isinstance(names[1], str):
        return folded_title(names[0]) == folded_title(names[1])
    return names[0] == names[1] if type(names[0]) is type(names[1]) else None


def folded_title(title: str) -> str:
    """Return a title in the form in which titles are compared."""
    return title.strip().lower()


def layout_problems(kind: str, mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    """Return mistakes in a table's layout and in the milestones of a wide table."""
    other = "fields" if mapping.is_wide else "columns"
    if other in mapping.model_fields_set:
        found = f"{other} in a table of layout {mapping.layout}"
        expected = f"{mapping.section}" + ("" if mapping.is_wide else ", or layout: wide beside it")
        yield source.problem((*place, other), found, expected)
    elif not mapping.fields:
        about = TableMapping.model_fields[mapping.section].description or ""
        expected = f"{mapping.section} ({about.rstrip('.')})"
        yield source.problem((*place, mapping.section), "nothing", expected)
    if not mapping.is_wide:
        return
    if kind != RecordKind.MILESTONES:
        yield source.problem((*place, "layout"), f"wide in a table of {kind}", "wide only of milestones")
        return
    for option in _OF_ROWS:
        if option in mapping.model_fields_set and getattr(mapping, option):
            expected = "none: rows of a wide table are neither created nor deleted"
            yield source.problem((*place, option), f"{option} with layout wide", expected)
    yield from _repeated(mapping, source, place)
    for column, one in mapping.columns.items():
        if one.enerflo in _NAMES:
            here = (*place, "columns", column, "enerflo")
            yield source.problem(here, f"the column {one.enerflo}", "a column that the milestone itself has")


def _repeated(mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    """Yield columns for a field of a milestone that another column has already."""
    seen: list[tuple[str, WideColumn]] = []
    for column, one in mapping.columns.items():
        first = next((name for name, other in seen if _is_same_field(one, other)), None)
        if first is not None:
            found = f"{one.enerflo} of {one.called} a second time"
            expected = (
                f"one column for it: {first} has it already (line {source.line((*place, 'columns', first))})"
            )
            yield source.problem((*place, "columns", column), found, expected)
        seen.append((column, one))


def _is_same_field(one: WideColumn, other: WideColumn) -> bool:
    return one.enerflo == other.enerflo and same_milestone(one, other) is True
