"""Wide tables of milestones: which milestone a column belongs to, and mistakes in declaring it."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.crm.mapping import RecordKind, TableMapping, WideColumn
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.problems import Problem, listed, nearest
from enerflo_sync.crm.source import Place, Source

# A wide table's row is an install with only some of its columns, so plans neither insert nor delete rows.
_OF_ROWS = ("create_in", "create_only", "create_when", "delete_in", "on_insert", "adopt", "void_in")

# Columns of a milestone's own table that name it.
_NAMES = ("install_id", "milestone_id")

_MAY_READ = sa.text("""
/* enerflo-sync doctor: are the mirror's milestones there, and may they be read? */
select coalesce(has_table_privilege(t.oid, 'select') and has_schema_privilege(t.relnamespace, 'usage'), false)
from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = 'enerflo' and t.relname = 'milestones'
""")
_LIVING = "from enerflo.milestones m where m.account = %(account)s and m.deleted_at is null"
_TITLES = sa.text("""
/* enerflo-sync doctor: titles of milestones, the most frequent first */
select btrim(title) as title, min(milestone_id) as milestone_id from enerflo.milestones
where account = :account and deleted_at is null and title is not null
group by 1 order by count(*) desc, 1 limit 40
""")


def is_milestone(wanted: str | int, alias: str) -> str:
    """Return the condition that a mirror row of a milestone has the title, or the id."""
    if isinstance(wanted, int):
        return f"{alias}.milestone_id = {wanted}"
    return f"lower(btrim({alias}.title)) = lower(btrim({literal(wanted)}))"


def names_milestone(wanted: str | int, milestone_id: int, title: str | None) -> bool:
    """Return whether a milestone with this id and title has the wanted title or id."""
    return milestone_id == wanted if isinstance(wanted, int) else _folded(title or "") == _folded(wanted)


def same_milestone(left: WideColumn, right: WideColumn) -> bool | None:
    """Return whether two columns name the same milestone; None if a title and an id leave that open."""
    names = left.milestone, right.milestone
    if isinstance(names[0], str) and isinstance(names[1], str):
        return _folded(names[0]) == _folded(names[1])
    return names[0] == names[1] if type(names[0]) is type(names[1]) else None


def _folded(title: str) -> str:
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


def unknown_milestones(
    connection: sa.Connection, mapping: TableMapping, account: str
) -> Iterator[tuple[tuple[str, ...], str, str, str]]:
    """Yield columns whose milestone no install has: place, what was found and expected, and what to do.

    Yields nothing while no install has any milestone, because then none was read yet.
    """
    if not mapping.is_wide or not connection.scalar(_MAY_READ) or not _exists(connection, account, "true"):
        return
    lacking = [
        (column, one)
        for column, one in mapping.columns.items()
        if not _exists(connection, account, is_milestone(one.milestone, "m"))
    ]
    if not lacking:
        return
    known = {row.title: row.milestone_id for row in connection.execute(_TITLES, {"account": account})}
    for column, one in lacking:
        titled = isinstance(one.milestone, str)
        near = nearest(str(one.milestone), known) if titled else ""
        step = f"Did you mean {near}?" if near else "Write the title, or the id, that Enerflo shows."
        if titled:
            step += " An id would stay the same when a title is changed at Enerflo."
        names = known if titled else [f"{number} ({title})" for title, number in known.items()]
        yield (
            ("columns", column, "milestone"),
            f"{one.called}, which no install has",
            listed(names, limit=20),
            step,
        )


def _exists(connection: sa.Connection, account: str, condition: str) -> bool:
    query = f"/* enerflo-sync doctor: has an install it? */ select exists (select {_LIVING} and {condition})"
    return bool(connection.exec_driver_sql(query, {"account": account}).scalar())
