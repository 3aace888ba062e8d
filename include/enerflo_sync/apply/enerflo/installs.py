"""Exchanges 4.1 and 3.1: writes an install's status and its milestones' dates by one PUT each.

The install is read before and after the requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from enerflo_sync.apply.enerflo.write_requests import WriteRequest, deliver
from enerflo_sync.crm.config import CompletedNeeds
from enerflo_sync.crm.mapping import WideColumn
from enerflo_sync.crm.wide import names_milestone
from enerflo_sync.enerflo.installs import read_install, update_install
from enerflo_sync.enerflo.milestones import update_milestone
from enerflo_sync.errors import BadRecordError, RetriableError
from enerflo_sync.inbox.answers import Answer, same_record
from enerflo_sync.outbox.bodies import DATE_COLUMNS, as_moment, milestone_body, sent_time, status_body
from enerflo_sync.outbox.changes import OutboxChange
from enerflo_sync.outbox.kept import is_coarser, is_day_of, value_in_answer
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.resources.installs import INSTALLS

ELSEWHERE = "Enerflo says something else than when the plan was made."

_STATUSES = sa.text("""
/* enerflo-sync push: the company's statuses */
select status_id, name from enerflo.install_statuses
where account = :account and deleted_at is null order by status_id
""")
_PRESENT = sa.text("""
/* enerflo-sync push: an install and its milestones as they are now */
select null::bigint as milestone_id, to_jsonb(i.*) as row from enerflo.installs i
where i.account = :account and i.install_id = :install
union all
select m.milestone_id, to_jsonb(m.*) from enerflo.milestones m
where m.account = :account and m.install_id = :install and m.deleted_at is null
""")

_LAST = sa.text("""
/* enerflo-sync push: an install's last milestone, and those that are open */
select milestone_id, array_agg(milestone_id) filter (where completed_at is null) over () as still_open
from enerflo.milestones
where account = :account and install_id = :install and deleted_at is null
order by sequence desc nulls last, milestone_id desc limit 1
""")


@dataclass(frozen=True)
class Wanted:
    """One change of a field that can be written to Enerflo.

    :param column: the mirror's column.
    :param value: the value that is sent: the id of a status, or a time.
    :param shown: the value that the mirror shows after Enerflo stored it.
    :param milestone: the id of the milestone, None for the install itself.
    """

    change: OutboxChange
    column: str
    value: Any
    shown: Any
    milestone: int | None


def push_install(run: PushRun, install_id: int, changes: Sequence[OutboxChange]) -> None:
    """Write one install's status and milestones."""
    wanted: dict[int, Wanted] = {}
    for change in changes:
        try:
            found = _wanted(run, change)
        except BadRecordError as error:
            run.finish([PushOutcome([change], Decision.PARKED, error.what)])
            continue
        if isinstance(found, PushOutcome):
            run.finish([found])
        else:
            wanted[change.position] = found
    run.leave_moved([one.change for one in wanted.values()])
    wanted = {position: one for position, one in wanted.items() if run.open([one.change])}
    requests = [WriteRequest(group, _writer(run, install_id, wanted)) for group in _requests(wanted)]
    completing = [one for one in requests if any(change.rule == LAST_MILESTONE for change in one.changes)]
    for request in completing:
        request.pointless = _pointless(run, install_id, wanted)
    # The install is completed only after its milestones were read back, because Enerflo may accept a
    # milestone without storing it.
    for some in ([one for one in requests if one not in completing], completing):
        if some:
            deliver(run, some, lambda open_: _look(run, install_id, open_, wanted))


def _wanted(run: PushRun, change: OutboxChange) -> Wanted | PushOutcome:
    """Return what has to be sent for a change, or the outcome of a change that cannot be sent.

    :raises BadRecordError: its value cannot be sent.
    """
    comparison = run.comparisons[change.table]
    mapping = comparison.mapping.fields.get(change.field or "")
    column = mapping.enerflo if mapping is not None else ""
    is_install = comparison.is_installs
    settable = ("status_name",) if is_install else DATE_COLUMNS
    if change.op != "update" or mapping is None or column not in settable:
        what = change.field if change.op == "update" else f"{change.op}s one of {change.table}"
        return PushOutcome([change], Decision.REFUSED, f"Enerflo has no call that sets {what}.")
    if is_install:
        return _wanted_status(run, change)
    moment = sent_time(change.after, mapping.time_zone or comparison.mapping.time_zone)
    assert change.enerflo_key is not None  # noqa: S101 - grouped by it
    if "milestone_id" not in change.enerflo_key:
        return PushOutcome([change], Decision.PARKED, "the plan does not say which milestone it is about.")
    return Wanted(change, column, moment, moment, int(change.enerflo_key["milestone_id"]))


def _wanted_status(run: PushRun, change: OutboxChange) -> Wanted | PushOutcome:
    with run.connection.begin():
        statuses = run.connection.execute(_STATUSES, {"account": run.account}).all()
    name = _folded(change.after)
    alike = [one for one in statuses if name and _folded(one.name) == name]
    found = [one for one in alike if one.name == change.after] or alike
    if len(found) == 1:
        return Wanted(change, "status_name", found[0].status_id, found[0].name, None)
    if found:
        ids = ", ".join(str(one.status_id) for one in found)
        reason = f"the company has several statuses of this name ({ids}): rename all but one there."
        return PushOutcome([change], Decision.REFUSED, reason)
    names = ", ".join(sorted(str(known) for _, known in statuses)) or "none that was read yet"
    return PushOutcome(
        [change], Decision.REFUSED, f"the company has no status of this name; it has: {names}."
    )


def _folded(name: object) -> str:
    return name.strip().casefold() if isinstance(name, str) else ""


def _requests(wanted: Mapping[int, Wanted]) -> list[list[OutboxChange]]:
    """Return the changes of each request; milestones come before the status that they may complete."""
    by_target: dict[int | None, list[OutboxChange]] = {}
    for one in sorted(wanted.values(), key=lambda one: one.milestone is None):
        by_target.setdefault(one.milestone, []).append(one.change)
    return list(by_target.values())


def _pointless(
    run: PushRun, install_id: int, wanted: Mapping[int, Wanted]
) -> Callable[[], tuple[Decision, str] | None]:
    """Return a function that gives the outcome of a completion if the needed milestones are not completed."""
    needs_all = run.config.statuses.completed_needs is CompletedNeeds.ALL

    def reason() -> tuple[Decision, str] | None:
        with run.connection.begin():
            last, still_open = run.connection.execute(
                _LAST, {"account": run.account, "install": install_id}
            ).one_or_none() or (None, None)
        left_open = set(still_open or ())
        completions = [
            one.change
            for one in wanted.values()
            if one.column == "completed_at" and (needs_all or one.milestone == last)
        ]
        if run.open(completions):
            raise RetriableError("the install's last milestone waits.")
        ended = {run.ended(change) for change in completions} - {Decision.APPLIED}
        if ended or last is None or (last in left_open and not needs_all):
            decision = Decision.MOVED if ended == {Decision.MOVED} else Decision.PARKED
            return decision, "the last milestone, which completes the install, was not completed."
        if needs_all and left_open:
            words = "milestone is" if len(left_open) == 1 else "milestones are"
            return Decision.MOVED, f"{len(left_open)} {words} still open."
        return None

    return reason


def _writer(
    run: PushRun, install_id: int, wanted: Mapping[int, Wanted]
) -> Callable[[Sequence[OutboxChange]], object]:
    def write(changes: Sequence[OutboxChange]) -> bytes:
        ones = [wanted[change.position] for change in changes]
        milestone = ones[0].milestone
        if milestone is None:
            return update_install(run.client, install_id, status_body(run.config.writes, ones[-1].value))
        body = milestone_body(run.config.writes, {one.column: one.value for one in ones})
        return update_milestone(run.client, install_id, milestone, body)

    return write


def _look(
    run: PushRun, install_id: int, requests: Sequence[WriteRequest], wanted: Mapping[int, Wanted]
) -> list[PushOutcome]:
    """Read the install and return the outcomes that its present values show."""
    run.bring_in(
        lambda _: Answer(
            [(INSTALLS, [same_record(INSTALLS, read_install(run.client, install_id), str(install_id))])]
        ),
        INSTALLS,
    )
    verdicts = []
    with run.connection.begin():
        rows = run.connection.execute(_PRESENT, {"account": run.account, "install": install_id})
        present = {row.milestone_id: row.row for row in rows}
        run.judges_by(present.values())
        for request in requests:
            for change in run.open(request.changes):
                verdict = _judged(run, wanted[change.position], present, request)
                verdicts += [verdict] if verdict is not None else []
    return verdicts


def _judged(
    run: PushRun, one: Wanted, present: Mapping[int | None, Mapping[str, Any]], request: WriteRequest
) -> PushOutcome | None:
    change, comparison = one.change, run.comparisons[one.change.table]
    if one.milestone not in present:
        return PushOutcome([change], Decision.PARKED, "not there: the install has no such milestone.")
    row, field = present[one.milestone], change.field or ""
    value = row[one.column]
    mapped = comparison.mapping.fields.get(field)
    title = mapped.milestone if isinstance(mapped, WideColumn) else None
    if isinstance(title, str) and not request.may_be_there and (why := _other_milestone(title, one, present)):
        return PushOutcome([change], Decision.PARKED, why)
    if any(run.same(comparison, field, value, goal) for goal in (change.after, one.shown)):
        return PushOutcome([change], Decision.APPLIED, request.how)
    if _is_kept(run, one, row, request):
        return PushOutcome([change], Decision.APPLIED, request.how, kept={change.position: value})
    if not run.same(comparison, field, value, change.before):
        return PushOutcome([change], Decision.MOVED, ELSEWHERE)
    return None


def _other_milestone(title: str, one: Wanted, present: Mapping[int | None, Mapping[str, Any]]) -> str | None:
    """Return why a change is not sent: the declared title now names another milestone, or several.

    A change that was already sent is judged by the id of its milestone only.
    """
    named = [
        number for number, row in present.items() if number and names_milestone(title, number, row["title"])
    ]
    if named == [one.milestone]:
        return None
    if len(named) > 1:
        return (
            f"the install has {len(named)} milestones called {title!r} now: it is not known which is meant."
        )
    return f"the install's milestone {one.milestone} is not called {title!r} any more."


def _is_kept(run: PushRun, one: Wanted, row: Mapping[str, Any], request: WriteRequest) -> bool:
    """Return whether Enerflo's value is our value in Enerflo's form (:mod:`enerflo_sync.outbox.kept`)."""
    if one.milestone is None:
        # The id decides: the install may show the status under another name.
        return bool(row["status_id"] == one.value)
    change, comparison = one.change, run.comparisons[one.change.table]
    found, sent = as_moment(row[one.column]), as_moment(one.value)
    if found is None or sent is None or not request.may_be_there:
        return False
    as_before = run.same(comparison, change.field or "", row[one.column], change.before)
    mapping = comparison.mapping.fields[change.field or ""]
    zone = mapping.time_zone or comparison.mapping.time_zone
    if is_coarser(sent, found, [zone]) or is_day_of(sent, found):
        return request.accepted or not as_before
    return request.accepted and not as_before and _answered(run, one, request) == found


def _answered(run: PushRun, one: Wanted, request: WriteRequest) -> datetime | None:
    """Return the time that the response to the write contains."""
    name = run.config.writes.milestone.model_dump()[one.column]
    value = value_in_answer(request.last.value if request.last is not None else None, name)
    try:
        return as_moment(value)
    except BadRecordError:
        return None
