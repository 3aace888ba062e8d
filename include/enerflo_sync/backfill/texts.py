"""Render a backfill in plain lines: for a terminal, the run's note and the approval's body."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.backfill.collisions import WORDS
from enerflo_sync.backfill.estimate import Compared, Estimate
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.store import ChunkState, State
from enerflo_sync.counted import count_of

# As many unknown installs are named; the report has them all.
_NAMED = 10


def estimate_lines(report: BackfillReport) -> Iterator[str]:
    """Yield the estimate, the most important figures first; nothing without an estimate."""
    estimate = report.estimate
    if estimate is None:
        return
    yield f"{report.words}: about {count_of(estimate.records, 'install')} by {_requests(estimate)}"
    yield (
        f"about {_minutes(estimate.minutes_alone)} alone,"
        f" {_minutes(estimate.minutes_beside_live)} beside live work,"
        f" in {count_of(estimate.chunks, 'part')}"
    )
    if estimate.sampled:
        yield (
            f"about {estimate.changed:,} differ from the mirror, {estimate.new:,} of them new"
            f" (by {estimate.sampled:,} that were looked at)"
        )
        fields = count_of(estimate.plan_changes, "field")
        yield f"the plan after it would write about {fields} more to the CRM"
    for name, count in estimate.collisions.items():
        yield f"{count:,} {WORDS[name]}"


def _requests(estimate: Estimate) -> str:
    parts = {
        "for installs": estimate.install_requests,
        "for milestones": estimate.detail_requests,
        **{f"for {name.replace('_', ' ')}": count for name, count in estimate.list_requests.items()},
    }
    shown = ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)
    return f"{count_of(estimate.requests, 'request')} ({shown})" if shown else "no request"


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    return f"{minutes:,.0f} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"


def report_lines(report: BackfillReport) -> Iterator[str]:
    """Yield the result of a backfill, and the error of its estimate."""
    yield (
        f"read {report.read:,} · new {report.new:,} · changed {report.changed:,}"
        f" · unchanged {report.unchanged:,} · quarantined {report.quarantined:,}"
        f" · skipped {report.skipped:,} · missing from the source {report.missing:,}"
    )
    took = "" if report.minutes is None else f" in {report.minutes:,.1f} minutes"
    among = f"the estimate's among them, {report.throttled:,} answered by 429"
    yield f"{count_of(report.requests, 'request')}{took}, {among}"
    for why in report.reasons.get("incomplete", {}):
        yield f"not read whole: {why}"
    if unknown := report.unknown:
        more = f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
        yield f"no install of Enerflo has what you named: {', '.join(unknown[:_NAMED])}{more}"
    for why, count in sorted(report.reasons.get("quarantined", {}).items()):
        yield f"quarantined: {why} ({count:,})"
    for why, count in sorted(report.reasons.get("notice", {}).items()):
        yield f"noticed: {why} ({count:,})"
    if report.state is not State.FINISHED:
        done = sum(one.state is ChunkState.DONE for one in report.chunks)
        yield f"{done:,} of {count_of(len(report.chunks), 'part')} {'is' if done == 1 else 'are'} read"
    if report.compared:
        yield "estimated and real: " + ", ".join(_compared(one) for one in report.compared)


def _compared(one: Compared) -> str:
    error = "" if one.error_percent is None else f" ({one.error_percent:+.0f} %)"
    return f"{one.name} {one.estimated:,.4g} and {one.happened:,.4g}{error}"
