"""The one loop by which every kind of write is made: look, end what can be ended, send, look again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.sync.push.attempt import Attempt, Outcome
from enerflo_sync.sync.push.changes import Change
from enerflo_sync.sync.push.run import PushRun, Verdict
from enerflo_sync.sync.settle import Decision

# So often one write is sent in one run; it stays sent then, and the next run looks for it.
TRIES = 3
NOT_KEPT = "Enerflo accepted it and did not keep it: check the field names under writes."
ALREADY_SO = "was already so"
FOUND_AFTER = "found there; the answer to the write was lost"


@dataclass
class Errand:
    """One request, and the changes that it makes.

    :param write: sends it for those of the changes that are still to be made.
    :param refusals: what a status of refusal means here, where it is not the usual.
    :param pointless: asked before it is sent: how it ends where that makes no sense any more, and why; None
        where it does. Raises RetriableError where that is not known yet.
    :param record: the record of Enerflo that a new row of the CRM has become already.
    :param once: a request that Enerflo accepted is never made again, also where nothing is found of it.
    """

    changes: Sequence[Change]
    write: Callable[[Sequence[Change]], object]
    refusals: Mapping[int, str] = field(default_factory=dict)
    pointless: Callable[[], tuple[Decision, str] | None] = lambda: None
    record: Mapping[str, Any] | None = None
    once: bool = False
    tries: int = 0
    doubts: int = 0
    last: Attempt | None = None

    @property
    def accepted(self) -> bool:
        """Return whether Enerflo accepted the request, in this run or, of one that is made once, before."""
        if self.last is not None and self.last.outcome is Outcome.ACCEPTED:
            return True
        return self.once and any(change.accepted_at for change in self.changes)

    @property
    def may_be_there(self) -> bool:
        """Return whether a request of it was accepted, or may have arrived."""
        return self.accepted or any(change.sent_at for change in self.changes) or self._was_in_doubt

    @property
    def _was_in_doubt(self) -> bool:
        return self.doubts > 0 or (self.last is not None and self.last.outcome is Outcome.DENIED)

    @property
    def how(self) -> str | None:
        """Return how a change of it came to be as it should, None where we simply made it."""
        if self.last is None:
            return "found there" if any(change.sent_at for change in self.changes) else ALREADY_SO
        return None if self.last.outcome is Outcome.ACCEPTED else FOUND_AFTER


Look = Callable[[Sequence[Errand]], Iterable[Verdict]]


def deliver(run: PushRun, errands: Sequence[Errand], look: Look) -> None:
    """Make the errands of one record, each once.

    Nothing is sent before a look, and after a lost answer nothing again before another one.

    :param look: reads the record and says what can be ended: what is as it should be, or has moved. What it
        does not end stands as it did before the plan.
    :raises NotFoundError, BadRecordError, RetriableError: the record cannot be read; what was sent stays so.
    """
    out_of_reach = False
    while True:
        run.finish(look(errands))
        errands = _still_open(run, errands)
        run.finish(_not_kept(run, errand) for errand in errands)
        errands = _still_open(run, errands)
        errands = [errand for errand in errands if not (errand.once and errand.accepted)]
        todo = [errand for errand in errands if errand.tries < TRIES]
        if out_of_reach or not todo:
            run.troubled = run.troubled or bool(errands)
            return
        for errand in todo:
            _send(run, errand)
            out_of_reach = errand.last is not None and errand.last.outcome is Outcome.UNSENT
            if errand.last is not None and errand.last.in_doubt:
                break
        if not any(errand.last is not None and errand.last.may_be_there for errand in errands):
            run.troubled = run.troubled or out_of_reach
            return


def _still_open(run: PushRun, errands: Sequence[Errand]) -> list[Errand]:
    return [errand for errand in errands if run.open(errand.changes)]


def _not_kept(run: PushRun, errand: Errand) -> Verdict:
    """Park what was accepted and is as before; nothing of an errand whose write may be sent again."""
    if errand.once and errand.accepted:
        return Verdict([], Decision.PARKED)
    if errand.last is not None and errand.last.outcome in (Outcome.ACCEPTED, Outcome.DENIED):
        return Verdict(run.open(errand.changes), Decision.PARKED, errand.last.reason or NOT_KEPT)
    return Verdict([], Decision.PARKED)


def _send(run: PushRun, errand: Errand) -> None:
    changes = run.open(errand.changes)
    if (ended := errand.pointless()) is not None:
        run.finish([Verdict(changes, *ended)])
        return
    attempt = run.send(changes, errand.write, errand.refusals, errand.record)
    if attempt is None:
        return
    errand.tries += 1
    errand.last = attempt
    if attempt.outcome is Outcome.REFUSED:
        run.finish([Verdict(run.open(changes), Decision.PARKED, attempt.reason)])
    elif attempt.outcome is Outcome.UNKNOWN:
        errand.doubts += 1
        run.pause(errand.tries)
