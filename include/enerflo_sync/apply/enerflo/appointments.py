"""Exchange 1.1: creates the appointment of a new lead once, after Enerflo has the lead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from enerflo_sync.apply.enerflo.write_requests import WriteRequest, deliver
from enerflo_sync.crm.config import AppointmentBody
from enerflo_sync.enerflo.appointments import add_appointment, read_appointments
from enerflo_sync.errors import BadRecordError
from enerflo_sync.outbox.bodies import as_moment
from enerflo_sync.outbox.changes import OutboxChange

_NOT_SHOWN = (
    "Enerflo accepted the appointment and does not show it at that time: look for it at the customer there."
)


def push_appointment(
    run: PushRun, change: OutboxChange, customer_id: int, options: AppointmentBody, zone: str
) -> None:
    """Create the appointment of a lead's row, unless the customer already has one at that time.

    :param change: the change of the column with the start time; only this change is parked if the appointment
        fails.
    :param zone: the time zone of a start time that has none.
    """
    try:
        start = as_moment(change.after, zone)
    except BadRecordError:
        start = None
    if start is None:
        run.finish([PushOutcome([change], Decision.PARKED, "the appointment's start is not a time.")])
        return
    begins = start.replace(microsecond=0)
    ends = begins + timedelta(minutes=options.minutes)

    def look(requests: Sequence[WriteRequest]) -> list[PushOutcome]:
        found = any(
            one.start == begins and one.type_id in (None, options.type)
            for one in read_appointments(run.client, customer_id)
        )
        if found and requests:
            return [PushOutcome([change], Decision.APPLIED, requests[0].how)]
        if any(request.accepted for request in requests):
            return [PushOutcome([change], Decision.PARKED, _NOT_SHOWN)]
        return []

    def write(changes: Sequence[OutboxChange]) -> bytes:
        answer = add_appointment(run.client, customer_id, options.type, begins, ends)
        run.accepted(changes, None)
        return answer

    request = WriteRequest(
        [change],
        write,
        # Somebody may move the appointment before it is read back. It would then not be found, and be created
        # again.
        once=True,
        # The lead's CRM row already has the id of its customer.
        record={"customer_id": customer_id},
    )
    deliver(run, [request], look)
