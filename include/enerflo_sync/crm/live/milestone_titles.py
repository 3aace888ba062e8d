"""Titles that milestones had, for wide columns that name a milestone by its title.

A milestone's id stays; an administrator of Enerflo may change its title, or give its title to another one.
Each install shows that only once it is read again. So the titles of each id are kept, in the order in which
they were seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from enerflo_sync.crm.mapping import TableMapping, WideColumn
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.problems import listed, nearest
from enerflo_sync.crm.wide import folded_title, is_milestone

# They are kept beside the key columns of the pairs, under a name that no table can have.
STORED_AS = "/titles"
_MAY_READ = sa.text("""
/* enerflo-sync doctor: may the mirror's milestones be read, and their former titles? */
select count(*) = 2 from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where (n.nspname, t.relname) in (('enerflo', 'milestones'), ('sync', 'agreed_keys'))
  and has_schema_privilege(t.relnamespace, 'usage') and has_table_privilege(t.oid, 'select')
""")
_KEPT = sa.text("""
/* enerflo-sync: titles that milestones had */
select columns from sync.agreed_keys where account = :account and table_name = :stored_as
""")
# A row may be stored after one that was observed later.
_SEEN = sa.text("""
/* enerflo-sync: titles of milestones that were seen lately */
select milestone_id, lower(btrim(title)) as title, max(observed_at) as seen_at from enerflo.milestones
where account = :account and title is not null
  and observed_at >= coalesce(cast(:until as timestamptz) - interval '6 hours', '-infinity')
group by 1, 2 order by 3, 1, 2
""")
_LACKING = """
/* enerflo-sync: installs in which a milestone has another title than its column names */
select count(distinct m.install_id) from enerflo.milestones m
where m.account = %(account)s and m.deleted_at is null and m.milestone_id = any(%(ids)s::bigint[])
  and not exists (
    select from enerflo.milestones o
    where o.account = m.account and o.install_id = m.install_id and o.deleted_at is null and {named})
"""


_MAY_READ_MILESTONES = sa.text("""
/* enerflo-sync doctor: are the mirror's milestones there, and may they be read? */
select coalesce(has_table_privilege(t.oid, 'select') and has_schema_privilege(t.relnamespace, 'usage'), false)
from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = 'enerflo' and t.relname = 'milestones'
""")
_LIVING = "from enerflo.milestones m where m.account = %(account)s and m.deleted_at is null"
_GONE = "from enerflo.milestones m where m.account = %(account)s and m.deleted_at is not null"
_TITLES = sa.text("""
/* enerflo-sync doctor: titles of milestones, the most frequent first */
select btrim(title) as title, min(milestone_id) as milestone_id from enerflo.milestones
where account = :account and deleted_at is null and title is not null
group by 1 order by count(*) desc, 1 limit 40
""")


class Titles(NamedTuple):
    """The titles that each milestone had, folded and in their order; and until when they were looked for."""

    by_milestone: Mapping[int, Sequence[str]]
    until: str | None

    def of(self, title: str) -> list[int]:
        """Return the milestones that have or had the title."""
        return [one for one, titles in self.by_milestone.items() if folded_title(title) in titles]

    def moved_to(self, title: str) -> list[int]:
        """Return the milestones with this title that were called otherwise when another one had it."""
        had = self.of(title)
        later = [one for one in had if self.by_milestone[one][0] != folded_title(title)]
        return later if len(had) > len(later) else []

    def as_stored(self) -> dict[str, Any]:
        """Return the titles in the form in which they are kept."""
        return {
            "titles": {str(one): list(titles) for one, titles in self.by_milestone.items()},
            "until": self.until,
        }


class Retitled(NamedTuple):
    """A column whose milestone has another title by now, in some installs or in all, or is gone from all.

    :param renamed: the milestones that have another title in some installs; none where the column's title
        went to another milestone, or no install has the milestone any more.
    :param found: what is to be known of it.
    """

    column: str
    title: str
    renamed: Sequence[int]
    found: str
    expected: str = "one milestone of this title"
    next_step: str = "Name the milestone by its id in sync.yaml, which stays the same."


def titled_columns(mapping: TableMapping) -> dict[str, str]:
    """Return the columns of a wide table that name their milestone by its title, with the title."""
    return {
        column: field.milestone
        for column, field in mapping.fields.items()
        if isinstance(field, WideColumn) and isinstance(field.milestone, str)
    }


def kept_titles(connection: sa.Connection, account: str) -> Titles:
    """Return the titles that milestones had when they were last looked for."""
    named = {"account": account, "stored_as": STORED_AS}
    kept = connection.execute(_KEPT, named).scalar() or {}
    titles = {int(one): tuple(titles) for one, titles in kept.get("titles", {}).items()}
    return Titles(titles, kept.get("until"))


def present_titles(connection: sa.Connection, account: str) -> Titles:
    """Return the titles that milestones had until now."""
    kept = kept_titles(connection, account)
    found = {one: list(titles) for one, titles in kept.by_milestone.items()}
    until = kept.until
    for row in connection.execute(_SEEN, {"account": account, "until": kept.until}):
        titles = found.setdefault(row.milestone_id, [])
        if row.title not in titles:
            titles.append(row.title)
        until = max(until or "", row.seen_at.isoformat())
    return Titles(found, until)


def retitled(connection: sa.Connection, mapping: TableMapping, account: str) -> Iterator[Retitled]:
    """Yield the columns whose milestone has another title by now, or that no install has any more."""
    titled = titled_columns(mapping)
    renamed = list(_retitled(connection, titled, account)) if titled else []
    yield from renamed
    told = {one.column for one in renamed}
    for column, one in _nowhere(connection, mapping, account):
        if column not in told and _is_of_before(connection, account, one.milestone):
            found = f"no install has {one.called} any more, so nothing is compared there"
            step = "Write the milestone that took its place, or remove the column from sync.yaml."
            yield Retitled(column, str(one.milestone), (), found, "a milestone that installs have", step)


def _retitled(connection: sa.Connection, titled: Mapping[str, str], account: str) -> Iterator[Retitled]:
    titles = present_titles(connection, account)
    for column, title in titled.items():
        moved = titles.moved_to(title)
        if moved:
            first = [one for one in titles.of(title) if one not in moved]
            found = (
                f"the title {title!r} is that of {_called(moved)} by now, and was that of {_called(first)}"
            )
            yield Retitled(column, title, (), found)
        renamed = [one for one in titles.of(title) if len(titles.by_milestone[one]) > 1 and one not in moved]
        lacking = _lacking(connection, title, renamed, account) if renamed else 0
        if lacking:
            other = f"{_called(renamed)} under another title than {title!r}"
            found = f"{lacking:,} install(s) have {other}, which is not compared there"
            yield Retitled(column, title, renamed, found)


def title_notices(connection: sa.Connection, mapping: TableMapping, account: str) -> Iterator[Notice]:
    """Yield the columns whose milestone has another title by now, or that no install has any more."""
    if not mapping.is_wide or not connection.scalar(_MAY_READ):
        return
    for one in retitled(connection, mapping, account):
        yield Notice("warning", ("columns", one.column, "milestone"), one.found, one.expected, one.next_step)


def _lacking(connection: sa.Connection, title: str, milestones: Sequence[int], account: str) -> int:
    statement = _LACKING.format(named=is_milestone(title, "o"))
    values = {"account": account, "ids": list(milestones)}
    return int(connection.exec_driver_sql(statement, values).scalar_one())


def _called(milestones: Sequence[int]) -> str:
    return "milestone " + " and ".join(map(str, milestones))


def unknown_milestones(
    connection: sa.Connection, mapping: TableMapping, account: str
) -> Iterator[tuple[tuple[str, ...], str, str, str]]:
    """Yield columns whose milestone no install has or had: place, what was found and expected, what to do.

    Yields nothing while no install has any milestone, because then none was read yet. A milestone that has
    another title by now, or that all installs lost, is a warning (:func:`title_notices`): its column alone is
    not compared.
    """
    if not mapping.is_wide or not connection.scalar(_MAY_READ_MILESTONES):
        return
    lacking = [
        (column, one)
        for column, one in _nowhere(connection, mapping, account)
        if not _was_renamed(connection, account, one.milestone)
        and not _is_of_before(connection, account, one.milestone)
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


def _nowhere(
    connection: sa.Connection, mapping: TableMapping, account: str
) -> Iterator[tuple[str, WideColumn]]:
    """Yield the columns whose milestone no install has; none while no install has any milestone."""
    columns = list(mapping.columns.items())
    found = [f"exists (select {_LIVING} and {is_milestone(one.milestone, 'm')})" for _, one in columns]
    query = f"/* enerflo-sync: which milestones has some install? */ select {', '.join(found)}"
    if not mapping.is_wide or not _exists(connection, account, _LIVING):
        return
    there = connection.exec_driver_sql(query, {"account": account}).one()
    yield from (named for named, has in zip(columns, there, strict=True) if not has)


def _exists(connection: sa.Connection, account: str, rows: str) -> bool:
    query = f"/* enerflo-sync doctor: has an install it? */ select exists (select {rows})"
    return bool(connection.exec_driver_sql(query, {"account": account}).scalar())


def _was_renamed(connection: sa.Connection, account: str, wanted: str | int) -> bool:
    if isinstance(wanted, int) or not connection.scalar(_MAY_READ):
        return False
    had = kept_titles(connection, account).of(wanted)
    named = f"{_LIVING} and m.milestone_id in ({', '.join(map(str, had))})"
    return bool(had) and _exists(connection, account, named)


def _is_of_before(connection: sa.Connection, account: str, wanted: str | int) -> bool:
    """Return whether installs had the milestone, and none has it any more under any title."""
    return _exists(connection, account, f"{_GONE} and {is_milestone(wanted, 'm')}")
