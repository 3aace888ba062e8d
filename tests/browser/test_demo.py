"""The demo from beginning to end: a real Airflow, green runs, and the report as a person sees it.

``ENERFLO_REGENERATE_PICTURES=1`` writes the README's picture again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from enerflo_demo.both_ways import APPROVE, ASK, SYNC, plan_page
from enerflo_demo.failed_run import log_place
from enerflo_demo.orders import CHANGE_ORDERS, ORDERS_PAGE
from enerflo_demo.processes import free_port
from enerflo_demo.story import (
    CHANGES,
    FRAME,
    POLL,
    RECONCILE,
    RHYTHM_SECONDS,
    WEBHOOKS,
    Demo,
    report_page,
)
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.store import load_report
from tests.browser.backfill_runs import BACKFILL, Window, answer, full_months, new_run, run_ids, stored
from tests.browser.demo_canary import canaries, left_behind
from tests.browser.trigger_dialog import (
    choose_backfill,
    fill_dates,
    fill_form,
    open_dialog,
    run_backfill,
    trigger,
)

CHROMIUM = shutil.which("chromium")
PICTURE = Path(__file__).parent.parent.parent / "docs" / "images" / "report.png"
REQUIRED = bool(os.environ.get("ENERFLO_REQUIRE_BROWSER"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.airflow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        CHROMIUM is None and not REQUIRED,
        reason="THE DEMO AND ITS PAGES ARE NOT TESTED: there is no chromium on this machine (apt-get install chromium)",
    ),
]


@dataclass(frozen=True)
class Told:
    demo: Demo
    reconciliation_id: str

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.demo.port}"


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with ExitStack() as stack:
        # Where root runs the tests, PostgreSQL runs as somebody else, who has to get through.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enerflo-demo-")))
        home.chmod(0o755)
        demo = Demo(stack, port=free_port(), installs=400, seed=7, home=home)
        yield Told(demo, demo.tell())


@pytest.fixture(scope="module")
def page(told: Told) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1440, "height": 1100},
            device_scale_factor=1,
            # Where Enerflo's customers are: days of the UI begin there when UTC's are hours old.
            timezone_id="America/Los_Angeles",
        )
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def test_every_run_is_green(told: Told) -> None:
    for dag_id, at_least in ((POLL, 2), (RECONCILE, 2), (WEBHOOKS, 1), (CHANGE_ORDERS, 2)):
        ended = [run for run in told.demo.api.runs(dag_id) if run["state"] not in ("queued", "running")]
        assert len(ended) >= at_least
        assert {run["state"] for run in ended} == {"success"}


def test_runs_that_changes_start_are_not_nearer_to_each_other_than_they_may(told: Told) -> None:
    by_changes = [
        [datetime.fromisoformat(run[name]) for name in ("start_date", "end_date")]
        for run in told.demo.api.runs(RECONCILE)
        if run["run_type"] == "asset_triggered" and run["end_date"]
    ]
    assert len(by_changes) >= 2
    least = timedelta(seconds=RHYTHM_SECONDS)
    assert min(end - start for start, end in by_changes) >= least
    starts = sorted(start for start, _ in by_changes)
    assert min(later - earlier for earlier, later in pairwise(starts)) >= least


def test_the_notes_of_the_runs_say_what_happened(told: Told) -> None:
    notes = [run["note"] or "" for run in told.demo.api.runs(POLL)]
    assert any("read" in note and "quarantined" in note for note in notes), notes


def test_the_report_finds_what_was_planted(told: Told) -> None:
    planted = Counter(
        (one.table_name, json.dumps(one.key, sort_keys=True), one.field, str(one.cause))
        for one in told.demo.made.planted
    )
    query = "select table_name, key, field, cause from sync.differences where reconciliation_id = :id"
    with told.demo.engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"id": told.reconciliation_id})
        found = Counter((t, json.dumps(key, sort_keys=True), field, cause) for t, key, field, cause in rows)
    assert found - planted == Counter(), "reported and not planted"
    assert planted - found == Counter(), "planted and not reported"


def webhooks_taken_in(told: Told) -> None:
    """Return when no webhook waits: what was written to Enerflo is told as well, and comes a little later."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with told.demo.engine.connect() as connection:
            waiting = connection.scalar(
                sa.text("select count(*) from sync.webhook_events where state = 'received'")
            )
        if not waiting and not any(path.is_file() for path in told.demo.drop.rglob("*.*")):
            return
        time.sleep(1)
    pytest.fail("webhooks are left in the drop, or received and not applied")


def test_webhooks_woke_the_dag_and_moved_mirror_and_report(told: Told) -> None:
    webhooks_taken_in(told)
    notes = [run["note"] or "" for run in told.demo.api.runs(WEBHOOKS)]
    assert any("applied" in note for note in notes), notes
    with told.demo.engine.connect() as connection:
        states = dict(
            connection.execute(sa.text("select state, count(*) from sync.webhook_events group by 1")).all()
        )
        moved = connection.scalar(
            sa.text("select count(*) from enerflo.installs where observed_by = 'webhook'")
        )
        waited = connection.scalar(
            sa.text("select max(applied_at - received_at) < interval '60 seconds' from sync.webhook_events")
        )
    assert states["applied"] >= CHANGES / 2
    assert moved
    assert waited
    assert [path for path in (told.demo.drop.parent / "archive").rglob("*.*") if path.is_file()]
    after = load_report(told.demo.engine, "default", told.demo.report_after_webhooks)
    assert after.witnesses is not None
    before = load_report(told.demo.engine, "default", told.reconciliation_id)
    assert after.differences > before.differences


def test_the_report_is_shown_inside_the_airflow_ui(told: Told, page: Page) -> None:
    report = load_report(told.demo.engine, "default", told.reconciliation_id)
    page.goto(told.origin + FRAME + report_page(told.reconciliation_id))
    frame = page.frame_locator("iframe").first
    frame.get_by_role("heading", level=1).wait_for()
    text = frame.locator("body").inner_text()
    assert f"{report.unexplained} of {report.differences} differences" in text
    for table in report.tables:
        assert table.crm_table in text
    page.wait_for_timeout(500)
    picture = page.screenshot()
    assert len(picture) > 50_000
    if os.environ.get("ENERFLO_REGENERATE_PICTURES"):
        PICTURE.write_bytes(picture)


def test_a_task_leads_to_its_report(told: Told, page: Page) -> None:
    # A run that still compares has no report, and no link yet.
    run = next(run for run in told.demo.api.runs(RECONCILE) if run["state"] == "success")
    task = f"{told.origin}/dags/{RECONCILE}/runs/{run['dag_run_id']}/tasks/compare_with_crm/details"
    for _ in range(6):
        # While Airflow still draws its page a click may be lost, and a busy server leaves a page half drawn.
        page.goto(task)
        with suppress(PlaywrightTimeout):
            page.get_by_role("link", name="Reconciliation report").first.click()
            page.wait_for_url(f"**{FRAME}/**", timeout=20_000)
            break
    page.frame_locator("iframe").first.get_by_role("heading", level=1).wait_for()


def test_every_download_comes_down_inside_the_airflow_ui(told: Told, page: Page, tmp_path: Path) -> None:
    page.goto(told.origin + FRAME + report_page(told.reconciliation_id))
    frame = page.frame_locator("iframe").first
    for form in ("CSV", "JSON", "PARQUET"):
        with page.expect_download() as waiting:
            frame.get_by_role("link", name=f"Download {form}").click()
        target = tmp_path / form
        waiting.value.save_as(target)
        assert target.stat().st_size > 500


def test_the_list_of_reports_is_in_the_menu(told: Told, page: Page) -> None:
    page.goto(f"{told.origin}{FRAME}")
    frame = page.frame_locator("iframe").first
    frame.get_by_role("link", name="Reports", exact=True).click()
    frame.get_by_role("link", name=re.compile("runs? of")).first.click()
    frame.locator(f"a[href*='{told.reconciliation_id}']").first.wait_for()


# Seconds between two polls (sync.yaml, schedule), and those that a question takes at most.
POLLED_EACH = 15 * 60
ASKED_FOR = 90


def quiet(told: Told) -> None:
    """Return when nothing is under way that could plan the change by itself, under the settings of before.

    A poll begins at each quarter of an hour, and a plan after it takes the place of one that waits. Where each
    plan asks (``always``), that of a poll waits for a person, too, for a day: it is approved here.
    """
    to_poll = POLLED_EACH - time.time() % POLLED_EACH
    if to_poll < ASKED_FOR:
        time.sleep(to_poll + 10)
    # A slow machine needs minutes for one round of the DAGs.
    deadline = time.monotonic() + 480
    while time.monotonic() < deadline:
        runs = [
            run
            for dag_id in (POLL, RECONCILE, CHANGE_ORDERS, SYNC, APPROVE)
            for run in told.demo.api.runs(dag_id)
        ]
        restless = [run["dag_run_id"] for run in runs if run["state"] not in ("success", "failed")]
        if not restless:
            return
        for run_id in restless:
            if (
                run_id.startswith("ask_")
                and told.demo.api.task_state(APPROVE, run_id, ASK) == "awaiting_input"
            ):
                told.demo.way_back.answer(run_id, "Approve")
        time.sleep(1)
    pytest.fail(f"the DAGs do not come to rest: {restless}")


def ask(told: Told, panel_count: int) -> tuple[str, int]:
    """Let a plan of one change wait for a person, and return its run and the install that it is about."""
    quiet(told)
    with told.demo.engine.begin() as warehouse:
        install_id: int = warehouse.execute(
            sa.text(
                "update crm.installs c set panel_count = :n, updated_at = now() from enerflo.installs e"
                " where e.account = 'default' and e.install_id = c.enerflo_install_id and e.install_id = ("
                "  select max(i.install_id) from enerflo.installs i join crm.installs t"
                "  on t.enerflo_install_id = i.install_id and t.panel_count = i.panel_count"
                "  where i.deleted_at is null and i.status_name = 'In progress') returning e.install_id"
            ),
            {"n": panel_count},
        ).scalar_one()
    return told.demo.way_back.ask(), install_id


def panels(told: Told, install_id: int) -> int | None:
    with told.demo.engine.connect() as warehouse:
        query = sa.text("select panel_count from crm.installs where enerflo_install_id = :i")
        return warehouse.scalar(query, {"i": install_id})


def state_of(told: Told, run_id: str) -> tuple[str, str | None]:
    plan = told.demo.way_back.planned(run_id)
    with told.demo.engine.connect() as warehouse:
        query = sa.text("select state, decided_by from sync.plans where plan_hash = :h")
        row = warehouse.execute(query, {"h": plan["plan_hash"]}).one()
    return row.state, row.decided_by


def click(told: Told, page: Page, run_id: str, option: str) -> None:
    page.goto(f"{told.origin}/dags/{APPROVE}/runs/{run_id}/tasks/{ASK}/required_actions")
    plan_hash = told.demo.way_back.planned(run_id)["plan_hash"]
    page.get_by_text(plan_hash[:12]).first.wait_for()
    page.get_by_role("button", name=option).first.click()


def test_the_demo_went_both_ways(told: Told) -> None:
    demo = told.demo
    assert demo.second_plan["changes"] == 0
    with demo.engine.connect() as warehouse:
        status = warehouse.scalar(
            sa.text("select status_name from enerflo.installs where install_id = :i"),
            {"i": demo.install_on_hold},
        )
        note = warehouse.scalar(
            sa.text("select enerflo_note_id from crm.notes where note_id = 'demo-note-1'")
        )
        left = dict(
            warehouse.execute(sa.text("select state, count(*) from sync.plan_changes group by 1")).all()
        )
        decided = set(warehouse.scalars(sa.text("select distinct decided_by from sync.ledger")))
        # What Enerflo changed meanwhile, and told by no webhook, a poll may have brought in since.
        written_twice = warehouse.execute(
            sa.text(
                "select table_name, key, field, direction, one.op, two.op, two.plan_hash, two.rule, two.done_at"
                " from sync.plan_changes one"
                " join sync.plan_changes two using (account, table_name, key, field, direction)"
                " where one.plan_hash = :first and two.plan_hash <> :first"
                " and one.state = 'applied' and two.state = 'applied'"
                " and one.after is not distinct from two.after"
            ),
            {"first": demo.plan_hash},
        ).all()
    assert written_twice == []
    assert status == "On Hold"
    assert note is not None
    assert left.keys() & {"sent"} == set()
    assert None not in decided


def test_exactly_the_bad_change_orders_are_held_and_kept_out_of_the_crm(told: Told) -> None:
    planted = told.demo.orders.planted
    with told.demo.engine.connect() as warehouse:
        failing = warehouse.execute(
            sa.text(
                "select f.change_order_id, f.failing, q.state is not null as held,"
                "  c.enerflo_change_order_id is not null as in_crm"
                " from sync.change_order_facts f"
                " left join sync.quarantine q on q.item_id = f.item_id and q.state = 'open'"
                " left join crm.change_orders c on c.enerflo_change_order_id = f.change_order_id"
            )
        ).all()
    found = {row.change_order_id: frozenset(row.failing) for row in failing if row.failing}
    assert found == {order_id: order.fails for order_id, order in planted.items() if order.fails}
    held = {row.change_order_id for row in failing if row.held}
    assert len(held) > 20
    # What happens to a voided install is no news for the CRM, and neither is what is ordered for it.
    voided = {i for i, order in planted.items() if order.name == "an install that was voided afterwards"}
    assert {row.change_order_id for row in failing if not row.in_crm} == held | voided


def test_the_page_of_the_change_orders_says_how_many_are_held(told: Told, page: Page) -> None:
    with told.demo.engine.connect() as warehouse:
        held = warehouse.scalar(
            sa.text("select count(*) from sync.quarantine where kind = 'change_order' and state = 'open'")
        )
    page.goto(told.origin + FRAME + ORDERS_PAGE)
    frame = page.frame_locator("iframe").first
    frame.get_by_role("heading", level=1).wait_for()
    text = frame.locator("body").inner_text()
    assert f"{held} of " in text
    assert "held back from the CRM" in text
    page.screenshot(path=os.environ.get("ENERFLO_ORDERS_PICTURE") or None, full_page=True)


def test_a_plan_is_shown_inside_the_airflow_ui(told: Told, page: Page) -> None:
    page.goto(told.origin + FRAME + plan_page(told.demo.plan_hash))
    frame = page.frame_locator("iframe").first
    frame.get_by_role("heading", level=1).wait_for()
    text = frame.locator("body").inner_text()
    assert "What became of it" in text
    assert told.demo.plan_hash in text
    page.screenshot(path=os.environ.get("ENERFLO_PLAN_PICTURE") or None)


@pytest.fixture(scope="module")
def months(told: Told) -> list[Window]:
    return full_months(told.demo)


def test_a_backfill_by_the_form_asks_reads_its_window_and_says_how_far_off_it_was(
    told: Told, page: Page, months: list[Window]
) -> None:
    window, known = months[0], run_ids(told.demo)
    dialog = open_dialog(page, told.origin, BACKFILL)
    fields = {"start": f"{window.first}", "end": f"{window.last}", "limit": "0"}
    fill_form(dialog, "Installs created in a window", fields)
    page.screenshot(path=os.environ.get("ENERFLO_FORM_PICTURE") or None)
    trigger(dialog)
    run = new_run(told.demo, known)
    assert run["conf"].items() >= {**fields, "choice": "window", "limit": 0}.items()
    backfill_id = answer(told.demo, page, told.origin, run["dag_run_id"], "Approve")
    assert stored(told.demo, backfill_id) == ("finished", window)
    assert "estimated and real" in told.demo.api.wait_for_run(BACKFILL, run["dag_run_id"])["note"]


def test_a_backfill_that_is_rejected_reads_nothing(told: Told, page: Page, months: list[Window]) -> None:
    window = months[1]
    conf = {"choice": "window", "start": f"{window.first}", "end": f"{window.last}", "limit": 0}
    run_id = told.demo.api.trigger(BACKFILL, conf)
    backfill_id = answer(told.demo, page, told.origin, run_id, "Reject")
    assert stored(told.demo, backfill_id) == ("estimated", replace(window, installs=0))
    for task_id in ("parts_of_installs", "read_installs", "finish"):
        assert told.demo.api.task_state(BACKFILL, run_id, task_id) == "skipped"


def test_airflows_own_backfill_is_offered_and_reads_the_month_that_was_chosen(
    told: Told, page: Page, months: list[Window]
) -> None:
    month, known = months[2], run_ids(told.demo)
    dialog = open_dialog(page, told.origin, BACKFILL)
    choose_backfill(dialog)
    fill_dates(dialog, month.first, month.last)
    dialog.get_by_text("1 run will be triggered.").wait_for()
    page.screenshot(path=os.environ.get("ENERFLO_BACKFILL_PICTURE") or None)
    run_backfill(dialog)
    run = told.demo.api.wait_for_run(BACKFILL, new_run(told.demo, known)["dag_run_id"])
    assert run["run_type"] == "backfill"
    backfill_id = told.demo.api.xcom(BACKFILL, run["dag_run_id"], "finish")["backfill_id"]
    assert stored(told.demo, backfill_id) == ("finished", month)
    assert "estimated and real" in run["note"]


def test_a_click_on_approve_writes_the_plan(told: Told, page: Page) -> None:
    told.demo.way_back.configure(("percent: 10", "percent: 10\n  always: true"))
    run_id, install_id = ask(told, 91)
    told.demo.way_back.answer(run_id, "Approve", lambda: click(told, page, run_id, "Approve"))
    assert panels(told, install_id) != 91
    state, who = state_of(told, run_id)
    assert (state, bool(who)) == ("applied", True)
    with told.demo.engine.connect() as warehouse:
        plan = told.demo.way_back.planned(run_id)
        query = sa.text("select distinct decided_by from sync.ledger where plan_hash = :h")
        assert set(warehouse.scalars(query, {"h": plan["plan_hash"]})) == {who}


def test_a_click_on_reject_writes_nothing(told: Told, page: Page) -> None:
    run_id, install_id = ask(told, 92)
    told.demo.way_back.answer(run_id, "Reject", lambda: click(told, page, run_id, "Reject"))
    assert panels(told, install_id) == 92
    state, who = state_of(told, run_id)
    assert (state, bool(who)) == ("rejected", True)
    assert told.demo.api.task_state(APPROVE, run_id, "apply_plan") == "skipped"


def test_no_answer_in_time_is_a_no(told: Told) -> None:
    told.demo.way_back.configure(("expires_hours: 24", "expires_hours: 0.004"))
    told.demo.api.wait_for_parse(APPROVE)
    run_id, install_id = ask(told, 93)
    told.demo.api.wait_for_run(APPROVE, run_id)
    assert panels(told, install_id) == 93
    assert state_of(told, run_id) == ("rejected", None)


def test_a_failed_run_says_which_task_failed_and_how_its_log_ends(told: Told) -> None:
    api = told.demo.api
    run_id = api.trigger(APPROVE, {"plan_hash": "00000000"})
    with pytest.raises(ConfigurationError) as failed:
        api.wait_for_run(APPROVE, run_id)
    text = str(failed.value)
    assert "The task find_plan failed in try 1 of 4. Its log ends with:" in text
    assert "ConfigurationError: plan 00000000: there is no such plan." in text
    (log,) = (told.demo.home / "airflow" / log_place(APPROVE, run_id)).rglob("*.log")
    assert log.parent.name == "task_id=find_plan"


def test_nothing_of_people_or_secrets_is_left_outside_the_warehouse(told: Told) -> None:
    """Of all that the tests above did: logs, XComs, notes, rendered fields, approvals, the demo's own files."""
    secret = canaries(told.demo)
    assert len(secret) > 500
    found = left_behind(told.demo)
    assert {"airflow.xcom", "airflow.rendered_task_instance_fields", "airflow.hitl_detail"} <= {
        name for name, lines in found.items() if lines
    }
    assert any(name.startswith("airflow/logs/") for name in found)
    # A name is told, and no value: the failure itself would stand in a log.
    spoken = {name for name, lines in found.items() if any(one in line for line in lines for one in secret)}
    assert spoken == set()
