"""Evidence for Enerflo's values: the first version of the record with the value, and who observed it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from string import Template
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from enerflo_sync.crm.mapping import WideColumn, mirror_type
from enerflo_sync.crm.wide import names_milestone
from enerflo_sync.errors import BadRecordError
from enerflo_sync.explain.explanation import Evidence
from enerflo_sync.mirror.declared import with_declared
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.record import FoundRecord
from enerflo_sync.reconcile.values import Field
from enerflo_sync.resources.registry import BY_NAME, KINDS
from enerflo_sync.resources.resource import DirectRead, Resource
from enerflo_sync.warehouse.pruned import PrunedVersions, Pruning, pruned_versions_of

# Older versions are not read, so that memory stays bounded.
MOST_VERSIONS = 200

_VERSIONS = Template("""
/* enerflo-sync explain: versions of one of $name, newest first */
select content_hash, raw, first_seen_at, observed_by, evidence from $versions
where account = :account and $id = :id order by first_seen_at desc limit :most
""")

_WITNESSES = sa.text("""
/* enerflo-sync explain: who saw the changes of a record */
select content_hash, poll_seen_at, webhook_seen_at from sync.witnesses
where account = :account and record = :record and content_hash = any(:hashes)
""").bindparams(sa.bindparam("hashes", type_=sa.ARRAY(sa.Text)))

# The event that caused a content to be read: the one from the same file if that is known, else the last one
# before.
_EVENTS = sa.text("""
/* enerflo-sync explain: the webhooks that reported a record */
select s.at, s.reference, e.* from unnest(:moments, :references) as s (at, reference)
cross join lateral (
  select event, event_id, received_at, pruned_at,
    (select p.bound from sync.prunings p where p.account = :account and p.kind = 'webhook_bodies'
       and p.pruned_at = webhook_events.pruned_at limit 1) as bound
  from sync.webhook_events
  where account = :account and state = 'applied' and received_at <= s.at
    and (install_id = :install or install_id is null and record = :record)
    and (:events is null or event = any(:events))
  order by source_uri = s.reference desc nulls last, received_at desc limit 1) e
""").bindparams(
    sa.bindparam("events", type_=sa.ARRAY(sa.Text)),
    sa.bindparam("moments", type_=sa.ARRAY(sa.DateTime(timezone=True))),
    sa.bindparam("references", type_=sa.ARRAY(sa.Text)),
)


@dataclass(frozen=True)
class Version:
    """Enerflo's values of a record when a version of the record, or of its owner, was first observed."""

    content_hash: str
    first_seen_at: datetime
    observed_by: str
    evidence: str
    values: Mapping[str, Any]


def read_versions(connection: sa.Connection, record: FoundRecord, account: str) -> list[Version]:
    """Return the stored versions of a record, oldest first; an empty list if versions are not stored.

    A version is left out if this release cannot read it, or if it does not contain the record (a version of
    an install may lack one of its milestones).
    """
    comparison, key = record.comparison, record.enerflo_key
    resource, part = KINDS[comparison.kind]
    if resource.versions is None or key is None:
        return []
    at = resource.parts.index(part)
    values = {"account": account, "id": key[resource.id_column], "most": MOST_VERSIONS}
    rows = connection.execute(sa.text(_VERSIONS.substitute(resource.names)), values).all()
    resource = with_declared(connection, resource, account)
    row_of = partial(_wide_row, comparison.fields) if comparison.is_wide else partial(_mirror_row, key)
    told = [(row, row_of(resource, at, row.raw)) for row in reversed(rows)]
    known = [(row, values) for row, values in told if values is not None]
    shown = _shown(connection, comparison, [values for _, values in known])
    return [
        Version(row.content_hash, row.first_seen_at, row.observed_by, row.evidence, values)
        for (row, _), values in zip(known, shown, strict=True)
    ]


def _mirror_row(key: Mapping[str, Any], resource: Resource, at: int, raw: Any) -> dict[str, Any] | None:
    try:
        rows = resource.rows_by_column(raw)[at]
    except BadRecordError:
        return None
    return next((row for row in rows if all(row[name] == value for name, value in key.items())), None)


def _wide_row(fields: Sequence[Field], resource: Resource, at: int, raw: Any) -> dict[str, Any] | None:
    """Return a wide table's row as the mirror has it, with one column for each field."""
    try:
        milestones = resource.rows_by_column(raw)[at]
    except BadRecordError:
        return None
    values: dict[str, Any] = {}
    for field in fields:
        wanted = field.mapping.milestone if isinstance(field.mapping, WideColumn) else 0
        found = [row for row in milestones if names_milestone(wanted, row["milestone_id"], row["title"])]
        values[field.mirror_column] = found[0][field.mapping.enerflo] if len(found) == 1 else None
    return values


def _shown(
    connection: sa.Connection, comparison: Comparison, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return mirror rows by CRM column, in the form in which differences and plans show values."""
    if not rows:
        return []
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    columns = ", ".join(
        f"e{n} {mirror_type(comparison.kind, comparison.mapping, field.mapping.enerflo).compile(dialect)}"
        for n, field in enumerate(comparison.fields, 1)
    )
    shown = ", ".join(field.enerflo.shown for field in comparison.fields)
    records = [
        {"n": at, **{f"e{n}": row[field.mirror_column] for n, field in enumerate(comparison.fields, 1)}}
        for at, row in enumerate(rows)
    ]
    statement = (
        "/* enerflo-sync explain: versions as plans show them */"  # noqa: S608 - names of the mapping
        f" select to_jsonb(array[{shown}]::jsonb[])"
        f" from jsonb_to_recordset(%(rows)s::jsonb) as v(n int, {columns}) order by v.n"
    )
    found = connection.exec_driver_sql(statement, {"rows": json.dumps(records, default=str)}).scalars()
    names = [field.name for field in comparison.fields]
    return [dict(zip(names, row, strict=True)) for row in found]


def first_holding(
    versions: Sequence[Version], field: str, value: Any, until: datetime | None = None
) -> Version | None:
    """Return the version with which Enerflo last began to have ``value``; None if no version has it.

    :param until: versions that were first observed later do not count.
    """
    found: Version | None = None
    for version in reversed(versions):
        if until is not None and version.first_seen_at > until:
            continue
        if version.values.get(field) == value:
            found = version
        elif found is not None:
            break
    return found


class Witness:
    """Finds the evidence for a record's contents, by two statements for any number of versions."""

    def __init__(
        self, connection: sa.Connection, record: FoundRecord, account: str, versions: Sequence[Version]
    ) -> None:
        self.versions = versions
        self._connection = connection
        self._record = record
        self._account = account

    @cached_property
    def pruned(self) -> PrunedVersions | None:
        """Return the pruned raw versions of the record."""
        resource, _ = KINDS[self._record.comparison.kind]
        record_id = (self._record.enerflo_key or {}).get(resource.id_column)
        if resource.versions is None or record_id is None:
            return None
        return pruned_versions_of(self._connection, self._account, str(resource.table.name), int(record_id))

    def pruned_before(self, version: Version) -> str | None:
        """Return a text if versions between this version and the stored one before it were pruned."""
        before = [one.first_seen_at for one in self.versions if one.first_seen_at < version.first_seen_at]
        return self._pruned_between(
            max(before, default=None),
            version.first_seen_at,
            "{} before it {}: Enerflo may have said so earlier",
        )

    def pruned_until(self, moment: datetime) -> str | None:
        """Return a text if versions between a time and the last stored version before it were pruned."""
        before = [one.first_seen_at for one in self.versions if one.first_seen_at <= moment]
        words = "{} of that time {}: what Enerflo said then is not known any more"
        return self._pruned_between(max(before, default=None), moment, words)

    def _pruned_between(self, after: datetime | None, until: datetime, words: str) -> str | None:
        found = self.pruned.between(after, until) if self.pruned is not None else ()
        if not found or self.pruned is None:
            return None
        versions = "a version" if len(found) == 1 else f"{len(found):,} versions"
        return words.format(versions, f"{'was' if len(found) == 1 else 'were'} {self.pruned.by}")

    def of_version(self, version: Version) -> Evidence:
        """Return who observed a version first, the webhook that reported it, and who else saw the change."""
        seen = self._seen.get(version.content_hash)
        return Evidence(
            observed_by=version.observed_by,
            observed_at=version.first_seen_at,
            reference=version.evidence,
            poll_seen_at=seen.poll_seen_at if seen else None,
            webhook_seen_at=seen.webhook_seen_at if seen else None,
            pruned=self.pruned_before(version),
            **self._told(version.observed_by, version.first_seen_at, version.evidence),
        )

    def of_mirror(self, observed_at: datetime) -> Evidence:
        """Return who observed the mirror's row at a time; only the time if it was observed again since."""
        by = self._record.observed_by if observed_at == self._record.observed_at else None
        found = self._told(by, observed_at, None)
        pruned = self.pruned_until(observed_at) if by is None else None
        return Evidence(observed_by=by, observed_at=observed_at, pruned=pruned, **found)

    def _told(self, by: str | None, observed_at: datetime, reference: str | None) -> dict[str, Any]:
        return {} if by != "webhook" else self._events.get((observed_at, reference), {})

    @cached_property
    def _seen(self) -> dict[str, Any]:
        resource, _ = KINDS[self._record.comparison.kind]
        key = self._record.enerflo_key or {}
        values = {
            "account": self._account,
            "record": f"{resource.table.name}/{key.get(resource.id_column)}",
            "hashes": [version.content_hash for version in self.versions],
        }
        return {row.content_hash: row for row in self._connection.execute(_WITNESSES, values)}

    @cached_property
    def _events(self) -> dict[tuple[datetime, str | None], dict[str, Any]]:
        """Return by time and reference the event behind each content that a webhook loaded."""
        kind, key = self._record.comparison.kind, self._record.enerflo_key or {}
        resource, _ = KINDS[kind]
        of_owner = next((one for one in resource.reads if one.owner is not None), None)
        record = f"{resource.name}/{next(iter(key.values()), '')}"
        if of_owner is not None:
            record = f"{of_owner.subject}/{self._owner(of_owner)}"
        contents: list[tuple[datetime, str | None]] = [
            (one.first_seen_at, one.evidence) for one in self.versions if one.observed_by == "webhook"
        ]
        if self._record.observed_by == "webhook" and self._record.observed_at is not None:
            contents.append((self._record.observed_at, None))
        rows = self._connection.execute(
            _EVENTS,
            {
                "account": self._account,
                "moments": [at for at, _ in contents],
                "references": [reference for _, reference in contents],
                "install": self._record.install,
                "record": record,
                # Any event of an install may concern its records. Resources that are read for an owner have
                # their own events.
                "events": None if of_owner is None else [one.name for one in resource.events],
            },
        )
        return {
            (row.at, row.reference): {
                "event": row.event,
                "event_id": row.event_id,
                "received_at": row.received_at,
                "body_pruned": None if row.bound is None else str(Pruning(row.pruned_at, row.bound)),
            }
            for row in rows
        }

    def _owner(self, read: DirectRead) -> int | None:
        """Return the key of the record's owner by which Enerflo is read."""
        comparison, key = self._record.comparison, self._record.enerflo_key or {}
        column = read.column or BY_NAME[read.owner or ""].id_column
        of_record = " and ".join(f"e.{name} = :{name}" for name in comparison.mirror_key)
        query = sa.text(
            f"/* enerflo-sync explain: whose record it is */ select {column} from {comparison.mirror} e"  # noqa: S608
            f" where e.account = :account and {of_record}"
        )
        found: int | None = self._connection.scalar(query, {**key, "account": self._account})
        return found
