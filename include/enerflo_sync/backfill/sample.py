"""Judge a few pages of a backfill: how many records differ from the mirror, and in which planned fields.

A sample is stored by the same code as a real read, in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from enerflo_sync.backfill.context import Context, PlannedTable
from enerflo_sync.backfill.named import needs_of
from enerflo_sync.backfill.request import BackfillRequest
from enerflo_sync.backfill.search import created_at_of
from enerflo_sync.backfill.store import Backfill
from enerflo_sync.enerflo.pages import Page
from enerflo_sync.errors import BadRecordError, ContractDriftError, FatalError
from enerflo_sync.inbox.reads import Reads
from enerflo_sync.mirror.details import mark_due
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.installs import INSTALL_LIST, INSTALLS
from enerflo_sync.warehouse.schema import installs, milestones

_TABLES = (installs, milestones)


@dataclass
class Sample:
    """Properties of the sampled records.

    :param changes: fields that a plan would write to the CRM because of them.
    :param untold: records whose list row omits milestones.
    :param pages: pages read; ``seconds`` is their total duration.
    :param page_rows: actual rows per page if the server caps the requested size.
    """

    read: int = 0
    changed: int = 0
    new: int = 0
    quarantined: int = 0
    changes: int = 0
    untold: int = 0
    pages: int = 0
    seconds: float = 0.0
    page_rows: int | None = None

    @property
    def page_seconds(self) -> float:
        """Return the duration of a page."""
        return self.seconds / self.pages if self.pages else 0.0

    def scaled(self, count: int, records: float) -> int:
        """Extrapolate a count of the sample to that many records."""
        return round(count * records / self.read) if self.read else 0

    def add(self, tally: Tally, new: int) -> None:
        """Add the outcomes of sampled installs."""
        self.read += tally.read
        self.changed += tally.applied
        self.new += min(new, tally.applied)
        self.quarantined += tally.quarantined


def sample_pages(
    context: Context, connection: sa.Connection, backfill: Backfill, rows: Sequence[int]
) -> Sample:
    """Sample the pages that begin at ``rows`` of the install list."""
    sample = Sample()
    for row in rows:
        began = context.calls.seconds
        options = context.options
        size = min(backfill.per_page, sample.page_rows or backfill.per_page)
        walk = INSTALL_LIST.walk(
            context.client, per_page=size, floor=min(size, options.min_per_page), start=row // size * size
        )
        page = next(iter(walk), None)
        sample.seconds += context.calls.seconds - began
        sample.pages += 1
        if page is None:
            break
        _note_size(sample, page)
        _judge_page(context, connection, backfill, page, sample)
    return sample


def _note_size(sample: Sample, page: Page) -> None:
    """Detect a server that caps the page size."""
    at_the_end = page.total is not None and page.number * page.per_page >= page.total
    if page.per_page and (len(page.records) == page.per_page or at_the_end):
        sample.page_rows = page.per_page
    else:
        sample.page_rows = max(1, len(page.records))


def _judge_page(
    context: Context, connection: sa.Connection, backfill: Backfill, page: Page, sample: Sample
) -> None:
    request = backfill.request
    intake = Intake(INSTALLS)
    observation = context.observation(backfill.backfill_id, page.requested_at)
    wanted = set(request.install_ids)
    records = [raw for raw in page.records if (_id(raw) in wanted if wanted else _is_within(request, raw))]

    def store() -> None:
        batch = intake.take(connection, records, observation)
        mark_due(connection, context.account, batch.untold)
        sample.add(batch.tally, len(batch.new))

    sample.untold += sum(_tells_no_milestones(raw) for raw in records)
    ids = [found for raw in records if (found := _id(raw)) is not None]
    sample.changes += planned_changes(connection, context, ids, store)


def sample_named(context: Context, connection: sa.Connection, backfill: Backfill, most: int) -> Sample:
    """Sample a few of the named installs, spread over all of them."""
    sample, needs = Sample(), needs_of(backfill)
    reads = Reads(context.client, connection, context.account, context.options.component_keys)
    for need in needs[:: max(1, len(needs) // most)][:most]:
        observed_at = context.clock.now()
        began = context.calls.seconds
        try:
            answer = reads.read(need, ())
        except (BadRecordError, ContractDriftError, FatalError):
            sample.read += 1
            continue
        sample.seconds += context.calls.seconds - began
        sample.pages += 1
        observation = context.observation(backfill.backfill_id, observed_at)
        own = [raw for resource, rows in answer.records if resource is INSTALLS for raw in rows]

        def store(rows: Sequence[bytes | memoryview] = own, seen: Any = observation) -> None:
            for raw in rows:
                batch = Intake(INSTALLS).take_own_answer(connection, raw, seen)
                sample.add(batch.tally, len(batch.new))

        ids = [] if answer.install_id is None else [answer.install_id]
        sample.changes += planned_changes(connection, context, ids, store)
    return sample


def planned_changes(
    connection: sa.Connection, context: Context, ids: Sequence[int], store: Callable[[], None]
) -> int:
    """Return how many planned fields ``store`` would change in the mirror, and roll its changes back."""
    tables = [
        (table, planned)
        for table in _TABLES
        for name, planned in context.options.planned.items()
        if table.name == (planned.mirror or name)
    ]
    with connection.begin() as transaction:
        before = [_rows(connection, context.account, table, planned, ids) for table, planned in tables]
        store()
        after = [_rows(connection, context.account, table, planned, ids) for table, planned in tables]
        transaction.rollback()
    return sum(
        _differing(planned, old.get(key), row)
        for (_, planned), old, new in zip(tables, before, after, strict=True)
        for key, row in new.items()
    )


def _differing(planned: PlannedTable, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> int:
    if old is None:
        return sum(new[name] is not None for name in planned.columns) if planned.creates else 0
    return sum(old[name] != new[name] for name in planned.columns)


def _rows(
    connection: sa.Connection, account: str, table: sa.Table, planned: PlannedTable, ids: Sequence[int]
) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    key = [column.name for column in table.primary_key.columns]
    columns = [table.c[name] for name in sorted({*key, *planned.columns})]
    query = sa.select(*columns).where(table.c.account == account, table.c.install_id.in_(ids))
    rows = connection.execute(query).mappings()
    return {tuple(row[name] for name in key): dict(row) for row in rows}


def _id(raw: bytes | memoryview) -> int | None:
    try:
        return INSTALLS.record_id(raw)
    except BadRecordError:
        return None


def _is_within(request: BackfillRequest, raw: bytes | memoryview) -> bool:
    """Return whether a record is in the requested window; a record without a time counts as inside."""
    created_at = created_at_of(raw)
    if created_at is None:
        return True
    start, end = request.window_from, request.window_to
    return (start is None or created_at >= start) and (end is None or created_at < end)


def _tells_no_milestones(raw: bytes | memoryview) -> bool:
    text = bytes(raw)
    return b'"all_milestones"' not in text and b'"milestones"' not in text
