"""Exchange 1.1: creates and updates customers at Enerflo from the CRM's leads, under the CRM's own key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.apply.enerflo.appointments import push_appointment
from enerflo_sync.apply.enerflo.customers import (
    Customer,
    DoubtfulKeyError,
    customers_of_key,
    earlier_key,
    find_customer,
    is_sole_owner,
    is_spelling,
    lead_key,
    read_customer_again,
)
from enerflo_sync.apply.enerflo.installs import ELSEWHERE
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from enerflo_sync.apply.enerflo.write_requests import WriteRequest, deliver
from enerflo_sync.crm.mapping import Direction
from enerflo_sync.enerflo.customers import update_customer
from enerflo_sync.enerflo.leads import add_lead
from enerflo_sync.errors import BadRecordError, ContractDriftError, EnerfloSyncError
from enerflo_sync.outbox.carried import agree_on_carried, whole_lead
from enerflo_sync.outbox.changes import OutboxChange
from enerflo_sync.outbox.lead_fields import (
    LEAD_FIELDS,
    comparable,
    is_respelled_field,
    lead_body,
    normalised,
    typed,
)
from enerflo_sync.outbox.links import Link, LinkState, link_state, linked_id
from enerflo_sync.outbox.reasons import NOT_KEPT
from enerflo_sync.reconcile.compare import Comparison

# How long a lead whose request was sent is looked for, where the search does not show that it is not there.
_SEARCHED_FOR = timedelta(days=3)
_NOT_FOUND = (
    "its request was sent, and Enerflo's search does not tell whether it arrived: look for it there, and put"
    " the customer's id into the CRM's row."
)
_UNCONVERTED = {403: "still an unconverted lead (403): Enerflo takes no change of it before it is converted."}


def push_lead(run: PushRun, changes: Sequence[OutboxChange]) -> None:
    """Write one lead: create it with its appointment, or update the changed fields of an existing one."""
    if changes[0].op == "update":
        _update(run, changes)
        return
    comparison, appointment = run.comparisons[changes[0].table], run.config.writes.appointment
    starts = [
        change
        for change in changes
        if appointment is not None and change.field == appointment.start and change.after is not None
    ]
    lead = [change for change in changes if change not in starts]
    # If the lead already exists, its CRM row has the id of the customer.
    customer_id = None if lead else _linked(run, comparison, changes[0])
    run.leave_moved(changes, None if lead else {"customer_id": customer_id})
    if not run.open(changes):
        return
    if lead:
        customer_id = _deliver(run, comparison, lead, changes)
    if not starts or appointment is None:
        return
    if customer_id is not None:
        zone = comparison.mapping.time_zone
        push_appointment(run, starts[0], customer_id, appointment, zone)
    elif not run.open(lead):
        moved = any(run.ended(change) is Decision.MOVED for change in lead)
        decision = Decision.MOVED if moved else Decision.PARKED
        run.finish([PushOutcome(run.open(starts), decision, "the lead that it is for is not at Enerflo.")])


def _linked(run: PushRun, comparison: Comparison, change: OutboxChange) -> int | None:
    with run.connection.begin():
        return linked_id(run.connection, comparison, change.key, "customer_id")


# -- a new lead -------------------------------------------------------------------------------------------


def _deliver(
    run: PushRun, comparison: Comparison, lead: Sequence[OutboxChange], row: Sequence[OutboxChange]
) -> int | None:
    """Create the lead at Enerflo and return the id of its customer; None if Enerflo does not have it."""
    key = lead_key(comparison.mapping, lead[0])
    with run.connection.begin():
        state = link_state(run.connection, comparison, lead[0].key)
    if state is not LinkState.OPEN:
        what = "names a customer of Enerflo" if state is LinkState.LINKED else "is gone"
        run.finish([PushOutcome(row, Decision.MOVED, f"the CRM's row {what} by now.")])
        return None
    try:
        body = _new_body(run, comparison, key, row)
    except BadRecordError as error:
        run.finish([PushOutcome(lead, Decision.PARKED, error.what)])
        return None
    found: list[int] = []

    def look(requests: Sequence[WriteRequest]) -> list[PushOutcome]:
        last = requests[0].last if requests else None
        known = last.value if last is not None and isinstance(last.value, int) else None
        sent = any(request.may_be_there for request in requests)
        try:
            customer, doubt = find_customer(run, key, known, body, sent=sent)
            if customer is None and last is None:
                customer, doubt_of_earlier = _of_earlier_key(run, comparison, lead[0], body)
                doubt = doubt or doubt_of_earlier
        except DoubtfulKeyError as error:
            return [PushOutcome(run.open(lead), Decision.PARKED, str(error))]
        if customer is None and doubt is not None:
            return _in_doubt(run, requests, doubt)
        if customer is None or not requests:
            return []
        found.append(int(customer["customer_id"]))
        return _kept(run, comparison, customer, requests[0])

    deliver(run, [WriteRequest(lead, lambda _: add_lead(run.client, body))], look)
    return found[-1] if found else None


def _in_doubt(run: PushRun, requests: Sequence[WriteRequest], doubt: EnerfloSyncError) -> list[PushOutcome]:
    """Return the outcomes where the search does not show whether the lead is there.

    A lead whose request may have arrived is not sent again: it would overwrite what people changed since. One
    that was never sent is sent where Enerflo offers no search, and not where the search leaves rows out.

    :raises ContractDriftError, BadRecordError: the search leaves rows out, and nothing was sent.
    """
    verdicts = []
    for request in requests:
        if request.accepted:
            continue
        if not request.may_be_there:
            if isinstance(doubt, ContractDriftError | BadRecordError):
                raise doubt
            continue
        request.unseen = True
        sent_at = min((change.sent_at for change in request.changes if change.sent_at), default=None)
        if sent_at is not None and run.clock.now() - sent_at > _SEARCHED_FOR:
            verdicts.append(PushOutcome(run.open(request.changes), Decision.PARKED, _NOT_FOUND))
    return verdicts


def _of_earlier_key(
    run: PushRun, comparison: Comparison, change: OutboxChange, words: Mapping[str, object]
) -> tuple[Customer | None, EnerfloSyncError | None]:
    """Return the customer that an earlier version created from the same row; None if that is not certain.

    The second value is the reason why the search does not show that there is none.
    """
    earlier = earlier_key(comparison.mapping, change)
    if earlier is None:
        return None, None
    customer, doubt = find_customer(run, earlier, None, words, sent=False)
    if customer is None:
        return None, doubt
    sole = is_sole_owner(run, comparison, change, earlier, int(customer["customer_id"]))
    return (customer if sole else None), None


def _new_body(
    run: PushRun, comparison: Comparison, key: str, changes: Sequence[OutboxChange]
) -> dict[str, object]:
    row = {**changes[0].key, **{change.field or "": change.after for change in changes}}
    columns = _columns(comparison)
    values: dict[str, object] = {}
    for field, names in columns.items():
        found = {comparable(field, row[name]): row[name] for name in names if row.get(name) is not None}
        if len(found) > 1:
            differ = f"{' and '.join(names)} differ"
            raise BadRecordError(f"the lead cannot be sent ({differ}): correct it in the CRM.")
        values[field] = next(iter(found.values()), None)
    body = lead_body(values, {field: names[0] for field, names in columns.items()})
    body["integration_record_id"] = key
    for name, templates in run.config.writes.lead.also.items():
        value = typed(templates, row)
        if value is not None:
            body[name] = value
    return body


def _kept(
    run: PushRun, comparison: Comparison, customer: Customer, request: WriteRequest
) -> list[PushOutcome]:
    """Return the outcomes of a new lead's fields; in any case the CRM's row gets the customer's id."""
    kept, other, lost = [], [], []
    respelled: dict[int, Any] = {}
    with run.connection.begin():
        for change in run.open(request.changes):
            mapping = comparison.mapping.fields.get(change.field or "")
            column = mapping.enerflo if mapping is not None else ""
            if column not in LEAD_FIELDS or _same(run, comparison, change, customer[column], change.after):
                kept.append(change)
            elif request.may_be_there and is_respelled_field(column, change.after, customer[column]):
                kept.append(change)
                respelled[change.position] = customer[column]
            elif request.last is not None and not customer[column]:
                lost.append(change)
            else:
                other.append(change)
    how = "found there" if request.last is None else request.how
    verdicts = [
        PushOutcome(kept, Decision.APPLIED, how, kept=respelled),
        PushOutcome(other, Decision.MOVED, "the customer is there already and Enerflo says something else."),
        PushOutcome(lost, Decision.PARKED, NOT_KEPT),
    ]
    first, *rest = [verdict for verdict in verdicts if verdict.changes]
    link = Link(comparison, request.changes[0].key, customer)
    return [replace(first, link=link), *rest]


# -- an existing lead -------------------------------------------------------------------------------------


def _update(run: PushRun, changes: Sequence[OutboxChange]) -> None:
    comparison = run.comparisons[changes[0].table]
    good, wanted = _sendable(run, comparison, changes)
    run.leave_moved(good)
    good = run.open(good)
    if not good:
        return
    customer_id = int((good[0].enerflo_key or {})["customer_id"])
    seen: dict[str, Any] = {}
    before: dict[str, Any] = {}

    def look(requests: Sequence[WriteRequest]) -> list[PushOutcome]:
        customer = read_customer_again(run, customer_id)
        if customer is None:
            return [PushOutcome(good, Decision.PARKED, "not there: Enerflo shows no such customer.")]
        seen.update(customer)
        with run.connection.begin():
            if any(request.may_be_there for request in requests):
                sent_ones = {change.field or "" for change in good}
                agree_on_carried(
                    run.connection,
                    comparison,
                    run.account,
                    good[0],
                    customer,
                    sent=sent_ones,
                    before=before or None,
                )
            return [one for request in requests for one in _judged(run, comparison, customer, request)]

    def write(open_: Sequence[OutboxChange]) -> object:
        fields = [comparison.mapping.fields[change.field or ""].enerflo for change in open_]
        sent = {field: wanted[field] for field in fields}
        key = seen.get("integration_record_id")
        own = (lead_key(comparison.mapping, open_[0]), earlier_key(comparison.mapping, open_[0]))
        is_own = key is not None and any(is_spelling(key, one) for one in own if one is not None)
        # Without a key that is its alone, this call would create or change another customer.
        if key is None or not is_own or len(customers_of_key(run, key)) > 1:
            return update_customer(run.client, customer_id, sent)
        before.update(seen)
        with run.connection.begin():
            present = whole_lead(run.connection, comparison, run.account, open_[0], seen)
        return add_lead(run.client, {**present, **sent, "integration_record_id": key})

    deliver(run, [WriteRequest(good, write, refusals=_UNCONVERTED)], look)


def _sendable(
    run: PushRun, comparison: Comparison, changes: Sequence[OutboxChange]
) -> tuple[list[OutboxChange], dict[str, str | None]]:
    """Return the changes that can be sent, and their values by field of Enerflo; end the other changes."""
    wanted: dict[str, str | None] = {}
    good = []
    for change in changes:
        mapping = comparison.mapping.fields.get(change.field or "")
        column = mapping.enerflo if mapping is not None else ""
        if column not in LEAD_FIELDS:
            reason = f"Enerflo has no call that sets {change.field}."
            run.finish([PushOutcome([change], Decision.REFUSED, reason)])
            continue
        try:
            wanted[column] = normalised(column, change.after)
        except ValueError:
            reason = f"the lead cannot be sent (unusable: {change.field}): correct it in the CRM."
            run.finish([PushOutcome([change], Decision.PARKED, reason)])
            continue
        good.append(change)
    return good, wanted


def _judged(
    run: PushRun, comparison: Comparison, customer: Customer, request: WriteRequest
) -> list[PushOutcome]:
    done, moved = [], []
    kept: dict[int, Any] = {}
    for change in run.open(request.changes):
        column = comparison.mapping.fields[change.field or ""].enerflo
        present = customer[column]
        if _same(run, comparison, change, present, change.after):
            done.append(change)
            continue
        as_before = run.same(comparison, change.field or "", present, change.before)
        # Enerflo may cut long values. If the shortened value is also the former value, it does not show that
        # Enerflo stored ours.
        if request.may_be_there and is_respelled_field(column, change.after, present, cut=not as_before):
            done.append(change)
            kept[change.position] = present
        elif not as_before:
            moved.append(change)
    return [
        PushOutcome(done, Decision.APPLIED, request.how, kept=kept),
        PushOutcome(moved, Decision.MOVED, ELSEWHERE),
    ]


def _same(
    run: PushRun, comparison: Comparison, change: OutboxChange, present: object, wanted: object
) -> bool:
    """Return whether two values are the same as declared, or in the spelling in which they are sent."""
    column = comparison.mapping.fields[change.field or ""].enerflo
    if comparable(column, present) == comparable(column, wanted):
        return True
    return run.same(comparison, change.field or "", present, wanted)


def _columns(comparison: Comparison) -> Mapping[str, Sequence[str]]:
    """Return by field of Enerflo the CRM columns from which it may be sent, in the order of the mapping."""
    found: dict[str, list[str]] = {}
    for name, mapping in comparison.mapping.fields.items():
        if mapping.enerflo in LEAD_FIELDS and mapping.direction in {Direction.BOTH, Direction.TO_ENERFLO}:
            found.setdefault(mapping.enerflo, []).append(name)
    return found
