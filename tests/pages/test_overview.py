"""The page of one account at a glance, and what can be started from it."""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from enerflo_sync.reconcile.render.cause_texts import CAUSE_ORDER
from tests.pages.conftest import Visitor
from tests.pages.known_dags import ran, runs_of, switch

pytestmark = pytest.mark.airflow
PAGE = "overview/default"


@pytest.fixture
def dags() -> None:
    """The DAGs that the page starts, switched on."""
    for job in ("reconcile", "backfill"):
        switch(job, on=True)


def words_of(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text.partition("</head>")[2])).split())


def worst_of(row: sa.RowMapping) -> str:
    return next(str(cause) for cause in CAUSE_ORDER if row["summary"]["causes"].get(cause))


def newest(pat: Visitor) -> sa.RowMapping:
    return pat.sql("select * from sync.reconciliations order by compared_until desc limit 1")[0]


def test_it_opens_with_the_reports_verdict_and_its_worst_cause(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    row = newest(pat)
    text = pat.text(PAGE)
    assert f"<h1>{row['summary']['headline']}</h1>" in text
    assert row["summary"]["headline"] in pat.text(f"reports/default/{row['reconciliation_id']}")
    worst = worst_of(row)
    assert f'href="/enerflo/differences/default?cause={worst}"' in text
    assert f">{row['summary']['causes'][worst]:,} difference" in text


def test_the_three_oldest_records_of_the_worst_cause_stand_there_with_their_pages(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    row = newest(pat)
    worst = worst_of(row)
    pat.sql(
        "update sync.differences set since = now() - (difference_id % 50) * interval '1 day'"
        " where reconciliation_id = :id and cause = :cause",
        id=row["reconciliation_id"],
        cause=worst,
    )
    oldest = pat.sql(
        "select * from sync.differences where reconciliation_id = :id and cause = :cause order by since limit 3",
        id=row["reconciliation_id"],
        cause=worst,
    )
    text = pat.text(PAGE).partition('id="worst"')[2].partition("</table>")[0]
    assert text.count('data-label="Enerflo says"') == len(oldest)
    ages = [re.sub(r"\D", "", age) for age in re.findall(r">(\d+) d</time>", text)]
    expected = [(datetime.now(UTC) - one["since"]).days for one in oldest]
    assert [int(age) for age in ages] == [days for days in expected if days >= 2]
    assert 'href="/enerflo/record/default/' in text


def test_what_waits_is_what_the_inbox_lists(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    text = pat.text(PAGE)
    links = re.findall(r'href="/enerflo/(inbox/default\?kind=\w+)"><span class="num">([\d,]+)</span>', text)
    assert len(links) > 2
    counts = [int(count.replace(",", "")) for _, count in links]
    assert f'>Inbox <span class="pill">{sum(counts)}</span>' in text
    for (address, _), count in zip(links, counts, strict=True):
        inbox = pat.text(address)
        assert inbox.count('class="entry"') == min(count, 50)


def test_the_strip_tells_how_fresh_the_account_is_and_what_runs_next(
    visitor: Callable[..., Visitor], dags: None
) -> None:
    pat = visitor("VIEWER")
    switch("poll", on=True)
    words = words_of(pat.text(PAGE))
    assert re.search(r"Enerflo read (just now|\d+ min ago)", words)
    assert re.search(r"Last webhook (just now|\d+ min ago)", words)
    assert re.search(r"Requests in the last minute [\d,]+ of 10,000", words)
    assert re.search(r"Next poll (due now|in a minute|in \d+ min)", words)
    switch("reconcile", on=False)
    assert "Next daily reconciliation switched off in Airflow" in words_of(pat.text(PAGE))


def test_a_verdict_that_got_old_is_no_good_news(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    pat.sql(
        "update sync.reconciliations set started_at = started_at - interval '3 days',"
        " finished_at = finished_at - interval '3 days', compared_until = compared_until - interval '3 days',"
        """ summary = summary || '{"tone": "good", "headline": "Both sides agree"}'"""
    )
    text = pat.text(PAGE)
    assert "A reconciliation was due at" in text
    assert 'class="banner unsure"' in text
    assert 'class="banner good"' not in text


def test_new_and_settled_add_up_with_the_days_before(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    row = newest(pat)
    pat.sql(
        "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope, config_hash,"
        " compared_until, differences, unexplained, report, summary) select account, 'yesterday',"
        " started_at - interval '1 day', finished_at - interval '1 day', scope, config_hash,"
        " compared_until - interval '1 day', differences + 4, unexplained, report,"
        " summary || jsonb_build_object('differences', differences + 4) from sync.reconciliations"
        " where reconciliation_id = :id",
        id=row["reconciliation_id"],
    )
    pat.sql("update sync.differences set since = now() - interval '2 days'")
    pat.sql(
        "update sync.differences set since = now() where difference_id in (select difference_id from"
        " sync.differences where reconciliation_id = :id order by difference_id limit 3)",
        id=row["reconciliation_id"],
    )
    assert "3 new and 7 resolved since" in words_of(pat.text(PAGE))


def test_an_account_that_was_never_compared_says_how_to_start(visitor: Callable[..., Visitor]) -> None:
    pat = visitor()
    pat.sql("delete from sync.differences")
    pat.sql("delete from sync.reconciliations")
    text = pat.text(PAGE)
    assert "Nothing was compared yet" in text
    assert "Reconcile now" in text
    assert "run the DAG enerflo_poll first" not in text
    pat.sql("delete from sync.watermarks")
    assert (
        "Enerflo was not read whole yet: run the DAG enerflo_poll first, then enerflo_reconcile."
        in pat.text(PAGE)
    )


def test_reconcile_now_starts_one_run_in_the_users_name_however_often_it_is_sent(
    visitor: Callable[..., Visitor], dags: None
) -> None:
    pat = visitor("USER", "kim")
    answer = pat.post("overview/default/reconcile", PAGE)
    assert answer.status_code == 303
    again = pat.post("overview/default/reconcile", PAGE)
    (run,) = runs_of("reconcile")
    assert run.triggering_user_name == "kim"
    address = (
        f"/enerflo/run?dag_id=enerflo_reconcile&run_id={run.run_id.replace(':', '%3A').replace('+', '%2B')}"
    )
    assert answer.headers["location"].startswith(address)
    assert again.headers["location"].startswith(address)
    text = pat.text(again.headers["location"].removeprefix("/enerflo/"))
    assert "A reconciliation is under way already" in text
    assert "waits to be started" in text
    assert '<meta http-equiv="refresh" content="5">' in text


def test_who_may_only_read_sees_no_button_and_starts_nothing(
    visitor: Callable[..., Visitor], dags: None
) -> None:
    token = visitor("USER").token(PAGE)
    pat = visitor("VIEWER")
    assert '<form method="post"' not in pat.text(PAGE)
    for path in ("reconcile", "backfill", "backfill/some-id"):
        answer = pat.client.post(f"/enerflo/{PAGE}/{path}", data={"token": token, "start": "2026-01-01"})
        assert answer.status_code == 403
    forged = visitor("USER").client.post(f"/enerflo/{PAGE}/reconcile", data={"token": f"9{token}"})
    assert forged.status_code == 403
    assert runs_of("reconcile") == runs_of("backfill") == []


def test_a_backfill_is_estimated_first_and_a_second_time_leads_to_the_same_run(
    visitor: Callable[..., Visitor], dags: None
) -> None:
    pat = visitor("USER", "kim")
    fields = {"start": "2026-01-01", "end": "2026-01-31"}
    for _ in range(2):
        assert pat.post(f"{PAGE}/backfill", f"{PAGE}/backfill", **fields).status_code == 303
    (run,) = runs_of("backfill")
    assert run.conf == {"choice": "window", **fields, "estimate_only": True}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "neither a beginning nor an end"),
        ({"start": "soon"}, "from is no date"),
        ({"start": "2026-02-01", "end": "2026-01-01"}, "ends before it begins"),
        ({"start": (datetime.now(UTC) + timedelta(days=3)).date().isoformat()}, "begins in the future"),
        ({"start": "x" * 10_000}, "from is no date"),
    ],
)
def test_a_window_that_nobody_can_read_is_said_before_anything_starts(
    visitor: Callable[..., Visitor], dags: None, fields: dict[str, str], said: str
) -> None:
    answer = visitor("USER").post(f"{PAGE}/backfill", f"{PAGE}/backfill", **fields)
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert runs_of("backfill") == []


def test_the_page_takes_few_questions_and_holds_nothing_personal(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    from sqlalchemy import event

    asked: list[str] = []
    hear = lambda *args: asked.append(args[2])  # noqa: E731
    event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        pat.text(PAGE)
        asked.clear()
        text = pat.text(PAGE)
    finally:
        event.remove(sa.Engine, "before_cursor_execute", hear)
    ours = [one for one in asked if "sync." in one or "enerflo." in one]
    assert len(ours) <= 12, ours
    assert len(text.encode()) < 60_000
    people = pat.sql("select first_name, last_name, email from enerflo.customers limit 200")
    shown = words_of(text).casefold()
    for person in people:
        assert not person["email"] or person["email"].casefold() not in shown


@pytest.mark.parametrize("account", ["nowhere", "%22%3E%3Cscript%3Ealert(1)", "a%2Fb", "%25", "x" * 10_000])
@pytest.mark.parametrize("path", ["overview/{}", "overview/{}/backfill", "reports/{}"])
def test_an_account_that_is_not_there_is_said_so(
    visitor: Callable[..., Visitor], path: str, account: str
) -> None:
    answer = visitor("VIEWER").get(path.format(account))
    assert answer.status_code == 404
    assert "Not found" in answer.text or "no account" in answer.text
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "path", [PAGE, f"{PAGE}/backfill", "reports/default", "run?dag_id=enerflo_poll&run_id=x"]
)
def test_a_warehouse_that_is_down_is_said_with_a_way_back(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    pat = visitor("VIEWER")
    with closing(socket.socket()) as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        port = nobody_listens.getsockname()[1]
        address = f"postgresql://pat:secret-word@127.0.0.1:{port}/warehouse"
        monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", address)
        answer = pat.get(path)
    assert answer.status_code == (404 if path.startswith("run") else 503)
    assert "The warehouse cannot be read now" in answer.text or "No such run" in answer.text
    assert 'href="/enerflo/accounts"' in answer.text
    assert "secret-word" not in answer.text


@pytest.mark.usefixtures("dags")
def test_a_job_whose_newest_run_failed_is_told_until_one_ends_well(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    pat.sql("alter table crm.installs rename to installs_elsewhere")
    page = ran("reconcile")
    text = words_of(pat.text(PAGE))
    assert "Next: The last run of Reconciliation failed. See why" in text
    assert f'href="/enerflo/{html.escape(page)}"' in pat.text(PAGE)
    pat.sql("alter table crm.installs_elsewhere rename to installs")
    ran("reconcile")
    assert "failed" not in words_of(pat.text(PAGE))
