"""Alerts are found in the warehouse, told once, and their end is told as resolved."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.routes import EVENTS, HttpTarget, NotifyEvent
from enerflo_sync.notify.late import late_copies, polled_lists
from enerflo_sync.notify.message import Message, http_body
from tests.notify.conftest import EVERYTHING, People
from tests.notify.test_notify import event, plan, reconciliation

ALERTS = [event for event, info in EVENTS.items() if info.ended]
INSTALLS = "    crm_table: crm.installs\n"
ELSEWHERE = "  default:\n    crm: {url: 'duckdb:///x.duckdb'}\n"


def told_of(people: People, one: NotifyEvent, minutes: float = 15) -> list[Message]:
    return [message for message in people.tell(minutes) if message.event is one]


def read_whole(people: People, *names: str, at: datetime | None = None) -> None:
    people.sql(
        "insert into sync.watermarks (account, name, value, recorded_at, run_id)"
        " select 'default', n, :at, :at, 'r' from unnest(cast(:names as text[])) n"
        " on conflict (account, name) do update set value = :at, recorded_at = :at",
        names=list(names) or polled_lists(people.config),
        at=at or people.now,
    )


def polled(people: People) -> None:
    people.sql(
        "insert into sync.runs (account, run_id, job, started_at, state)"
        " values ('default', 'first', 'poll', :now, 'failed')",
        now=people.now,
    )


def key(people: People, **columns: Any) -> None:
    values = {"blocked": None, "remaining": None, "reset": None, **columns}
    people.sql(
        "insert into sync.request_budgets (account, key_fingerprint, limit_per_window, blocked_until, remaining,"
        " reset_at, updated_at) values ('default', '0123456789abcdef', 300, :blocked, :remaining, :reset, :now)"
        " on conflict (account, key_fingerprint) do update set blocked_until = :blocked, remaining = :remaining,"
        " reset_at = :reset, updated_at = :now",
        now=people.now,
        **values,
    )


def handed_over(people: People, number: int, hours: float, *, taken: bool = False) -> None:
    at = people.now - timedelta(hours=hours)
    people.sql(
        "insert into sync.crm_changes (account, change_id, table_name, crm_table, key, op, plan_hash, kind,"
        " approved_by, made_at, acknowledged_at, state, state_at) values ('default', :id, 'installs',"
        " 'crm.installs', '{}', 'delete', 'p', 'sync', 'Ada', :at, :taken, 'open', :at)",
        id=str(number),
        at=at,
        taken=at if taken else None,
    )


def test_a_list_that_is_not_read_is_told_with_the_last_read_and_so_is_that_it_is_read_again(
    people: People,
) -> None:
    read_whole(people)
    # Two hours after the poll that was due.
    assert people.tell(minutes=120) == []
    read_whole(people, *[name for name in polled_lists(people.config) if name != "installs"])
    (message,) = people.tell(minutes=30)
    assert message.subject == "Enerflo default: 1 list of Enerflo is not read any more"
    assert "- installs, read whole last at 2026-03-02 12:16 UTC" in message.text
    assert (message.page, str(message.level)) == ("freshness", "error")
    assert people.tell() == []
    read_whole(people)
    (message,) = people.tell()
    assert message.subject == "Enerflo default: resolved: Enerflo is read again"
    assert message.text.splitlines()[-1] == "- installs"
    assert message.resolved
    assert people.tell() == []


def test_the_end_of_one_of_several_says_how_many_remain(people: People) -> None:
    read_whole(people)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 180)
    assert message.count == len(polled_lists(people.config)) > 2
    read_whole(people, "installs", "customers")
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    remain = len(polled_lists(people.config)) - 2
    assert message.subject == f"Enerflo default: resolved: Enerflo is read again ({remain} remain)"
    assert message.text.splitlines()[-2:] == ["- customers", "- installs"]


def test_a_list_that_no_poll_ever_read_whole_counts_from_the_first_poll(people: People) -> None:
    assert people.tell(minutes=600) == []
    polled(people)
    assert told_of(people, NotifyEvent.MIRROR_STALE, 60) == []
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 180)
    assert "never read whole, polled since" in message.text


@pytest.mark.parametrize(("poll", "hours", "told"), [("0 2 * * *", 15, False), ("0 2 * * *", 17, True)])
def test_a_list_is_late_by_the_schedule_of_its_polls(
    people: People, poll: str, hours: float, told: bool
) -> None:
    """At 12:16 the next nightly poll is due in 14 hours, and has two more."""
    text = people.config.file.read_text()
    people.config.file.write_text(text.replace('{poll: "*/15 * * * *"', f'{{poll: "{poll}"', 1))
    people.config = load_config(people.config.file, {})
    read_whole(people)
    assert bool(told_of(people, NotifyEvent.MIRROR_STALE, hours * 60)) is told


def reconciled(people: People) -> None:
    people.sql(
        "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope,"
        " config_hash, compared_until, unexplained) values ('default', :id, :now, :now, 'full', 'c', :now, 0)",
        id=str(people.now),
        now=people.now,
    )


def test_a_reconciliation_that_was_due_and_did_not_end_is_told_and_so_is_that_one_ended(
    people: People,
) -> None:
    # Never reconciled is not late.
    assert told_of(people, NotifyEvent.RECONCILE_LATE, 30 * 60) == []
    reconciled(people)
    people.sql("update sync.reconciliations set finished_at = null")
    assert told_of(people, NotifyEvent.RECONCILE_LATE, 30 * 60) == []
    reconciled(people)
    began = f"{people.now:%Y-%m-%d %H:%M}"
    (message,) = told_of(people, NotifyEvent.RECONCILE_LATE, 30 * 60)
    assert message.subject == "Enerflo default: nothing was reconciled although it was due"
    assert f"- the newest began {began} UTC" in message.text
    # A larger limit does not end it.
    people.routes(f"{{stale_hours: 200, routes: {EVERYTHING}}}")
    assert told_of(people, NotifyEvent.RECONCILE_LATE) == []
    reconciled(people)
    (message,) = told_of(people, NotifyEvent.RECONCILE_LATE)
    assert message.subject == "Enerflo default: resolved: both sides are reconciled again"
    assert told_of(people, NotifyEvent.RECONCILE_LATE, 60) == []


def test_silence_of_webhooks_ends_with_the_next_one(people: People) -> None:
    event(people, "e1", "update_install")
    assert len(told_of(people, NotifyEvent.WEBHOOKS_SILENT, 25 * 60)) == 1
    event(people, "e2", "update_install")
    (message,) = told_of(people, NotifyEvent.WEBHOOKS_SILENT)
    assert message.subject == "Enerflo default: resolved: webhooks arrive again"


@pytest.mark.parametrize(
    "columns",
    [{"blocked": timedelta(minutes=40)}, {"remaining": 0, "reset": timedelta(minutes=40)}],
    ids=["blocked", "nothing_left"],
)
def test_a_budget_that_is_used_up_is_told_until_requests_are_sent_again(
    people: People, columns: dict[str, Any]
) -> None:
    later = {name: people.now + value if name != "remaining" else value for name, value in columns.items()}
    key(people, **later)
    (message,) = people.tell()
    assert message.subject == "Enerflo default: the budget of requests is used up"
    assert "- API key 0123456789ab, waits until 2026-03-02 12:56 UTC" in message.text
    assert people.tell() == []
    (message,) = people.tell(minutes=30)
    assert message.subject == "Enerflo default: resolved: requests are sent again"
    assert message.text.endswith("- API key 0123456789ab")


def test_a_wait_of_seconds_is_no_alert(people: People) -> None:
    key(people, blocked=people.now + timedelta(minutes=15, seconds=50), remaining=0, reset=people.now)
    assert people.tell() == []


def test_a_plan_is_told_again_when_its_time_runs_out_and_when_it_is_decided(people: People) -> None:
    plan(people, "a" * 64)
    plan(people, "b" * 64, needs=False)
    assert [message.event for message in people.tell()] == ["plan_waiting"]
    assert people.tell(minutes=19 * 60) == []
    (message,) = people.tell(minutes=60)
    assert message.event is NotifyEvent.APPROVAL_EXPIRING
    assert message.subject == "Enerflo default: the time to approve a plan runs out"
    assert (message.page, message.page_id) == ("plans", "a" * 64)
    people.sql("update sync.plans set state = 'approved'")
    (message,) = people.tell()
    assert message.subject == (
        "Enerflo default: resolved: a plan was decided about, replaced, or its time ran out"
    )
    assert message.text.endswith(f"- plan {'a' * 12}")


def test_changes_that_the_copy_does_not_show_are_told_by_table_and_again_when_they_doubled(
    people: People,
) -> None:
    path = people.config.file
    path.write_text(path.read_text().replace(INSTALLS, f"{INSTALLS}    write_to: changes\n", 1))
    people.config = load_config(path, {})
    handed_over(people, 1, hours=23)
    assert people.tell() == []
    handed_over(people, 2, hours=30)
    (message,) = people.tell(minutes=0)
    assert message.subject == "Enerflo default: the CRM's copy is late, in 1 table"
    assert "- installs, late 1, of them not acknowledged 1, since 2026-03-01 06:31 UTC" in message.text
    assert message.page == "inbox"
    handed_over(people, 3, hours=40, taken=True)
    handed_over(people, 4, hours=40, taken=True)
    (message,) = people.tell(minutes=0)
    assert "- installs, late 3, of them not acknowledged 1" in message.text
    people.sql("update sync.crm_changes set state = 'arrived', ended_at = now()")
    (message,) = people.tell()
    assert message.subject == "Enerflo default: resolved: the CRM's copy is not late any more"
    assert message.text.endswith("- installs")


def test_a_copy_of_a_crm_elsewhere_is_late_when_no_reconciliation_brought_it_up_to_date(
    people: People,
) -> None:
    people.sql(
        "insert into sync.crm_copies (account, table_name, crm_table, signature, read_at, rows, rows_read, seconds)"
        " values ('default', 'installs', 'crm.installs', 's', :now, 1, 1, 0),"
        " ('default', 'gone', 'crm.gone', 's', :old, 1, 1, 0)",
        now=people.now,
        old=people.now - timedelta(days=9),
    )
    path = people.config.file
    assert told_of(people, NotifyEvent.CRM_COPY_LATE, 60) == []
    path.write_text(path.read_text().replace("  default:\n", ELSEWHERE, 1))
    people.config = load_config(path, {})
    # It was due at 05:00, and has two hours more.
    people.clock.moment = people.clock.moment.replace(hour=6, minute=55) + timedelta(days=1)
    assert told_of(people, NotifyEvent.CRM_COPY_LATE, 0) == []
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE, 6)
    assert "copies that are old: 1\n- installs, as of 2026-03-02 12:16 UTC" in message.text
    with people.engine.connect() as connection:
        found = late_copies(connection, people.config, "default", people.now)
    assert [one["name"] for one in found] == ["installs"]


def test_the_end_of_what_is_no_alert_is_not_told(people: People) -> None:
    reconciliation(people, status=3)
    assert len(people.tell()) == 1
    reconciliation(people)
    assert people.tell() == []


def test_the_message_of_a_state_names_its_section_and_news_names_none(people: People) -> None:
    event(people, "e1", "deal.projectSubmitted")
    reconciliation(people, status=3)
    news, state = sorted(people.tell(), key=lambda message: str(message.event))
    assert "Runbook" not in news.text
    assert state.text.endswith("\nRunbook: docs/runbook.md#unexplained_differences")
    people.routes(
        "{runbook: 'https://wiki.example/solar', routes: {all: {http: {connection: chat}}}, silent_hours: 1}"
    )
    (message,) = people.tell(minutes=120)
    assert message.text.endswith("\nRunbook: https://wiki.example/solar#webhooks_silent")


def test_a_body_says_whether_it_begins_or_ends(people: People) -> None:
    target = HttpTarget.model_validate({"connection": "c", "body": {"status": "{state}"}})
    key(people, blocked=people.now + timedelta(minutes=40))
    (begins,) = people.tell()
    (ends,) = people.tell(minutes=60)
    assert [http_body(target, message, "") for message in (begins, ends)] == [
        {"status": "firing"},
        {"status": "resolved"},
    ]


def test_what_airflow_tells_is_not_looked_for_in_the_warehouse(people: People) -> None:
    people.routes("{routes: {all: {events: [run_failed], http: {connection: chat}}}}")
    assert people.tell() == []
    assert NotifyEvent.RUN_FAILED in ALERTS


def test_a_route_that_names_nothing_gets_every_alert(people: People) -> None:
    (route,) = people.config.notify.routes.values()
    assert all(route.takes(event, "default") for event in ALERTS)
    assert len(ALERTS) == 8


def test_a_copy_of_which_no_row_arrived_in_time_is_told_until_one_does(people: People) -> None:
    def compared(late: str) -> None:
        people.sql(
            "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope,"
            " config_hash, compared_until, differences, unexplained, report) values ('default', :id, :now, :now,"
            " 'full', 'c', :now, 0, 0, cast(:report as jsonb))",
            id=str(people.now),
            now=people.now,
            report='{"tables": [{"table_name": "notes", "late_copy": null},'
            f' {{"table_name": "installs", "late_copy": {late}}}]}}',
        )

    late = '{"since": "2026-03-01T02:00:00Z", "hours": 6}'
    compared(late)
    # Nobody said how often rows have to arrive.
    assert told_of(people, NotifyEvent.CRM_COPY_LATE, 0) == []
    path = people.config.file
    path.write_text(path.read_text().replace(INSTALLS, f"{INSTALLS}    arrives_within_hours: 6\n", 1))
    people.config = load_config(path, {})
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE, 0)
    assert "copies that are old: 1\n- installs, as of 2026-03-01 02:00 UTC" in message.text
    assert told_of(people, NotifyEvent.CRM_COPY_LATE, 60) == []
    compared("null")
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE, 5)
    assert message.subject == "Enerflo default: resolved: the CRM's copy is not late any more"


def test_when_a_poll_was_due_goes_by_the_time_zone_of_the_accounts_schedule(people: People) -> None:
    path = people.config.file
    evening = 'schedule: {time_zone: America/Denver, poll: "0 20 * * *"'
    text = path.read_text().replace('schedule: {poll: "*/15 * * * *"', evening, 1)
    assert evening in text
    path.write_text(text)
    people.config = load_config(path, {})
    read_whole(people)
    # In Denver it is 20:00 at 03:00 UTC.
    assert told_of(people, NotifyEvent.MIRROR_STALE, 11 * 60) == []
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 7 * 60)
    assert "not read any more" in message.subject
