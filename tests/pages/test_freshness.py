"""The page of freshness: the same as the commands say, the budget by lane, and runs that close what is open."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from enerflo_airflow.hook import open_account

from enerflo_sync.gaps.report import GapReport
from enerflo_sync.jobs.gaps import read_gaps, read_witnesses
from enerflo_sync.pages.api_budget import ApiBudget, read_api_budget
from tests.pages.conftest import Visitor
from tests.pages.counting import counted_statements
from tests.pages.known_dags import known, runs_of

pytestmark = pytest.mark.airflow
PAGE = "freshness/default"
NOW = datetime(2026, 3, 2, 14, 20, tzinfo=UTC)


def told() -> GapReport:
    """Return what ``enerflo-sync gaps`` says."""
    with closing(open_account("default")) as account:
        return read_gaps(account)


def section(text: str, name: str) -> str:
    found = text[text.index(f'<section id="{name}">') :]
    return html.unescape(found[: found.index("</section>")])


def test_the_page_says_what_the_command_says(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    # Polls of the last hours that did not read the notes whole, and one that did, before.
    pat.sql(
        "update sync.watermarks set value = value - interval '5 hours' where name in ('notes', 'installs')"
    )
    pat.sql("update sync.runs set started_at = started_at - interval '5 hours' where job = 'poll'")
    text, gaps = pat.text(PAGE), told()
    assert gaps.open >= 2
    assert gaps.sentence in text
    found = section(text, "gaps")
    for hole in gaps.holes:
        assert hole.why in found
        if hole.is_open:
            assert hole.closes in found
    lists = section(text, "lists")
    assert lists.count("a gap is open") >= 2
    assert re.search(r'<th scope="row">notes</th>.*?>5 h<', lists, re.DOTALL)


def test_webhooks_are_told_as_the_command_tells_them(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    pat.sql(
        "update sync.witnesses set webhook_seen_at = null, poll_seen_at = now() - interval '3 hours'"
        " where record = (select record from sync.witnesses where webhook_seen_at is not null limit 1)"
    )
    with closing(open_account("default")) as account:
        total = read_witnesses(account).total
    row = section(pat.text(PAGE), "webhooks")
    row = row[row.index('<th scope="row">all</th>') :]
    figures = re.findall(r'<span class="num[^"]*">([\d,]+)</span>', row[: row.index("</tr>")])
    assert [int(one) for one in figures] == [total.changes, total.told, total.missed, total.unconfirmed]


def test_a_first_webhook_that_never_came_is_told(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    pat.sql("delete from sync.webhook_events")
    pat.sql("update sync.witnesses set webhook_seen_at = null, poll_seen_at = now() - interval '3 hours'")
    pat.sql(
        "insert into sync.runs (account, run_id, job, started_at, state)"
        " values ('default', 'first', 'webhooks', now() - interval '9 hours', 'ok')"
    )
    with closing(open_account("default")) as account:
        said = read_gaps(account).silence
    assert ", and no webhook ever came; polls found " in said
    text = pat.text(PAGE)
    assert said in section(text, "webhooks")
    assert f"{said} Check the sender and the receiver." in text


def test_polls_that_did_not_run_come_before_an_item_that_waits_in_quarantine(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    pat.sql(
        "update sync.runs set started_at = started_at - interval '9 days',"
        " finished_at = finished_at - interval '9 days'"
    )
    text = pat.text(PAGE)
    assert "quarantine list" in text
    assert "due polls did not run" in text
    assert "See what closes the gaps below, first " in text
    assert "Decide in the inbox about what arrived and was not read." not in text


def test_before_the_first_poll_and_webhook_the_page_says_what_to_do(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    for table in ("runs", "watermarks", "webhook_events", "witnesses", "quarantine", "request_budgets"):
        pat.sql(f"delete from sync.{table}")
    text = pat.text(PAGE)
    assert "No poll ever ran for this account" in text
    assert "Switch the DAG of the poll on" in text
    assert "No webhook was ever received" in text
    assert "No request was ever made" in text
    assert "No backfill was made yet" in text
    assert told().sentence in text


@pytest.fixture
def budget(visitor: Callable[..., Visitor]) -> Callable[[], ApiBudget]:
    """Reads the budget at 14:20 of a day, of an account without a request."""
    pat = visitor("ADMIN")
    for table in ("api_calls", "backfill_chunks", "backfills"):
        pat.sql(f"delete from sync.{table}")

    def read() -> ApiBudget:
        with pat.engine.connect() as connection:
            return read_api_budget(connection, "default", NOW)

    return read


def calls(pat: Visitor, hours_ago: int, count: int, **more: int) -> None:
    hour = NOW.replace(minute=0) - timedelta(hours=hours_ago)
    pat.sql(
        "insert into sync.api_calls (account, endpoint, hour, calls, throttled, failed)"
        " values ('default', :endpoint, :hour, :calls, :throttled, 0)",
        endpoint=f"e{hours_ago}",
        hour=hour,
        calls=count,
        throttled=more.get("throttled", 0),
    )


def backfill(pat: Visitor, start: datetime, end: datetime | None, requests: int, estimate: int = 0) -> None:
    pat.sql(
        "insert into sync.backfills (account, backfill_id, state, kind, words, resources, request_hash,"
        " mapping_hash, created_at, touched_at, started_at, per_page, estimate) values ('default', 'b1',"
        " 'reading', 'window', '2026-01-01 … 2026-01-31', '{installs}', '', '', :created, :touched, :start,"
        " 100, cast(:estimate as jsonb))",
        created=start - timedelta(days=3),
        start=start,
        touched=end or NOW,
        estimate=json.dumps({"records": 1, "install_requests": estimate}),
    )
    pat.sql(
        "insert into sync.backfill_chunks (account, backfill_id, chunk, resource, label, state, first_row,"
        " expected_rows, rows, requests, started_at, finished_at) values ('default', 'b1', 1, 'installs', '',"
        " 'reading', 0, 400, 100, :requests, :start, :end)",
        requests=requests,
        start=start,
        end=end,
    )


def test_requests_are_told_by_hour_and_lane(
    visitor: Callable[..., Visitor], budget: Callable[[], ApiBudget]
) -> None:
    pat = visitor("ADMIN")
    calls(pat, 0, 50)
    calls(pat, 1, 400, throttled=3)
    calls(pat, 23, 7)
    # Before the 24 hours.
    calls(pat, 24, 1_000)
    # A chunk of 13:30 to 14:20: three of its five parts are in the hour before.
    backfill(pat, NOW - timedelta(minutes=50), None, 100)
    found = budget()
    assert len(found.hours) == 24
    assert [(hour.live, hour.backfill) for hour in found.hours if hour.calls] == [(7, 0), (340, 60), (10, 40)]
    assert (found.live, found.backfill, found.refused) == (357, 100, 3)
    assert found.hours[-1].at == NOW.replace(minute=0)


def test_the_day_is_forecast_by_what_the_same_hours_took_yesterday(
    visitor: Callable[..., Visitor], budget: Callable[[], ApiBudget]
) -> None:
    pat = visitor("ADMIN")
    # Yesterday 90 in each hour, today 30.
    for hours_ago in range(25):
        calls(pat, hours_ago, 30 if hours_ago <= 14 else 90)
    forecast = budget().forecast
    assert forecast is not None
    assert forecast.until_now == 15 * 30
    # The rest of 14:00 to 15:00, and nine hours.
    assert forecast.live == 90 * 2 // 3 + 9 * 90
    assert forecast.total == forecast.until_now + forecast.live
    assert forecast.days_limit == 10_000 * 60 * 24


def test_a_young_account_is_forecast_by_its_mean_hour(
    visitor: Callable[..., Visitor], budget: Callable[[], ApiBudget]
) -> None:
    pat = visitor("ADMIN")
    assert budget().forecast is None
    calls(pat, 0, 20)
    calls(pat, 2, 50)
    forecast = budget().forecast
    assert forecast is not None
    # 70 in 2 h 20 min is 30 an hour, and 9 h 40 min are left.
    assert (forecast.until_now, forecast.live) == (70, 290)


def test_a_running_backfill_is_in_the_forecast_and_shows_its_progress(
    visitor: Callable[..., Visitor], budget: Callable[[], ApiBudget]
) -> None:
    pat = visitor("ADMIN")
    calls(pat, 0, 60)
    backfill(pat, NOW - timedelta(minutes=5), None, 20, estimate=500)
    forecast = budget().forecast
    assert forecast is not None
    assert forecast.backfill == 480
    shown = section(pat.text(PAGE), "backfills")
    assert "2026-01-01 … 2026-01-31" in shown
    assert '<progress max="100" value="25"' in shown


def test_copies_of_the_crm_tell_how_old_they_are(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    assert 'id="copies"' not in pat.text(PAGE)
    pat.sql(
        "insert into sync.crm_copies (account, table_name, crm_table, signature, read_at, rows, rows_read, seconds)"
        " values ('default', 'installs', 'dbo.Jobs', '', now() - interval '3 hours', 1200, 40, 2.5)"
    )
    shown = section(pat.text(PAGE), "copies")
    assert "dbo.Jobs" in shown
    assert ">3 h<" in shown
    assert ">1,200<" in shown
    # An older version did not count what it cost.
    assert 'data-label="Statements">\N{EN DASH}<' in shown
    pat.sql("update sync.crm_copies set statements = 1003, bytes_read = 40960")
    shown = section(pat.text(PAGE), "copies")
    assert "<small>41.0 kB<" in shown
    assert ">1,003<" in shown


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("start", {"job": "sync"}, "not a job that this page starts"),
        ("start", {"job": "'\"%\0" + "x" * 10_000}, "not a job that this page starts"),
    ],
)
def test_what_cannot_be_started_is_said_in_words(
    visitor: Callable[..., Visitor], path: str, fields: dict[str, str], said: str
) -> None:
    pat = visitor("ADMIN")
    answer = pat.client.post(
        f"/enerflo/{PAGE}/{path}", data={"token": pat.token("quality/default?list=orders"), **fields}
    )
    assert answer.status_code == 409
    assert said in html.unescape(answer.text)
    assert 'href="/enerflo/freshness/default"' in answer.text


def test_who_may_not_act_starts_nothing(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    pat.sql("update sync.watermarks set value = value - interval '5 hours'")
    pat.sql("update sync.runs set started_at = started_at - interval '5 hours' where job = 'poll'")
    assert "Start a poll" in pat.text(PAGE)
    token = pat.token(PAGE)
    viewer = visitor("VIEWER")
    assert "Start a poll" not in viewer.text(PAGE)
    for given in (token, "forged"):
        answer = viewer.client.post(f"/enerflo/{PAGE}/start", data={"token": given, "job": "poll"})
        assert answer.status_code == 403


def test_the_page_is_small_asks_a_bounded_number_of_questions_and_holds_nothing_personal(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("ADMIN")
    pat.text(PAGE)
    with counted_statements() as statements:
        text = pat.text(PAGE)
    assert len(statements) <= 27, len(statements)
    assert len(text.encode()) < 60_000
    names = pat.sql("select customer_name from enerflo.installs where customer_name is not null limit 500")
    assert [row["customer_name"] for row in names if str(row["customer_name"]) in text] == []


@pytest.mark.parametrize(
    ("path", "fields", "job", "conf"),
    [
        ("start", {"job": "poll"}, "poll", {}),
        ("start", {"job": "poll", "full": "yes"}, "poll", {"full": True}),
        ("start", {"job": "webhooks"}, "webhooks", {}),
    ],
)
def test_what_closes_a_hole_is_started_in_the_users_name(
    visitor: Callable[..., Visitor], path: str, fields: dict[str, str], job: str, conf: dict[str, object]
) -> None:
    known(job)
    pat = visitor("ADMIN", "pat")
    answer = pat.client.post(
        f"/enerflo/{PAGE}/{path}", data={"token": pat.token("quality/default?list=orders"), **fields}
    )
    assert answer.status_code == 303
    [run] = runs_of(job)
    assert f"dag_id=enerflo_{job}&run_id=" in answer.headers["location"]
    assert run.triggering_user_name == "pat"
    assert run.conf == conf
    again = pat.client.post(
        f"/enerflo/{PAGE}/{path}", data={"token": pat.token("quality/default?list=orders"), **fields}
    )
    assert again.status_code == 303
    assert (
        again.headers["location"].partition("&notice=")[0]
        == answer.headers["location"].partition("&notice=")[0]
    )
    assert len(runs_of(job)) == 1


def test_a_hole_that_a_backfill_reads_again_leads_to_its_estimate(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    pat.sql(
        "update sync.witnesses set webhook_seen_at = null, poll_seen_at = now() - interval '3 hours'"
        " where record = (select record from sync.witnesses where webhook_seen_at is not null limit 1)"
    )
    pat.sql("update sync.watermarks set value = value - interval '5 hours'")
    pat.sql("update sync.runs set started_at = started_at - interval '5 hours' where job = 'poll'")
    gaps = section(pat.text(PAGE), "gaps")
    form = re.search(r'action="(/enerflo/overview/default/backfill)">(.*?)</form>', gaps, re.DOTALL)
    [hole] = [hole for hole in told().holes if hole.backfill and hole.is_open]
    assert form
    assert "Estimate the backfill" in form[2]
    for value in (hole.start, hole.end or told().as_of):
        assert f'value="{value:%Y-%m-%d}"' in form[2]


def test_an_estimated_backfill_can_be_started_from_the_list(
    visitor: Callable[..., Visitor], budget: Callable[[], ApiBudget]
) -> None:
    pat = visitor("ADMIN")
    backfill(pat, NOW - timedelta(minutes=5), None, 0, estimate=500)
    pat.sql("update sync.backfills set state = 'estimated'")
    shown = section(pat.text(PAGE), "backfills")
    assert 'action="/enerflo/overview/default/backfill/b1"' in shown
    assert "500 requests" in shown
    assert "Start it" not in visitor("VIEWER").text(PAGE)


def test_how_long_changes_took_to_the_crm_is_told_of_those_that_nobody_was_asked_about(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    assert "From Enerflo to the CRM" not in pat.text(PAGE)
    plan = (
        "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
        " needs_approval, mode, config_hash) values ('default', :plan, 'sync', now(), now(), 'applied', 1,"
        " :asked, 'crm', '')"
    )
    change = (
        "insert into sync.plan_changes (account, plan_hash, position, table_name, key, op, field, direction,"
        " policy, cause, rule, state, changed_at, done_at) select 'default', :plan, n + :more, 'installs',"
        " '{}', 'update', 'status', :direction, '', '', '', :state, now() - :age - n * interval '1 second',"
        " now() - :age from generate_series(1, 100) n"
    )
    pat.sql(plan, plan="quick", asked=False)
    pat.sql(plan, plan="asked", asked=True)
    hour, days = timedelta(hours=1), timedelta(days=2)
    pat.sql(change, plan="quick", more=0, direction="to_crm", state="applied", age=hour)
    assert "1 min 35 s <small>at most for 95 of 100, 50.0 s for half; 100 changes of 24 h" in pat.text(PAGE)
    # None of these is one of them.
    pat.sql(change, plan="quick", more=100, direction="to_enerflo", state="applied", age=hour)
    pat.sql(change, plan="quick", more=200, direction="to_crm", state="moved", age=hour)
    pat.sql(change, plan="quick", more=300, direction="to_crm", state="applied", age=days)
    pat.sql(change, plan="asked", more=0, direction="to_crm", state="applied", age=hour)
    assert "50.0 s for half; 100 changes of 24 h" in pat.text(PAGE)
