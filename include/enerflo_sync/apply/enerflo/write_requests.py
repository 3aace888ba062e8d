"""The loop by which every write to Enerflo is made: read the record, record outcomes, send, read again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.apply.enerflo.attempt import Attempt, CallOutcome
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from enerflo_sync.outbox.changes import OutboxChange
from enerflo_sync.outbox.reasons import ALREADY_SO, FOUND_AFTER, NOT_KEPT

# How often one write is sent in one run. After that it stays marked as sent, and the next run searches for
# it.
TRIES = 3


@dataclass
class WriteRequest:
    """One request to Enerflo and the changes that it makes.

    :param write: sends the request for the changes that are still to be made.
    :param refusals: by HTTP status, the reason of a refusal if it is not the usual one.
    :param pointless: called before the request is sent. If the request must not be sent any more, it returns
        the outcome and the reason of the changes, else None. It raises RetriableError if that is not known
        yet.
    :param record: the record of Enerflo that a new CRM row already became.
    :param once: whether the request, once accepted, is never sent again, even if no read shows its effect.
    :ivar unseen: the last read left out what was there before, so it cannot tell whether a request arrived
        whose answer was lost. The request is not sent again in this run.
    """

    changes: Sequence[OutboxChange]
    write: Callable[[Sequence[OutboxChange]], object]
    refusals: Mapping[int, str] = field(default_factory=dict)
    pointless: Callable[[], tuple[Decision, str] | None] = lambda: None
    record: Mapping[str, Any] | None = None
    once: bool = False
    tries: int = 0
    doubts: int = 0
    last: Attempt | None = None
    unseen: bool = False

    @property
    def accepted(self) -> bool:
        """Return whether Enerflo accepted the request in this run or, with ``once``, in an earlier run."""
        if self.last is not None and self.last.outcome is CallOutcome.ACCEPTED:
            return True
        return self.once and any(change.accepted_at for change in self.changes)

    @property
    def may_be_there(self) -> bool:
        """Return whether Enerflo accepted the request, or may have received it."""
        return self.accepted or any(change.sent_at for change in self.changes) or self._was_in_doubt

    @property
    def _was_in_doubt(self) -> bool:
        return self.doubts > 0 or (self.last is not None and self.last.outcome is CallOutcome.DENIED)

    @property
    def how(self) -> str | None:
        """Return why Enerflo shows the value; None if this run just wrote it."""
        if self.last is None:
            return "found there" if any(change.sent_at for change in self.changes) else ALREADY_SO
        return None if self.last.outcome is CallOutcome.ACCEPTED else FOUND_AFTER


Look = Callable[[Sequence[WriteRequest]], Iterable[PushOutcome]]


def deliver(run: PushRun, requests: Sequence[WriteRequest], look: Look) -> None:
    """Send the requests of one record, each of them once.

    The record is read before anything is sent, and again before a request is repeated whose response was
    lost.

    :param look: reads the record and returns the outcome of every change that needs no request: Enerflo
        already shows its value, or somebody changed the value since the plan. A change without an outcome
        still has at Enerflo the value that the plan saw.
    :raises NotFoundError, BadRecordError, RetriableError: the record cannot be read; changes that were sent
        stay marked as sent.
    """
    out_of_reach = False
    while True:
        run.finish(look(requests))
        requests = _still_open(run, requests)
        run.finish(_not_kept(run, request) for request in requests)
        requests = _still_open(run, requests)
        requests = [request for request in requests if not (request.once and request.accepted)]
        todo = [request for request in requests if request.tries < TRIES and not request.unseen]
        if out_of_reach or not todo:
            run.troubled = run.troubled or bool(requests)
            return
        for request in todo:
            _send(run, request)
            out_of_reach = request.last is not None and request.last.outcome is CallOutcome.UNSENT
            if request.last is not None and request.last.in_doubt:
                break
        if not any(request.last is not None and request.last.may_be_there for request in requests):
            run.troubled = run.troubled or out_of_reach
            return


def _still_open(run: PushRun, requests: Sequence[WriteRequest]) -> list[WriteRequest]:
    return [request for request in requests if run.open(request.changes)]


def _not_kept(run: PushRun, request: WriteRequest) -> PushOutcome:
    """Park the changes of a request that Enerflo answered but whose values it does not show.

    An accepted request with ``once`` is not parked here, because its effect may become visible later.
    """
    if request.once and request.accepted:
        return PushOutcome([], Decision.PARKED)
    if request.last is not None and request.last.outcome in (CallOutcome.ACCEPTED, CallOutcome.DENIED):
        return PushOutcome(run.open(request.changes), Decision.PARKED, request.last.reason or NOT_KEPT)
    return PushOutcome([], Decision.PARKED)


def _send(run: PushRun, request: WriteRequest) -> None:
    changes = run.open(request.changes)
    if (ended := request.pointless()) is not None:
        run.finish([PushOutcome(changes, *ended)])
        return
    attempt = run.send(changes, request.write, request.refusals, request.record)
    if attempt is None:
        return
    request.tries += 1
    request.last = attempt
    if attempt.outcome is CallOutcome.REFUSED:
        run.finish([PushOutcome(run.open(changes), Decision.PARKED, attempt.reason)])
    elif attempt.outcome is CallOutcome.UNKNOWN:
        request.doubts += 1
        run.pause(request.tries)
