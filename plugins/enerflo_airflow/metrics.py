"""Metrics of the jobs, through Airflow's own Stats: StatsD, Datadog or OpenTelemetry, as Airflow is set up.

All names are in :data:`METRICS`, and are sent by :func:`send` alone. Plain StatsD has no tags, so the account
is the last part of a name there; elsewhere it is the tag ``account``.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from enerflo_sync.jobs.context import AccountContext

log = logging.getLogger(__name__)

PREFIX = "enerflo_sync"
# What cannot be in one part of a name.
_NO_PART = re.compile(r"[^A-Za-z0-9_-]")
_ON = ("statsd_on", "statsd_datadog_enabled", "otel_on")
_TAGGED = ("statsd_datadog_enabled", "statsd_influxdb_enabled")


class MetricKind(StrEnum):
    """How values of a metric combine: a counter's add up, of a gauge the newest counts."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: without the prefix: the job, a dot, and what is counted.
    :param says: what it is, with its unit.
    """

    name: str
    kind: MetricKind
    says: str


def _counters(job: str, **says: str) -> Iterator[Metric]:
    yield from (Metric(f"{job}.{name}", MetricKind.COUNTER, words) for name, words in says.items())


def _gauges(job: str, **says: str) -> Iterator[Metric]:
    yield from (Metric(f"{job}.{name}", MetricKind.GAUGE, words) for name, words in says.items())


_END = "when it ended the last time without an error, seconds since 1970"
_RECORDS = {
    "read": "records read",
    "applied": "records that changed the mirror",
    "unchanged": "records that were as the mirror has them",
    "quarantined": "records put into quarantine",
    "skipped": "records left out, with a reason",
    "requests": "requests sent to Enerflo",
    "partial": "runs that could not read everything, or put something into quarantine",
}
METRICS: Mapping[str, Metric] = {
    one.name: one
    for one in (
        *_counters("poll", **_RECORDS),
        *_gauges("poll", ended=_END),
        *_counters("ingest", **{**_RECORDS, "read": "events and records read"}),
        *_gauges("ingest", ended=_END),
        *_gauges(
            "reconcile",
            differences="differences of every cause",
            unexplained="differences that no rule explains",
            unexplained_allowed="unexplained differences that sync.yaml allows",
            all_clear="1 where the newest one is an all-clear (exit code 0), else 0",
            ended=_END,
        ),
        *_gauges(
            "plan",
            changes="changes that the newest plans would make",
            questions="differences left to a person",
            waiting="plans that wait for an approval",
            ended=_END,
        ),
        # Gauges: a plan that is applied in several tries or parts says each time how it stands as a whole.
        *_gauges(
            "apply",
            applied="changes of the newest applied plan that were made",
            handed_over="changes handed over to a CRM whose table is a copy, which does not show them yet",
            moved="not made, since the value moved after the plan",
            parked="that could not be made",
            refused="that a person, or the mode of their table, refused",
            waiting="that wait for the other side",
            ended=_END,
        ),
        *_counters("change_orders", checked="change orders checked"),
        *_gauges(
            "change_orders", held="change orders held back from the CRM that nobody dismissed", ended=_END
        ),
        *_counters("replay", items="quarantined items that were replayed or dismissed"),
        *_counters(
            "backfill",
            read="records read",
            new="records that the mirror did not have",
            changed="records that changed",
            quarantined="records put into quarantine",
            requests="requests sent to Enerflo",
        ),
        *_counters("notify", sent="messages sent", given_up="messages that could not be sent"),
        *_gauges("notify", waiting="messages that are tried again"),
        *_gauges("mirror", lateness="seconds since the list read whole the longest ago was read"),
        *_gauges("webhooks", age="seconds since the newest webhook arrived"),
        *_gauges(
            "budget",
            used="share of the requests a minute that is used, 0 to 1",
            blocked="seconds for which no request may be sent",
        ),
        *_gauges(
            "events",
            waiting="webhook events that are not applied yet",
            oldest="age of the oldest of them, seconds",
        ),
        *_gauges(
            "writes",
            parked="changes that could not be made, and are held back",
            queued="approved changes that are not made yet",
            handed_over="changes that the CRM's copy does not show yet",
        ),
        *_gauges(
            "inbox",
            waiting="entries of the inbox that wait for a person",
            oldest="age of the oldest of them, seconds",
        ),
    )
}


# Jobs whose metrics have another name than their runs: webhooks.age is of the webhooks themselves.
_AS_METRIC = {"webhooks": "ingest"}


def send(account: str, values: Mapping[str, float | None]) -> None:
    """Send values by name; None sends nothing. A failure is logged, and fails no job."""
    if not metrics_are_on():
        return
    known = {name: value for name, value in values.items() if name in METRICS}
    found = [(METRICS[name], value) for name, value in known.items() if value is not None]
    if unknown := sorted(values.keys() - known.keys()):
        log.error("metrics that are not declared names=%s", ",".join(unknown))
    tagged = _has_tags()
    tags = {"account": account}
    for metric, value in found:
        name = f"{PREFIX}.{metric.name}"
        if not tagged:
            name = f"{name}.{_NO_PART.sub('_', account)}"
        try:
            if metric.kind is MetricKind.GAUGE:
                stats.gauge(name, value, tags=tags)
            else:
                # Zeros, too: Prometheus sees no increase in a series that begins with its first count.
                stats.incr(name, int(value), tags=tags)
        except Exception as error:
            log.warning("metric not sent name=%s error=%s", name, type(error).__name__)


def metrics_are_on() -> bool:
    """Return whether Airflow sends metrics anywhere."""
    return any(conf.getboolean("metrics", option, fallback=False) for option in _ON)


def _has_tags() -> bool:
    # In Airflow's own order: StatsD goes before OpenTelemetry.
    if any(conf.getboolean("metrics", option, fallback=False) for option in _TAGGED):
        return True
    return not conf.getboolean("metrics", "statsd_on", fallback=False)


def send_run(report: Any, opened: AccountContext) -> None:
    """Send what a poll or an ingest did (:class:`enerflo_sync.warehouse.runs.RunReport`), and the figures."""
    job = _AS_METRIC.get(report.job, report.job)
    counts = ("read", "applied", "unchanged", "quarantined", "skipped", "requests")
    send(
        report.account,
        {
            **{f"{job}.{name}": getattr(report, name) for name in counts},
            f"{job}.partial": int(report.needs_a_person),
            f"{job}.ended": _now(opened),
        },
    )
    send_figures(opened)


def send_reconciliation(report: Any, opened: AccountContext) -> None:
    """Send what a reconciliation found, and the figures."""
    if not metrics_are_on():
        return
    from enerflo_sync.reconcile.render.verdict import is_all_clear

    send(
        report.account,
        {
            "reconcile.differences": report.differences,
            "reconcile.unexplained": report.unexplained,
            "reconcile.unexplained_allowed": report.budget,
            "reconcile.all_clear": int(is_all_clear(report)),
            "reconcile.ended": _now(opened),
        },
    )
    send_figures(opened)


def send_plans(plans: Any, opened: AccountContext) -> None:
    """Send what the plans of one round hold, and the figures."""
    send(
        opened.account,
        {
            "plan.changes": sum(plan.change_count for plan in plans),
            "plan.questions": sum(sum(plan.undecided.values()) for plan in plans),
            "plan.ended": _now(opened),
        },
    )
    send_figures(opened)


def send_apply(report: Any, opened: AccountContext) -> None:
    """Send how the changes of a plan stand, and the figures."""
    outcomes = ("applied", "handed_over", "moved", "parked", "refused", "waiting")
    ended = None if report.waiting else _now(opened)
    send(
        report.account,
        {**{f"apply.{name}": getattr(report, name) for name in outcomes}, "apply.ended": ended},
    )
    send_figures(opened)


def send_checks(report: Any, opened: AccountContext) -> None:
    """Send how many change orders were checked, and how many are held."""
    send(
        report.account,
        {
            "change_orders.checked": report.checked or 0,
            "change_orders.held": report.held,
            "change_orders.ended": _now(opened),
        },
    )


def send_backfill(report: Any) -> None:
    """Send what a finished backfill read."""
    counts = ("read", "new", "changed", "quarantined", "requests")
    send(report.account, {f"backfill.{name}": getattr(report, name) for name in counts})


def send_notifications(report: Any) -> None:
    """Send how many messages were sent."""
    counts = ("sent", "given_up", "waiting")
    send(report.account, {f"notify.{name}": getattr(report, name) for name in counts})


def _now(opened: AccountContext) -> float | None:
    """Return the present moment by the database's clock: a worker's may be wrong, and hide a stopped job."""
    if not metrics_are_on():
        return None
    from enerflo_sync.errors import EnerfloSyncError

    try:
        return opened.clock.now().timestamp()
    except EnerfloSyncError:
        return time.time()


def send_figures(opened: AccountContext) -> None:
    """Send what of the account is late and what waits. Costs a look at the warehouse if metrics are on."""
    if not metrics_are_on():
        return
    from enerflo_sync.errors import EnerfloSyncError
    from enerflo_sync.jobs.figures import run_figures

    try:
        found = run_figures(opened)
    except EnerfloSyncError as error:
        log.warning("figures not sent account=%s: %s", opened.account, error)
        return
    send(
        opened.account,
        {
            "mirror.lateness": found.lateness,
            "webhooks.age": found.webhook_age,
            "budget.used": found.budget_used,
            "budget.blocked": found.budget_blocked,
            "events.waiting": found.events,
            "events.oldest": found.event_age or 0,
            "plan.waiting": found.plans,
            "writes.parked": found.parked,
            "writes.queued": found.queued,
            "writes.handed_over": found.handed_over,
            "inbox.waiting": found.inbox,
            "inbox.oldest": found.inbox_age or 0,
        },
    )
