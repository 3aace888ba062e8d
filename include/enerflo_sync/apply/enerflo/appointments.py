"""1.1: the appointment of a new lead, made once after the lead is there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.apply.enerflo.run import PushRun, Verdict
from enerflo_sync.apply.enerflo.write_requests import WriteRequest, deliver
from enerflo_sync.crm.config import AppointmentBody
from enerflo_sync.enerflo.appointments import add_appointment, read_appointments
from enerflo_sync.errors import BadRecordError
from enerflo_sync.outbox.bodies import as_moment
from enerflo_sync.outbox.changes import Change

_NOT_SHOWN = (
    "Enerflo accepted the appointment and does not show it at that time: look for it at the customer there."
)


def push_appointment(
    run: PushRun, change: Change, customer_id: int, options: AppointmentBody, zone: str
) -> None:
    """Make the appointment that a lead's row asks for, unless the customer has one of that time.

    :param change: the row's column with the beginning; it alone is parked where this fails.
    :param zone: of a beginning without one.
    """
    try:
        start = as_moment(change.after, zone)
    except BadRecordError:
        start = None
    if start is None:
        run.finish([Verdict([change], Decision.PARKED, "the appointment's beginning is no moment.")])
        return
    begins = start.replace(microsecond=0)
    ends = begins + timedelta(minutes=options.minutes)

    def look(requests: Sequence[WriteRequest]) -> list[Verdict]:
        found = any(
            one.start == begins and one.type_id in (None, options.type)
            for one in read_appointments(run.client, customer_id)
        )
        if found and requests:
            return [Verdict([change], Decision.APPLIED, requests[0].how)]
        if any(request.accepted for request in requests):
            return [Verdict([change], Decision.PARKED, _NOT_SHOWN)]
        return []

    def write(changes: Sequence[Change]) -> bytes:
        answer = add_appointment(run.client, customer_id, options.type, begins, ends)
        run.accepted(changes, None)
        return answer

    request = WriteRequest(
        [change],
        write,
        # Somebody may move it before it is read back: it would not be found, and be made again.
        once=True,
        # The lead's row names its customer by now.
        record={"customer_id": customer_id},
    )
    deliver(run, [request], look)
