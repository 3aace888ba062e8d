"""Each event is told once, grouped, masked, and again only when it got worse or came back."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.routes import EVENTS, NotifyEvent
from enerflo_sync.notify.store import MOST_ATTEMPTS
from tests.notify.conftest import People


def event(
    people: People, event_id: str, name: str, deal: str = "d1", install: int = 1, **columns: Any
) -> None:
    values = {"state": "applied", "received": people.now, **columns}
    people.sql(
        "insert into sync.webhook_events (account, event_id, event, install_id, deal_id, content_hash,"
        " received_at, source_uri, state, body) values ('default', :id, :event, :install, :deal, :id,"
        " :received, 'drop/1', :state, '{}')",
        id=event_id,
        event=name,
        deal=deal,
        install=install,
        **values,
    )


def design(people: People, content: str, deal: str = "d1", install: int = 1, panels: int = 20) -> None:
    people.sql(
        "insert into enerflo.submissions (account, deal_id, content_hash, event, install_id, panel_count,"
        " street, first_seen_at, observed_by, evidence) values ('default', :deal, :hash, 'x', :install,"
        " :panels, '12 Main St', :now, 'webhook', 'drop/1')",
        deal=deal,
        hash=content,
        install=install,
        panels=panels,
        now=people.now,
    )


def reconciliation(people: People, **unexplained: int) -> None:
    name = f"r{people.now.timestamp()}"
    people.sql(
        "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope,"
        " config_hash, compared_until, unexplained) values ('default', :id, :now, :now, 'full', 'c', :now, :n)",
        id=name,
        now=people.now,
        n=sum(unexplained.values()),
    )
    for column, count in unexplained.items():
        people.sql(
            "insert into sync.differences (account, reconciliation_id, table_name, key, field, cause)"
            " select 'default', :id, 'installs', jsonb_build_object('enerflo_install_id', g), :field,"
            " 'unexplained' from generate_series(1, :n) g",
            id=name,
            field=column,
            n=count,
        )


def quarantined(people: People, count: int, reason: str = "not_json", state: str = "open") -> None:
    people.sql(
        "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
        " last_seen_at, count, state) select 'default', :reason || g || clock_timestamp(), 'event', :reason,"
        " 'event|' || :reason, :now, :now, 1, :state from generate_series(1, :n) g",
        reason=reason,
        n=count,
        now=people.now,
        state=state,
    )


def plan(people: People, name: str, *, state: str = "open", mode: str = "both", needs: bool = True) -> None:
    people.sql(
        "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
        " needs_approval, mode, config_hash) values ('default', :hash, 'sync', :now,"
        " :now + interval '24 hours', :state, 7, :needs, :mode, 'c')",
        hash=name,
        now=people.now,
        state=state,
        needs=needs,
        mode=mode,
    )


def subjects(people: People) -> list[str]:
    return [message.subject for message in people.tell()]


def test_a_project_is_told_when_it_is_submitted_and_when_it_is_received_each_once(people: People) -> None:
    people.orders.install(1, customer_name="Ada Lovelace", office_name="North")
    design(people, "v1")
    event(people, "e1", "deal.projectSubmitted")
    event(people, "e2", "deal.projectReceived")
    found = people.tell()
    assert [message.subject for message in found] == [
        "Enerflo default: 1 project was received",
        "Enerflo default: 1 project was submitted",
    ]
    assert "- install 1, customer A… L…, office North, panels 20, street [10 characters]" in found[0].text
    assert people.tell() == []


def test_a_project_signed_again_after_a_void_is_told_once_for_both_of_its_events(people: People) -> None:
    people.orders.install(1)
    design(people, "v1", panels=20)
    event(people, "e1", "deal.projectSubmitted")
    people.tell()
    design(people, "v2", panels=31)
    event(people, "e2", "deal.projectSubmitted")
    event(people, "e3", "deal.projectReceived")
    (message,) = people.tell()
    assert message.subject == "Enerflo default: 1 project was signed again after a void"
    assert "panels 31, panels before 20" in message.text
    assert people.tell() == []


def test_what_is_not_applied_yet_is_told_when_it_is(people: People) -> None:
    event(people, "e1", "deal.projectSubmitted", state="received")
    assert people.tell() == []
    people.sql("update sync.webhook_events set state = 'applied'")
    assert len(people.tell()) == 1


def test_what_happened_before_anybody_was_told_anything_is_no_news(
    warehouse: sa.Engine, tmp_path: Any
) -> None:
    people = People(warehouse, tmp_path)
    event(people, "e1", "deal.projectSubmitted")
    people.orders.order(1)
    people.orders.install(1)
    people.orders.checked()
    assert people.tell() == []
    assert people.tell() == []


def test_projects_of_one_look_are_one_message_with_some_of_them(people: People) -> None:
    for number in range(30):
        event(people, f"e{number}", "deal.projectSubmitted", deal=f"d{number}", install=number)
    (message,) = people.tell()
    assert message.subject == "Enerflo default: 30 projects were submitted"
    assert message.text.count("\n- install") == 10
    assert message.text.endswith("\n- and 20 more")
    assert message.count == 30


def test_a_signed_change_order_is_told_and_one_of_long_ago_or_of_a_backfill_is_not(people: People) -> None:
    people.orders.install(1)
    people.orders.install(2)
    people.orders.install(3)
    people.orders.order(1, signed_at=people.now - timedelta(hours=1))
    people.orders.order(2, install_id=2, signed_at=people.now - timedelta(days=60))
    people.orders.order(3, install_id=3, signed_at=people.now - timedelta(hours=1))
    people.sql("update enerflo.change_orders set observed_by = 'backfill' where change_order_id = 3")
    people.orders.checked()
    (message,) = people.tell()
    assert message.subject == "Enerflo default: 1 change order was signed"
    assert "- change order 1, install 1, panels 26" in message.text
    people.routes("{historical: true, routes: {all: {http: {connection: chat}}}}")
    (message,) = people.tell()
    assert "- change order 3, install 3" in message.text


def test_held_orders_are_told_by_cause_and_only_new_ones_again(people: People) -> None:
    people.orders.install(1)
    people.orders.install(2)
    old = people.now - timedelta(days=20)
    people.orders.order(1, panel_count_new=900, signed_at=old)
    people.orders.order(2, install_id=2, status="odd", signed_at=old)
    people.orders.checked()
    (message,) = people.tell()
    assert message.subject == "Enerflo default: 2 change orders are held"
    assert (
        "The new panel count cannot be right. (panel_count_range): 1\n- change order 1, install 1"
        in message.text
    )
    assert "(status_known): 1\n- change order 2, install 2, found odd" in message.text
    assert people.tell() == []
    people.orders.install(3)
    people.orders.order(3, install_id=3, panel_count_new=901, signed_at=old)
    people.orders.checked()
    assert subjects(people) == ["Enerflo default: 1 change order is held (3 in all)"]


def test_an_order_that_was_corrected_and_fails_again_is_told_again(people: People) -> None:
    people.orders.install(1)
    old = people.now - timedelta(days=20)
    for panels, told in ((900, 1), (26, 0), (901, 1)):
        people.orders.order(1, panel_count_new=panels, signed_at=old)
        people.orders.checked()
        assert len(people.tell()) == told


def finding(people: People, install: int, check: str = "step_overdue") -> None:
    people.sql(
        "insert into sync.life_cycle_findings (account, install_id, step, milestone_id, check_id, severity,"
        " expected, found, reason, since, checked_at, run_id) values ('default', :install, 'permit', 1, :check,"
        " 'warn', '\"14 days\"', '\"20 days\"', 'It takes too long.', :now, :now, 'r')",
        install=install,
        check=check,
        now=people.now,
    )


def test_findings_of_the_life_cycle_are_told_by_cause_and_each_once(people: People) -> None:
    for install in (1, 2):
        finding(people, install)
    finding(people, 1, "step_skipped")
    (message,) = people.tell()
    assert message.subject == "Enerflo default: 3 steps of installs are overdue or out of order"
    assert "It takes too long. (step_overdue): 2\n- install 1, step permit, found 20 days" in message.text
    finding(people, 3)
    people.sql("update sync.life_cycle_findings set resolved_at = now() where install_id = 1")
    assert subjects(people) == ["Enerflo default: 1 step of an install is overdue or out of order (2 in all)"]
    assert people.tell() == []


def test_unexplained_differences_are_told_over_the_budget_and_again_when_they_doubled(people: People) -> None:
    reconciliation(people, panel_count=3, status=1)
    (message,) = people.tell()
    assert message.subject == "Enerflo default: more unexplained differences than allowed, in 2 fields"
    assert "- installs.panel_count, unexplained 3" in message.text
    reconciliation(people, panel_count=5, status=1)
    assert people.tell() == []
    reconciliation(people, panel_count=6, status=1)
    assert len(people.tell()) == 1
    reconciliation(people)
    assert people.tell() == []
    reconciliation(people, panel_count=1)
    assert len(people.tell()) == 1


def test_a_plan_that_waits_is_told_with_the_way_to_it(people: People) -> None:
    plan(people, "a" * 64)
    (message,) = people.tell()
    assert message.subject == "Enerflo default: a plan waits for an approval"
    assert (message.page, message.page_id) == ("plans", "a" * 64)
    assert people.tell() == []


@pytest.mark.parametrize(
    "quiet", [{"state": "approved"}, {"mode": "report"}, {"needs": False}], ids=lambda one: next(iter(one))
)
def test_a_plan_that_waits_for_nobody_is_not_told(people: People, quiet: dict[str, Any]) -> None:
    plan(people, "a" * 64, **quiet)
    assert people.tell() == []


def test_a_plan_that_expired_is_not_told(people: People) -> None:
    plan(people, "a" * 64)
    assert people.tell(minutes=25 * 60) == []


def test_quarantine_is_told_by_cause_and_again_when_it_doubled(people: People) -> None:
    quarantined(people, 3)
    quarantined(people, 2, "unknown_event")
    quarantined(people, 9, "old", state="dismissed")
    (message,) = people.tell()
    assert message.subject == "Enerflo default: quarantine grows, by 2 causes"
    quarantined(people, 2)
    assert people.tell() == []
    quarantined(people, 1)
    (message,) = people.tell()
    assert message.subject == "Enerflo default: quarantine grows, by 1 cause (2 in all)"


def test_refused_requests_are_told_from_the_limit_on(people: People) -> None:
    people.sql(
        "insert into sync.api_calls (account, endpoint, hour, calls, throttled)"
        " values ('default', '/api/v3/installs', :now, 300, 9)",
        now=people.now,
    )
    assert people.tell() == []
    people.sql("update sync.api_calls set throttled = 12")
    (message,) = people.tell()
    assert "- /api/v3/installs, refused 12, of requests 300" in message.text
    assert people.tell() == []


def test_silence_of_webhooks_is_told_once_and_again_after_they_came_back(people: People) -> None:
    assert people.tell(minutes=30 * 60) == []
    event(people, "e1", "update_install")
    assert people.tell(minutes=23 * 60) == []
    (message,) = people.tell(minutes=2 * 60)
    assert message.subject == "Enerflo default: no webhook is ingested"
    assert people.tell(minutes=24 * 60) == []
    event(people, "e2", "update_install")
    (message,) = people.tell()
    assert message.resolved
    (message,) = people.tell(minutes=25 * 60)
    assert not message.resolved


def test_a_route_gets_only_its_events_its_levels_and_its_accounts(people: People) -> None:
    people.routes(
        "{routes: {ops: {events: [project_submitted], email: {to: [ops@example.com]}},"
        " alarms: {level: error, http: {connection: chat}},"
        " west: {accounts: [default], events: [plan_waiting], http: {connection: chat}}}}"
    )
    event(people, "e1", "deal.projectSubmitted")
    reconciliation(people, status=1)
    plan(people, "a" * 64)
    assert sorted((message.route, str(message.event)) for message in people.tell()) == [
        ("alarms", "unexplained_differences"),
        ("ops", "project_submitted"),
        ("west", "plan_waiting"),
    ]


def test_a_route_shows_only_the_personal_data_that_it_may_have(people: People) -> None:
    people.routes(
        "{routes: {ops: {personal_data: [name], http: {connection: chat}}, all: {http: {connection: chat}}}}"
    )
    people.orders.install(1, customer_name="Ada Lovelace")
    design(people, "v1")
    event(people, "e1", "deal.projectSubmitted")
    texts = {message.route: message.text for message in people.tell()}
    assert "customer Ada Lovelace" in texts["ops"]
    assert "12 Main St" not in texts["ops"]
    assert "Ada" not in texts["all"]


def test_what_could_not_be_sent_is_tried_again_and_given_up_in_the_end(people: People) -> None:
    plan(people, "a" * 64)
    people.deaf = True
    first = people.report()
    assert (first.composed, first.sent, first.waiting) == (1, 0, 1)
    assert first.errors == [
        "route everybody: OSError. See the connection, and whether the other side answers."
    ]
    people.deaf = False
    assert [message.page_id for message in people.tell()] == ["a" * 64]
    plan(people, "b" * 64)
    people.deaf = True
    reports = [people.report() for _ in range(MOST_ATTEMPTS + 1)]
    assert [report.waiting for report in reports] == [1] * (MOST_ATTEMPTS - 1) + [0, 0]
    assert [report.given_up for report in reports] == [0] * (MOST_ATTEMPTS - 1) + [1, 0]
    kept = people.sql("select state, error, sent_at from sync.notifications order by notification_id")
    assert [row["state"] for row in kept] == ["sent", "failed"]
    assert "secret" not in str(kept)


def test_a_route_that_is_gone_is_said(people: People) -> None:
    plan(people, "a" * 64)
    people.deaf = True
    people.report()
    people.routes("{routes: {other: {http: {connection: chat}}}}")
    assert people.report().errors == ["route everybody: it is not in sync.yaml any more."]


def test_two_who_tell_at_once_tell_each_thing_once(people: People) -> None:
    plan(people, "a" * 64)
    threads = [threading.Thread(target=people.tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(people.told) == 1


def test_nothing_is_kept_of_what_nobody_wants_to_know(people: People) -> None:
    people.routes("{routes: {ops: {events: [plan_waiting], http: {connection: chat}}}}")
    quarantined(people, 5)
    assert people.tell() == []
    assert people.sql("select * from sync.told") == []


def test_every_event_has_its_words() -> None:
    assert set(EVENTS) == set(NotifyEvent)
