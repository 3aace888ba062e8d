"""Store signed designs from submission events in ``enerflo.submissions``, which is append-only."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.inbox.payloads import stored_bodies
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.inbox.submission import read_submission
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.forgotten import forgotten_of, personal_columns
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.schema import submissions


def keep_submissions(
    connection: sa.Connection,
    account: str,
    events: Sequence[Waiting],
    observation: Observation,
    install_id: int | None,
) -> list[tuple[Waiting, BadRecordError]]:
    """Store the designs in the events' payloads, in the caller's transaction.

    A known version keeps its row, and the version first seen last is the newest. So a version never seen
    before counts as the newest, even if its payload arrives late.

    :param install_id: the deal's install, if Enerflo returned it.
    :return: events whose design is invalid or refused by the warehouse, with the reason.
    """
    forgotten = forgotten_of(connection, account)
    wanted = {event.event_id: event for event in events if event.wants_submission}
    bad = []
    for event_id, body in stored_bodies(connection, account, list(wanted)):
        event = wanted[event_id]
        try:
            found = read_submission(body)
        except Exception as error:
            bad.append((event, bad_record(error)))
            continue
        values = found.values
        if forgotten.owns({"deal_id": found.deal_id, "install_id": install_id}):
            values = values | dict.fromkeys(personal_columns(submissions.name) & values.keys())
        statement = insert(submissions).values(
            account=account,
            deal_id=found.deal_id,
            content_hash=found.content_hash,
            event=event.event,
            install_id=install_id,
            first_seen_at=event.received_at,
            observed_by=observation.observed_by,
            evidence=event.source_uri,
            sources=found.sources,
            **values,
        )
        try:
            with connection.begin_nested():
                connection.execute(statement.on_conflict_do_nothing())
        except sa.exc.DBAPIError as error:
            if not isinstance(error.orig, psycopg.Error) or not refuses_a_row(error.orig):
                raise
            bad.append((event, BadRecordError("refused_by_the_warehouse", field="payload.design")))
    return bad
