"""Build the catalogue from the stored versions of records, reading each version once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.catalogue.fits import ColumnFit, column_fits, take_record
from enerflo_sync.catalogue.paths import Path, kind_of, leaves, masked_example, value_at
from enerflo_sync.catalogue.report import FieldCatalogue, FieldEntry
from enerflo_sync.crm.columns import declared
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror.declared import extended
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.resources.fields import Record
from enerflo_sync.resources.registry import STORED
from enerflo_sync.resources.resource import Part, Resource
from enerflo_sync.warehouse.declared import DeclaredColumn

MONTH = timedelta(days=30)
# Versions in memory at once.
_CHUNK = 200

_COUNT = Template("""
/* enerflo-sync fields: how many versions of $name */
select count(*) from $versions where account = :account
""")

# A version is valid until the next version of its record.
_VERSIONS = Template("""
/* enerflo-sync fields: versions, with the end of their validity */
select v.raw::text as raw, v.first_seen_at,
  lead(v.first_seen_at) over (
    partition by v.$id order by v.first_seen_at, v.content_hash) as replaced_at,
  i.$id is not null as is_current, g.deleted_at
from $versions v
left join $table g on g.account = v.account and g.$id = v.$id
left join $table i on i.account = v.account and i.$id = v.$id
  and i.content_hash = v.content_hash and i.deleted_at is null
where v.account = :account order by v.$id, v.first_seen_at, v.content_hash
""")


@dataclass
class _Seen:
    """The findings for one path so far."""

    types: Counter[str] = field(default_factory=Counter)
    filled: int = 0
    example: str | None = None
    first: datetime | None = None
    last: datetime | None = None
    stands: bool = False


@dataclass
class _Catalogue:
    paths: dict[Path, _Seen] = field(default_factory=dict)
    records: int = 0
    versions: int = 0
    unreadable: int = 0
    oldest: datetime | None = None
    # One current record per path that has a value there.
    samples: dict[Path, Any] = field(default_factory=dict)


_SOME = Template("""
/* enerflo-sync doctor: some of the newest versions of $name */
select raw from $versions where account = :account order by first_seen_at desc limit 200
""")


def fed_columns(
    connection: sa.Connection, account: str, config: SyncConfig, table_name: str
) -> Mapping[str, list[str]]:
    """Return by mirror column the paths of Enerflo's records that it is read from, as some new records show.

    :param table_name: a table of the mirror; without stored versions of its records there is nothing to show.
    """
    if table_name not in STORED:
        return {}
    resource, part = STORED[table_name]
    found = _Catalogue()
    now = datetime.now(UTC)
    for record in connection.scalars(sa.text(_SOME.substitute(resource.names)), {"account": account}):
        with suppress(BadRecordError):
            for one in _objects(resource, part, record):
                _take(found, one, now, None)
    columns = [one for one in declared(config.columns) if one.table == table_name]
    prefix = f"{part.fields[0]}." if part.fields else ""
    fed: dict[str, list[str]] = {}
    for path, names in sorted(_feeds(found, resource, part, columns).items()):
        for name in names:
            fed.setdefault(name, []).append(f"{prefix}{'.'.join(path)}")
    return fed


def _objects(resource: Resource, part: Part, record: Record) -> list[Record]:
    """Return the objects of a record from which the rows of a part come, without those of other parts.

    :raises BadRecordError: they cannot be told.
    """
    objects = list(part.items(record)) if part.items is not None else []
    others = {name for other in resource.parts if other is not part for name in other.fields}
    return [{k: v for k, v in one.items() if k not in others} for one in objects] if others else objects


def read_catalogue(
    connection: sa.Connection,
    account: str,
    config: SyncConfig,
    table: str,
    now: datetime,
    progress: Progress | None = None,
) -> FieldCatalogue:
    """Return the catalogue of a table's rows from stored versions, without requests to Enerflo.

    :param table: a key of :data:`~enerflo_sync.resources.registry.STORED`; no raw copy of other records is
        stored.
    :param now: appeared and vanished cover the :data:`MONTH` before it.
    """
    resource, part = STORED[table]
    found = _Catalogue()
    columns = [one for one in declared(config.columns) if one.table == table]
    fits = column_fits(columns, part, [])
    total = connection.scalar(sa.text(_COUNT.substitute(resource.names)), {"account": account}) or 0
    for row in _versions(connection, resource, account):
        found.versions += 1
        try:
            record = msgspec.json.decode(row.raw)
            objects = _objects(resource, part, record)
        except (msgspec.DecodeError, BadRecordError, RecursionError):
            found.unreadable += 1
            continue
        until = None if row.is_current else row.replaced_at or row.deleted_at or row.first_seen_at
        for one in objects:
            _take(found, one, row.first_seen_at, until)
        if until is None:
            take_record(fits, part, record)
        if progress is not None and found.versions % _CHUNK == 0:
            progress("versions", found.versions, total)
    if progress is not None:
        progress("versions", found.versions, total)
    return _report(found, account, config, table, fits, now)


def _versions(connection: sa.Connection, resource: Resource, account: str) -> Iterator[sa.Row[Any]]:
    options = connection.execution_options(stream_results=True, yield_per=_CHUNK)
    yield from options.execute(sa.text(_VERSIONS.substitute(resource.names)), {"account": account})


def _take(found: _Catalogue, record: Any, first: datetime, until: datetime | None) -> None:
    found.records += until is None
    found.oldest = first if found.oldest is None else min(found.oldest, first)
    for path, value in leaves(record):
        if not path:
            continue
        seen = found.paths.setdefault(path, _Seen())
        kind = kind_of(value)
        if until is None:
            seen.types[kind] += 1
        if kind == "nothing":
            continue
        seen.first = first if seen.first is None else min(seen.first, first)
        if until is None:
            seen.stands = True
            seen.filled += 1
            if seen.example is None:
                seen.example = masked_example(value)
                found.samples[path] = record
        else:
            seen.last = until if seen.last is None else max(seen.last, until)


def _report(
    found: _Catalogue,
    account: str,
    config: SyncConfig,
    table: str,
    fits: Sequence[ColumnFit],
    now: datetime,
) -> FieldCatalogue:
    since = now - MONTH
    resource, part = STORED[table]
    mapped = _mapped(config, account, part)
    feeds = _feeds(found, resource, part, [one.column for one in fits])
    entries = [
        FieldEntry(
            path=".".join(path),
            steps=path,
            types=dict(seen.types),
            filled=seen.filled,
            example=seen.example,
            first_seen_at=seen.first,
            last_seen_at=None if seen.stands else seen.last,
            columns=feeds.get(path, []),
            mapped_to=[crm for column in feeds.get(path, []) for crm in mapped.get(column, [])],
        )
        for path, seen in sorted(found.paths.items())
    ]
    told = [one.path for one in entries if one.filled]
    is_old_enough = found.oldest is not None and found.oldest < since
    return FieldCatalogue(
        account=account,
        table=table,
        resource=resource.name,
        records=found.records,
        versions=found.versions,
        unreadable=found.unreadable,
        since=since,
        fields=entries,
        appeared=[one.path for one in entries if is_old_enough and _began(one, since)],
        vanished=[one.path for one in entries if one.last_seen_at and one.last_seen_at >= since],
        unfilled=[problem for one in fits if (problem := one.problem(told)) is not None],
    )


def _began(entry: FieldEntry, since: datetime) -> bool:
    return entry.first_seen_at is not None and entry.first_seen_at >= since


def _mapped(config: SyncConfig, account: str, part: Part) -> Mapping[str, list[str]]:
    """Return, by mirror column, the CRM columns that are compared with it."""
    found: dict[str, list[str]] = {}
    for name, mapping in config.tables_for(account).items():
        if mapping.kind(name) != part.crm_table:
            continue
        for column, mirror in mapping.join_columns.items():
            found.setdefault(mirror, []).append(f"{mapping.crm_table}.{column}")
        for column, one in mapping.fields.items():
            found.setdefault(one.enerflo, []).append(f"{mapping.crm_table}.{column}")
    return found


def _feeds(
    found: _Catalogue, resource: Resource, part: Part, columns: list[DeclaredColumn]
) -> Mapping[Path, list[str]]:
    """Return, by path, the mirror columns that depend on it: change its value, and read again."""
    at = resource.parts.index(part)
    if columns:
        resource = extended(resource, columns)
    feeds: dict[Path, list[str]] = {}
    for path, record in found.samples.items():
        other = msgspec.json.decode(msgspec.json.encode(record))
        _change(other, path)
        before, after = _row(resource, at, record), _row(resource, at, other)
        if before is not None and after is not None:
            feeds[path] = [name for name in before if before[name] != after.get(name)]
    return feeds


def _row(resource: Resource, at: int, item: Any) -> dict[str, Any] | None:
    """Return the row of the part ``at`` that comes from an object, in a record with nothing else."""
    fields = resource.parts[at].fields
    record = {resource.id_field: 1, fields[0]: [item]} if fields else item
    try:
        rows = resource.rows_by_column(record)[at]
    except BadRecordError:
        return None
    return rows[0] if rows else None


def _change(record: Any, path: Path) -> None:
    value, owner = value_at(record, path), value_at(record, path[:-1])
    match value:
        case bool():
            other: Any = not value
        case int() | float():
            other = value + 1
        case str() if kind_of(value) in ("date", "timestamp"):
            other = "2001-01-01 00:00:00"
        case str() if value.isdigit():
            other = str(int(value) + 1)
        case _:
            other = f"{value}x"
    owner[int(path[-1]) if isinstance(owner, list) else path[-1]] = other
