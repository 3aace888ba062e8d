"""Metrics arrive at a real socket: what runs of DAGs send, and every name that the documentation has."""

from __future__ import annotations

import atexit
import gzip
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest
from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
from enerflo_airflow import metrics
from enerflo_airflow.hook import open_account
from enerflo_airflow.metrics import METRICS, MetricKind
from opentelemetry.metrics import get_meter_provider
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.inbox.ingest import JOB as INGEST
from enerflo_sync.notify.notify import NotifyReport
from enerflo_sync.plan.report import PlanState
from enerflo_sync.reconcile.report import GoneAtOnce
from enerflo_sync.warehouse.runs import RunReport, RunState
from tests.airflow_environment import ROOT
from tests.airflow_fixtures import Setting
from tests.dags.test_runs import result, run

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]
_LINE = re.compile(r"airflow\.enerflo_sync\.(?P<name>\w+\.\w+)\.default:(?P<value>[^|]+)\|(?P<kind>[cg])")


class Listener:
    """A StatsD server: a socket."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def lines(self) -> list[str]:
        """Return what arrived since the last look, of this project."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65_535).decode())
            except BlockingIOError:
                return [line for line in "\n".join(found).splitlines() if "enerflo_sync" in line]

    def values(self) -> dict[str, float]:
        """Return what arrived by name; counters are added up."""
        found: dict[str, float] = {}
        for line in self.lines():
            match = _LINE.fullmatch(line)
            assert match, line
            name, value = match["name"], float(match["value"])
            assert (match["kind"] == "c") is (METRICS[name].kind is MetricKind.COUNTER), line
            found[name] = found.get(name, 0) + value if match["kind"] == "c" else value
        return found

    def close(self) -> None:
        self._socket.close()


def _begin() -> None:
    # As a worker does before it runs a task.
    stats.initialize(factory=get_stats_factory(), export_legacy_names=False)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A StatsD server to which Airflow is told to send."""
    with closing(Listener()) as listener:
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(listener.port))
        _begin()
        yield listener
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    _begin()


def test_runs_send_what_they_did_and_what_waits(connected: Setting, statsd: Listener) -> None:
    counts = result(run("enerflo_poll"), "read_enerflo")
    sent = statsd.values()
    for name in ("read", "applied", "requests"):
        assert sent[f"poll.{name}"] == counts[name] > 0
    assert abs(sent["poll.ended"] - datetime.now(UTC).timestamp()) < 60
    assert 0 <= sent["mirror.lateness"] < 60
    assert 0 < sent["budget.used"] <= 1
    assert sent["writes.queued"] == sent["writes.parked"] == 0
    assert sent["inbox.waiting"] >= 1
    headline = result(run("enerflo_reconcile"), "compare_with_crm")
    sent = statsd.values()
    assert sent["reconcile.differences"] == headline["differences"] > 0
    assert sent["reconcile.unexplained"] == headline["unexplained"]
    assert "poll.read" not in sent


def test_nothing_is_sent_or_computed_where_airflow_sends_nothing(
    connected: Setting, statsd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    _begin()
    metrics.send("default", {"poll.read": 7})
    # Would fail on anything that it looks at.
    metrics.send_figures(SimpleNamespace())  # type: ignore[arg-type]
    assert statsd.lines() == []


def test_a_warehouse_that_is_down_costs_the_figures_alone(
    connected: Setting, statsd: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.airflow_fixtures import warehouse_connection
    from tests.dags.test_alert_runs import NOWHERE

    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(NOWHERE))
    with closing(open_account("default")) as opened:
        metrics.send_run(run_report("poll"), opened)
    assert statsd.values()["poll.read"] == 10
    assert "figures not sent account=default" in caplog.text


def test_tags_carry_the_account_where_there_are_tags(
    statsd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    _begin()
    metrics.send("west.2", {"poll.read": 7})
    assert statsd.lines() == ["airflow.enerflo_sync.poll.read,account=west.2:7|c"]
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "False")
    _begin()
    metrics.send("west.2", {"poll.read": 7, "poll.ended": None})
    assert statsd.lines() == ["airflow.enerflo_sync.poll.read.west_2:7|c"]


class _Collector(BaseHTTPRequestHandler):
    """An OpenTelemetry collector: keeps what is posted."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        zipped = self.headers.get("Content-Encoding") == "gzip"
        self.bodies.append(gzip.decompress(body) if zipped else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_collector_of_opentelemetry_gets_them_with_the_account_as_an_attribute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__OTEL_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__OTEL_PORT", str(server.server_port))
        _begin()
        metrics.send("west.2", {"poll.read": 7, "mirror.lateness": 3.5})
        provider: Any = get_meter_provider()
        provider.force_flush()
        provider.shutdown()
        # Registered by Airflow for the end of the process, when this provider is gone.
        atexit.unregister(flush_otel_metrics)
        server.shutdown()
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "False")
    _begin()
    found = {}
    for body in _Collector.bodies:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                for point in (*metric.sum.data_points, *metric.gauge.data_points):
                    tags = {tag.key: tag.value.string_value for tag in point.attributes}
                    found[metric.name] = (point.as_int or point.as_double, tags)
    assert found == {
        "airflow.enerflo_sync.poll.read": (7, {"account": "west.2"}),
        "airflow.enerflo_sync.mirror.lateness": (3.5, {"account": "west.2"}),
    }


def run_report(job: str) -> RunReport:
    return RunReport(
        run_id="r",
        account="default",
        job=job,
        state=RunState.PARTIAL,
        started_at=datetime.now(UTC),
        read=10,
        applied=4,
        unchanged=3,
        quarantined=2,
        skipped=1,
        requests=5,
    )


def test_every_metric_is_sent_by_some_job(connected: Setting, statsd: Listener) -> None:
    """By the reports that the operators have: nothing is documented that nothing sends."""
    from enerflo_sync.jobs.reconcile import run_reconcile

    plan = SimpleNamespace(change_count=3, undecided={"why": 2}, asks_a_person=True)
    numbers = dict.fromkeys(("applied", "handed_over", "moved", "parked", "refused", "waiting"), 3)
    applied = ApplyReport(
        plan_hash="p",
        account="default",
        state=PlanState.APPLIED,
        decided_by=None,
        run_id="r",
        reasons={},
        **numbers,
    )
    done = ApplyReport(
        plan_hash="p",
        account="default",
        state=PlanState.APPLIED,
        decided_by=None,
        run_id="r",
        reasons={},
        **{**numbers, "waiting": 0},
    )
    found: dict[str, float] = {}
    with closing(open_account("default", reads_enerflo=True)) as opened:
        _spend(opened)
        for report in (run_report("poll"), run_report(INGEST)):
            metrics.send_run(report, opened)
        reconciled = run_reconcile(opened)
        metrics.send_reconciliation(reconciled, opened)
        metrics.send_plans([plan], opened)
        metrics.send_apply(applied, opened)
        found |= statsd.values()
        assert "apply.ended" not in found
        metrics.send_apply(done, opened)
        metrics.send_checks(SimpleNamespace(account="default", checked=3, held=1), opened)
    metrics.send_backfill(backfill_report())
    metrics.send_notifications(
        NotifyReport(account="default", composed=3, sent=2, waiting=1, given_up=1, errors=[])
    )
    metrics.send("default", {"replay.items": 3})
    assert set(found | statsd.values()) == set(METRICS)


def test_when_a_job_ended_is_told_by_the_databases_clock(
    connected: Setting, statsd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker a day ahead would hide for a day that polls stopped."""
    with closing(open_account("default", reads_enerflo=True)) as opened:
        _spend(opened)
        ahead = time.time() + 86_400
        monkeypatch.setattr(metrics, "time", SimpleNamespace(time=lambda: ahead))
        metrics.send_run(run_report("poll"), opened)
        metrics.send_plans([], opened)
        metrics.send_checks(SimpleNamespace(account="default", checked=3, held=1), opened)
    found = statsd.values()
    for name in ("poll.ended", "plan.ended", "change_orders.ended"):
        assert abs(found[name] - time.time()) < 60, name


def _spend(opened: Any) -> None:
    """Let a webhook have come, and a poll have read the lists."""
    from enerflo_sync.jobs.poll import run_poll

    run_poll(opened)
    with opened.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into sync.webhook_events (account, event_id, event, content_hash, received_at, source_uri,"
            " state, body) values ('default', 'e', 'x', 'e', now() - interval '1 hour', 'drop/1', 'received', '{}')"
        )


def backfill_report() -> Any:
    fields = dict.fromkeys(("read", "new", "changed", "quarantined", "requests"), 3)
    assert set(fields) <= set(BackfillReport.__struct_fields__)
    return SimpleNamespace(account="default", **fields)


def test_the_figures_count_what_waits(connected: Setting) -> None:
    from enerflo_sync.jobs.figures import run_figures

    with closing(open_account("default", reads_enerflo=True)) as opened:
        empty = run_figures(opened)
        assert (empty.lateness, empty.webhook_age, empty.budget_used, empty.event_age) == (None,) * 4
        _spend(opened)
        with opened.engine.begin() as connection:
            for statement in (
                "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
                " needs_approval, mode, config_hash) values ('default', 'p', 'sync', now(), now() + interval '1 day',"
                " 'approved', 2, false, 'both', 'c')",
                "insert into sync.plan_changes (account, plan_hash, position, table_name, key, op, direction, policy,"
                " cause, rule, state) select 'default', 'p', n, 'installs', '{}', 'delete', 'to_crm', 'enerflo', 'x',"
                " 'r', (array['planned', 'sent', 'applied'])[n] from generate_series(1, 3) n",
                "insert into sync.crm_changes (account, change_id, table_name, crm_table, key, op, plan_hash, kind,"
                " approved_by, made_at, state, state_at) select 'default', n::text, 'installs', 'c', '{}', 'delete',"
                " 'p', 'sync', 'Ada', now(), (array['open', 'withdrawn'])[n], now() from generate_series(1, 2) n",
                "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                " last_seen_at, count, state) values ('default', 'i', 'event', 'x', 'f', now() - interval '2 days',"
                " now(), 1, 'open')",
                "insert into sync.ledger (account, table_name, key, op, field, direction, decision, plan_hash,"
                " recorded_at, policy, cause, rule, decided_by, run_id) values ('default', 'installs', '{}', 'update',"
                " 'status', 'to_crm', 'parked', 'p', now(), 'enerflo', 'c', 'r', 'rule', 'r')",
                # What a person refused waits for nobody, however long it stands.
                "insert into sync.refusals (account, table_name, key, op, direction, plan_hash, decided_by, decided_at)"
                " values ('default', 'installs', '{}', 'delete', 'to_crm', 'p', 'Ada', now() - interval '9 days')",
            ):
                connection.exec_driver_sql(statement)
            for name, state, more in (
                ("w", "open", "true, 'both', 'c'"),
                ("d", "approved", "true, 'both', 'c'"),
                ("s", "open", "true, 'report', 'c'"),
            ):
                connection.exec_driver_sql(
                    "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
                    f" needs_approval, mode, config_hash) values ('default', '{name}', 'sync', now(),"
                    f" now() + interval '1 day', '{state}', 0, {more})"
                )
        found = run_figures(opened)
    # A plan that was approved waits no longer, also where no plan is made after it.
    assert found.plans == 1
    assert (found.queued, found.handed_over, found.parked, found.events) == (2, 1, 1, 1)
    assert found.lateness is not None
    assert found.lateness < 60
    assert 3_590 < (found.event_age or 0) < 3_660
    assert 172_000 < (found.inbox_age or 0) < 180_000


def test_the_page_has_each_metric_as_it_is() -> None:
    rows = re.findall(
        r"^\| `(\w+\.\w+)` \| (\w+) \| (.*) \|$", (ROOT / "docs" / "metrics.md").read_text(), re.M
    )
    assert rows == [(one.name, str(one.kind), one.says) for one in METRICS.values()]
    assert Path(ROOT / "docs" / "monitoring").is_dir()


def test_a_reconciliation_that_is_no_all_clear_is_not_green_in_metrics(
    connected: Setting, statsd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a table lost its rows at once: no difference is unexplained then."""
    from enerflo_sync.jobs.poll import run_poll
    from enerflo_sync.jobs.reconcile import run_reconcile

    with closing(open_account("default", reads_enerflo=True)) as opened:
        never_polled = run_reconcile(opened)
        metrics.send_reconciliation(never_polled, opened)
        sent = statsd.values()
        assert sent["reconcile.all_clear"] == 0
        run_poll(opened)
        report = run_reconcile(opened)
        gone = GoneAtOnce("notes", "crm.notes", 40, 5, report.started_at)
        budget = report.unexplained
        for all_clear, lost in ((1, ()), (0, (gone,))):
            told = msgspec.structs.replace(report, budget=budget, gone_at_once=lost)
            metrics.send_reconciliation(told, opened)
            assert statsd.values()["reconcile.all_clear"] == all_clear


def test_a_counter_is_there_before_it_first_counts(statsd: Listener) -> None:
    """Prometheus sees no increase in a series that begins with one: the first message given up was told by none."""
    metrics.send_notifications(
        NotifyReport(account="default", composed=0, sent=0, waiting=0, given_up=0, errors=[])
    )
    assert {"notify.given_up": 0, "notify.sent": 0}.items() <= statsd.values().items()
