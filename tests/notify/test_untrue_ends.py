"""The end of an alert is told only where it ended; what is not looked at any more is told as that."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.notify.late import polled_lists, stale_lists
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.store import MOST_ATTEMPTS
from tests.notify.conftest import People
from tests.notify.test_alerts import ELSEWHERE, INSTALLS, handed_over, key, polled, read_whole, told_of
from tests.notify.test_notify import event, plan, reconciliation

ALL = "all: {http: {connection: chat}}"


def rewritten(people: People, old: str, new: str) -> None:
    path = people.config.file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    people.config = load_config(path, {})


def no_longer_watched(message: Message, what: str) -> None:
    assert message.subject == "Enerflo default: resolved: not watched any more"
    assert message.text.splitlines()[0] == (
        "What is below is not watched any more by what sync.yaml says now. This does not say that it is well."
    )
    assert message.text.splitlines()[-1] == f"- {what}"
    assert message.resolved


def test_a_list_that_polls_read_no_more_is_not_told_as_read(people: People) -> None:
    names = polled_lists(people.config)
    read_whole(people)
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    read_whole(people, *[name for name in names if name != "notes"])
    assert len(told_of(people, NotifyEvent.MIRROR_STALE)) == 1
    resources = [one for one in people.config.poll.resources if str(one) != "notes"]
    poll = people.config.poll.model_copy(update={"resources": tuple(resources)})
    people.config = people.config.model_copy(update={"poll": poll})
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    no_longer_watched(message, "notes")


def test_a_list_that_polls_read_since_a_moment_ago_is_not_late_since_the_first_poll(people: People) -> None:
    names = polled_lists(people.config)
    polled(people)
    people.clock.moment += timedelta(days=60)
    people.sql(
        "insert into sync.runs (account, run_id, job, started_at, state, resources)"
        " values ('default', 'before', 'poll', :now, 'ok', '{\"installs\": {}}')",
        now=people.now,
    )
    read_whole(people, *[name for name in names if name != "notes"])
    assert told_of(people, NotifyEvent.MIRROR_STALE) == []
    with people.engine.begin() as connection:
        found = stale_lists(connection, people.config, "default", people.now + timedelta(hours=3))
    assert [(one["name"], one["was_read"]) for one in found if one["is_new"]] == [("notes", False)]
    # The polls that are due since do not read it.
    read_whole(people, *[name for name in names if name != "notes"])
    people.sql(
        "insert into sync.runs (account, run_id, job, started_at, state, resources)"
        " values ('default', 'later', 'poll', :now, 'partial', '{\"notes\": {}}')",
        now=people.now,
    )
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 170)
    assert "- notes, never read whole, polled since 2026-05-01" in message.text


def test_a_longer_limit_does_not_say_that_a_list_was_read(people: People) -> None:
    read_whole(people)
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    people.routes(f"{{stale_hours: 200, routes: {{{ALL}}}}}")
    assert told_of(people, NotifyEvent.MIRROR_STALE) == []
    read_whole(people)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    assert message.subject == "Enerflo default: resolved: Enerflo is read again"


def test_a_longer_limit_does_not_say_that_webhooks_arrive(people: People) -> None:
    event(people, "e1", "update_install")
    assert len(told_of(people, NotifyEvent.WEBHOOKS_SILENT, 25 * 60)) == 1
    people.routes(f"{{silent_hours: 200, routes: {{{ALL}}}}}")
    assert told_of(people, NotifyEvent.WEBHOOKS_SILENT) == []
    # One that was received before the alert and is ingested after it ends the silence, too.
    event(people, "e2", "update_install", received=people.now - timedelta(hours=3))
    (message,) = told_of(people, NotifyEvent.WEBHOOKS_SILENT)
    assert message.subject == "Enerflo default: resolved: webhooks arrive again"


def test_a_key_is_not_free_before_its_wait_is_over(people: People) -> None:
    key(people, blocked=people.now + timedelta(minutes=20))
    assert len(people.tell()) == 1
    # Half a minute of the wait is left.
    assert people.tell(minutes=4.5) == []
    people.routes(f"{{blocked_minutes: 60, routes: {{{ALL}}}}}")
    key(people, blocked=people.now + timedelta(minutes=20))
    assert people.tell() == []
    (message,) = people.tell()
    assert message.subject == "Enerflo default: resolved: requests are sent again"


def test_a_plan_is_not_decided_by_another_limit(people: People) -> None:
    plan(people, "a" * 64)
    people.tell()
    assert len(told_of(people, NotifyEvent.APPROVAL_EXPIRING, 20 * 60)) == 1
    people.routes(f"{{expiring_hours: 1, routes: {{{ALL}}}}}")
    assert told_of(people, NotifyEvent.APPROVAL_EXPIRING) == []
    people.sql("update sync.plans set state = 'rejected'")
    assert len(told_of(people, NotifyEvent.APPROVAL_EXPIRING)) == 1


def test_a_table_to_which_nothing_is_handed_over_any_more_has_not_caught_up(people: People) -> None:
    rewritten(people, INSTALLS, f"{INSTALLS}    write_to: changes\n")
    handed_over(people, 1, hours=30)
    assert len(told_of(people, NotifyEvent.CRM_COPY_LATE)) == 1
    rewritten(people, "    write_to: changes\n", "")
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE)
    no_longer_watched(message, "installs")


@pytest.mark.parametrize("kind", ["option", "elsewhere"])
def test_a_copy_that_is_not_looked_at_any_more_has_not_caught_up(people: People, kind: str) -> None:
    if kind == "option":
        rewritten(people, INSTALLS, f"{INSTALLS}    arrives_within_hours: 6\n")
        people.sql(
            "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope,"
            " config_hash, compared_until, differences, unexplained, report) values ('default', 'r', :now, :now,"
            " 'full', 'c', :now, 0, 0, cast(:report as jsonb))",
            now=people.now,
            report='{"tables": [{"table_name": "installs", "late_copy": {"since": "2026-03-01T02:00:00Z"}}]}',
        )
        undo = ("    arrives_within_hours: 6\n", "")
    else:
        people.sql(
            "insert into sync.crm_copies (account, table_name, crm_table, signature, read_at, rows, rows_read,"
            " seconds) values ('default', 'installs', 'crm.installs', 's', :old, 1, 1, 0)",
            old=people.now - timedelta(days=9),
        )
        rewritten(people, "  default:\n", ELSEWHERE)
        undo = (ELSEWHERE, "  default:\n")
    assert len(told_of(people, NotifyEvent.CRM_COPY_LATE)) == 1
    rewritten(people, *undo)
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE)
    no_longer_watched(message, "copy of installs")


def test_a_state_that_began_anew_while_no_route_took_it_is_told_on_the_route_that_comes_back(
    people: People,
) -> None:
    event(people, "e1", "update_install")
    assert len(told_of(people, NotifyEvent.WEBHOOKS_SILENT, 25 * 60)) == 1
    people.routes("{routes: {all: {events: [plan_waiting], http: {connection: chat}}}}")
    assert people.tell() == []
    people.routes(f"{{routes: {{{ALL}}}}}")
    (message,) = told_of(people, NotifyEvent.WEBHOOKS_SILENT)
    assert not message.resolved


def test_a_state_that_stands_is_told_once_a_route_works_that_was_deaf_to_it(people: People) -> None:
    """A chat that is away for an hour or two is not the end of an alert."""
    reconciliation(people, status=3)
    people.deaf = True
    given_up = sum(people.report().given_up for _ in range(MOST_ATTEMPTS))
    assert given_up == 1
    people.deaf = False
    assert people.tell() == []
    (message,) = people.tell(minutes=60)
    assert message.subject == "Enerflo default: more unexplained differences than allowed, in 1 field"
    assert people.tell(minutes=600) == []


def test_a_state_that_was_given_up_and_is_over_is_not_told(people: People) -> None:
    reconciliation(people, status=3)
    people.deaf = True
    for _ in range(MOST_ATTEMPTS):
        people.report()
    people.deaf = False
    reconciliation(people)
    assert people.tell(minutes=120) == []


def test_a_route_that_heard_is_not_told_again_what_another_one_could_not_be_told(people: People) -> None:
    people.routes("{routes: {a: {http: {connection: chat}}, b: {http: {connection: chat}}}}")
    plan(people, "a" * 64)
    assert [message.route for message in people.tell()] == ["a", "b"]
    people.sql("update sync.notifications set state = 'failed', attempts = 5 where route = 'b'")
    assert [message.route for message in people.tell(minutes=120)] == ["b"]


def test_attempts_in_quick_succession_give_nothing_up(people: People) -> None:
    """The DAGs of a busy account end several times a minute."""
    event(people, "e1", "deal.projectSubmitted")
    plan(people, "a" * 64)
    people.deaf = True
    assert [people.report(minutes=1).waiting for _ in range(20)] == [2] * 20
    people.deaf = False
    assert len(people.tell()) == 2


def test_news_is_tried_for_a_day(people: People) -> None:
    event(people, "e1", "deal.projectSubmitted")
    people.deaf = True
    assert sum(people.report(minutes=120).given_up for _ in range(12)) == 0
    assert sum(people.report(minutes=120).given_up for _ in range(2)) == 1


def report_of(people: People, **more: object) -> None:
    table = {
        "table_name": "notes",
        "crm_table": "crm.notes",
        "mode": "report",
        "enerflo_rows": 50,
        "crm_rows": 50,
        "matched": 50,
        "only_enerflo": 0,
        "only_crm": 0,
        "differing_rows": 0,
        "by_cause": {},
        "by_field": [],
        "samples": [],
        **{name: value for name, value in more.items() if name != "gone_at_once"},
    }
    now = people.now.isoformat()
    report = {
        "reconciliation_id": now,
        "account": "default",
        "mode": "report",
        "scope": "full",
        "started_at": now,
        "finished_at": now,
        "config_hash": "c",
        "mirror_as_of": now,
        "budget": 0,
        "tables": [table],
        "gone_at_once": more.get("gone_at_once", []),
    }
    people.sql(
        "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope, config_hash,"
        " compared_until, differences, unexplained, report) values ('default', :id, :now, :now, 'full', 'c', :now,"
        " 0, 0, cast(:report as jsonb))",
        id=now,
        now=people.now,
        report=json.dumps(report),
    )


def test_a_table_that_is_gone_at_once_is_told_although_no_difference_is_unexplained(people: People) -> None:
    since = people.now.isoformat()
    for rows in (40, 45):
        gone = {"table_name": "notes", "crm_table": "crm.notes", "gone": rows, "rows": 5, "since": since}
        report_of(people, gone_at_once=[gone])
        told = people.tell()
        if rows == 40:
            (message,) = told
            assert message.subject == "Enerflo default: the newest reconciliation is no all-clear"
            assert "- 40 rows of notes are gone or marked as deleted since" in message.text
            assert message.text.endswith("docs/runbook.md#no_all_clear")
        else:
            assert told == []
    report_of(people)
    assert people.tell() == []


def test_keys_that_never_meet_are_told(people: People) -> None:
    report_of(people, matched=0, only_enerflo=50, only_crm=50)
    (message,) = people.tell()
    assert "- No row of notes stands on both sides" in message.text


def test_an_old_list_that_no_poll_reads_is_told_as_no_all_clear(people: People) -> None:
    """Of a list that polls read, mirror_stale tells."""
    report_of(people, overdue=True, mirror_as_of=(people.now - timedelta(days=2)).isoformat())
    assert people.tell() == []
    resources = [one for one in people.config.poll.resources if str(one) != "notes"]
    poll = people.config.poll.model_copy(update={"resources": tuple(resources)})
    people.config = people.config.model_copy(update={"poll": poll})
    (message,) = people.tell()
    assert "- Enerflo was last read whole 2 d before the comparison" in message.text
    report_of(people)
    assert people.tell() == []


def test_milestones_that_could_not_be_read_are_told_as_no_all_clear(people: People) -> None:
    """Their list is read in time, so mirror_stale tells nothing."""
    report_of(people, unreadable=3)
    (message,) = people.tell()
    assert "- Milestones of 3 installs could not be read before the comparison" in message.text
    report_of(people)
    assert people.tell() == []


def test_a_message_about_an_event_of_a_newer_program_is_left_to_it(people: People) -> None:
    people.sql(
        "insert into sync.notifications (account, event, route, subject, text, page, page_id, count, state, created_at)"
        " values ('default', 'of_tomorrow', 'everybody', 's', 't', 'reports', '', 1, 'pending', :now)",
        now=people.now,
    )
    assert people.tell() == []
    assert people.sql("select state from sync.notifications") == [{"state": "pending"}]


def test_a_list_that_a_poll_asked_for_and_did_not_get_whole_is_not_told_as_read(people: People) -> None:
    """sync.yaml names a list since yesterday, no poll ran since, and the first one that asks for it is partial."""
    names = polled_lists(people.config)
    others = [name for name in names if name != "notes"]

    def poll(run_id: str, state: str, resources: str) -> None:
        people.sql(
            "insert into sync.runs (account, run_id, job, started_at, state, resources)"
            " values ('default', :run_id, 'poll', :now, :state, cast(:resources as jsonb))",
            now=people.now,
            run_id=run_id,
            state=state,
            resources=resources,
        )

    poll("before", "ok", '{"installs": {}}')
    read_whole(people, *others)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 180)
    assert "- notes, in no poll yet, as of that of 2026-03-02" in message.text
    poll("first", "partial", '{"installs": {}, "notes": {}}')
    read_whole(people, *others)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    assert message.text.splitlines()[2:] == [f"- {name}" for name in sorted(others)]
    assert message.subject == "Enerflo default: resolved: Enerflo is read again (1 remain)"
    read_whole(people)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    assert message.text.splitlines()[0] == "The lists below were read whole again."
    assert message.text.splitlines()[-1] == "- notes"


def test_an_end_by_a_longer_limit_does_not_say_that_the_copy_shows_the_change(people: People) -> None:
    rewritten(people, INSTALLS, f"{INSTALLS}    write_to: changes\n")
    handed_over(people, 1, hours=30)
    assert len(told_of(people, NotifyEvent.CRM_COPY_LATE)) == 1
    rewritten(
        people, "    write_to: changes\n", "    write_to: {changes: sync.crm_changes, late_hours: 72}\n"
    )
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE)
    assert message.resolved
    assert "caught up" not in message.subject + message.text
    assert message.text.splitlines()[0] == (
        "Nothing handed over to the tables below is late any more, and no copy of them is old."
    )


def test_a_longer_limit_does_not_say_that_a_copy_was_brought_up_to_date(people: People) -> None:
    def read(at: datetime) -> None:
        people.sql(
            "insert into sync.crm_copies (account, table_name, crm_table, signature, read_at, rows, rows_read,"
            " seconds) values ('default', 'installs', 'crm.installs', 's', :at, 1, 1, 0)"
            " on conflict (account, table_name) do update set read_at = :at",
            at=at,
        )

    read(people.now - timedelta(days=2))
    rewritten(people, "  default:\n", ELSEWHERE)
    assert len(told_of(people, NotifyEvent.CRM_COPY_LATE)) == 1
    rewritten(people, "notify: {routes:", "notify: {stale_hours: 200, routes:")
    assert told_of(people, NotifyEvent.CRM_COPY_LATE) == []
    read(people.now)
    (message,) = told_of(people, NotifyEvent.CRM_COPY_LATE)
    assert message.resolved


def test_what_a_clock_told_that_was_ahead_ends_once_it_is_set_back(people: People) -> None:
    read_whole(people)
    event(people, "e1", "update_install")
    a_year = 365 * 24 * 60
    events = {one.event for one in people.tell(a_year)}
    assert {NotifyEvent.MIRROR_STALE, NotifyEvent.WEBHOOKS_SILENT} <= events
    people.clock.moment -= timedelta(minutes=a_year)
    told = people.tell()
    read_whole(people)
    subjects = {one.subject for one in (*told, *people.tell())}
    assert "Enerflo default: resolved: Enerflo is read again" in subjects
    assert "Enerflo default: resolved: webhooks arrive again" in subjects
    # And what begins anew is told.
    assert {one.event for one in people.tell(25 * 60)} >= {NotifyEvent.WEBHOOKS_SILENT}
